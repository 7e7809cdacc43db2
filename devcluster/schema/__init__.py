"""What objects may look like: fields, types, defaults and rules of every served kind.

How the API calls it, in the order of a write (`Object` is `dict[str, Any]`, refusals are `StatusError`):

    validator = Validator()
    validator.install(crd) / validator.remove(crd)      # optional: a changed `resource.definition` is noticed
    warnings = validator.decode(resource, obj, "Strict" | "Warn" | "Ignore")
                                                        # unknown fields: 400, warnings, or nothing; wrong types: 400;
                                                        # custom objects are pruned in place
    validator.default(resource, obj)                    # defaults of custom kinds, in place (built-in ones are the API's)
    validator.validate(resource, obj, old=None, subresource="")   # 422 with every cause

    api = OpenApi(resources, validator)
    api.index()                 -> JSON for /openapi/v3
    api.group("apis/apps/v1")   -> JSON for /openapi/v3/apis/apps/v1, or None
    api.v2()                    -> JSON for /openapi/v2;  openapi.V2_PROTOBUF: bytes for the protobuf accept header

- `fields`      built-in kinds: fields and types, read from the official client's models
- `structural`  custom kinds: prune and default by structural schema
- `values`      custom kinds: check values against the schema, with the real server's sentences
- `cel`         custom kinds: `x-kubernetes-validations`
- `customs`     is a CustomResourceDefinition itself well made
- `formats`     names, labels, quantities and string formats
- `rules`, `pods`  built-in kinds: what a real server refuses beyond types
- `validate`    one door to all of these
- `openapi`     the same knowledge as OpenAPI documents
"""
