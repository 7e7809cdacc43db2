"""Who asks, may they, and what admission says.

How the API calls it (`Object` is `dict[str, Any]`, refusals are `StatusError`):

    issuer = TokenIssuer(registry, key=None)                 # key: PEM bytes, or a new one
    authenticator = Authenticator(issuer, static={"admin-token": User(name="admin", groups=("system:masters",))})  # api.users.User
    user = authenticator.authenticate(request.headers.items(), peer_certificate)   # ssl getpeercert() dict or None; 401
    authorizer = Authorizer(registry)
    user = authenticator.impersonate(user, request.headers.items(), authorizer)    # 403
    attributes = Attributes(verb="get", group="", version="v1", resource="pods", subresource="log",
                            namespace="shop", name="web-1")  # or Attributes(verb="get", path="/healthz")
    ok, reason = authorizer.allowed(user, attributes)
    raise forbidden(user, attributes, reason)                # StatusError 403 in the server's words (access.rbac)
    authorizer.check_escalation(user, resource, obj)         # admission.validate calls it; 403

    issuer.request(namespace, service_account, token_request) -> Object   # the token subresource; fills status
    reviews = Reviews(authorizer, issuer)
    reviews.answer(kind, obj, user) -> Object    # TokenReview, SubjectAccessReview, SelfSubjectAccessReview,
                                                 # LocalSubjectAccessReview, SelfSubjectRulesReview, SelfSubjectReview

    admission = Admission(registry)              # also: service accounts, Pod Security, check_escalation
    request = AdmissionRequest(resource=..., namespace=..., name=..., operation="CREATE", user=user,
                               subresource="", dry_run=False, options={}, warnings=[])
    obj = await admission.mutate(request, obj, old)     # CREATE, UPDATE, CONNECT; returns the new obj
    await admission.validate(request, obj, old)         # also DELETE, with obj None; warnings of both are appended to request.warnings
    await admission.close()

    bootstrap.objects() -> list[Object]          # cluster roles and bindings to create at start

- `authentication`  headers and certificates to a user
- `tokens`          service-account tokens: made, checked, reviewed
- `rbac`            roles and bindings to yes or no
- `bootstrap`       the roles of a new cluster
- `reviews`         the review kinds
- `admission`       the chain, built-in plugins and webhooks in order
- `webhooks`        one call to one webhook
- `matching`        which webhooks a request concerns
- `podsecurity`     the baseline and restricted profiles
- `accounts`        the service account every pod runs as
"""
