"""What the server fills in where built-in kinds leave something out: the defaults clients rely on.

In: an object, changed in place. Out: nothing else. It decides nothing that depends on other objects.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator

from devcluster.api.errors import Object

_QUARTER: Object = {"maxSurge": "25%", "maxUnavailable": "25%"}


def fill(obj: Object) -> None:
    """Fill the defaults of a built-in kind in; others are left alone."""
    known = _FILLERS.get(obj["kind"])
    if known is not None:
        known(obj)


def _set(target: Object, **values: object) -> None:
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = value


def _spec(obj: Object) -> Object:
    if obj.get("spec") is None:
        obj["spec"] = {}
    spec: Object = obj["spec"]
    return spec


def pod_spec(spec: Object) -> None:
    """Fill a pod's spec in."""
    _set(spec, restartPolicy="Always", dnsPolicy="ClusterFirst", terminationGracePeriodSeconds=30)
    _set(spec, schedulerName="default-scheduler", securityContext={})
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in containers(spec):
        _container(container)
    for volume in spec.get("volumes") or []:
        _volume(volume)


def containers(spec: Object) -> Iterator[Object]:
    """Give all containers of a pod's spec."""
    for name in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(name) or []


def _container(container: Object) -> None:
    image = str(container.get("image", ""))
    tag = image.rsplit("/", 1)[-1].partition("@")[0].partition(":")[2]
    latest = tag in {"", "latest"} and "@" not in image
    _set(container, imagePullPolicy="Always" if latest else "IfNotPresent", resources={})
    _set(container, terminationMessagePath="/dev/termination-log", terminationMessagePolicy="File")
    for port in container.get("ports") or []:
        _set(port, protocol="TCP")
    for variable in container.get("env") or []:
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            _set(reference, apiVersion="v1")
    limits = (container.get("resources") or {}).get("limits")
    if limits:
        requests = container["resources"].setdefault("requests", {})
        for name, value in limits.items():
            requests.setdefault(name, value)
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name)
        if probe is not None:
            _set(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
            _handler(probe)
    for handler in (container.get("lifecycle") or {}).values():
        if isinstance(handler, dict):
            _handler(handler)


def _handler(handler: Object) -> None:
    if handler.get("httpGet") is not None:
        _set(handler["httpGet"], path="/", scheme="HTTP")
    if handler.get("grpc") is not None:
        _set(handler["grpc"], service="")


def _volume(volume: Object) -> None:
    sources = set(volume) - {"name"}
    if not sources:
        volume["emptyDir"] = {}
    for name in ("secret", "configMap", "projected", "downwardAPI"):
        if volume.get(name) is not None:
            _set(volume[name], defaultMode=0o644)
    for source in (volume.get("projected") or {}).get("sources") or []:
        if source.get("serviceAccountToken") is not None:
            _set(source["serviceAccountToken"], expirationSeconds=3600)
        for item in (source.get("downwardAPI") or {}).get("items") or []:
            if item.get("fieldRef") is not None:
                _set(item["fieldRef"], apiVersion="v1")
    if volume.get("hostPath") is not None:
        _set(volume["hostPath"], type="")


def _pod(obj: Object) -> None:
    spec = _spec(obj)
    pod_spec(spec)
    _set(spec, enableServiceLinks=True, priority=0, preemptionPolicy="PreemptLowerPriority")
    every = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(t.get("key") in {key, None, ""} for t in tolerations):
            tolerations.append({"key": key} | every)
    if obj.get("status") is None:
        obj["status"] = {"phase": "Pending", "qosClass": _quality(spec)}


def _quality(spec: Object) -> str:
    resources = [container.get("resources") or {} for container in containers(spec)]
    if not any(r.get("requests") or r.get("limits") for r in resources):
        return "BestEffort"
    sure = all(
        set(r.get("limits") or {}) >= {"cpu", "memory"} and (r.get("requests") or r["limits"]) == r["limits"]
        for r in resources
    )
    return "Guaranteed" if sure else "Burstable"


def _template(spec: Object) -> None:
    template = spec.setdefault("template", {})
    if not isinstance(template.get("metadata"), dict):
        template["metadata"] = {}
    pod_spec(_spec(template))


def _deployment(obj: Object) -> None:
    spec = _spec(obj)
    _set(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600, strategy={})
    _set(spec["strategy"], type="RollingUpdate")
    if spec["strategy"]["type"] == "RollingUpdate":
        _set(spec["strategy"], rollingUpdate={})
        _set(spec["strategy"]["rollingUpdate"], **_QUARTER)
    _template(spec)


def _replica_set(obj: Object) -> None:
    _set(_spec(obj), replicas=1)
    _template(obj["spec"])


def _stateful_set(obj: Object) -> None:
    spec = _spec(obj)
    _set(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady", updateStrategy={})
    _set(spec, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain", "whenScaled": "Retain"})
    _set(spec["updateStrategy"], type="RollingUpdate")
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        _set(spec["updateStrategy"], rollingUpdate={})
        _set(spec["updateStrategy"]["rollingUpdate"], partition=0)
    _template(spec)


def _daemon_set(obj: Object) -> None:
    spec = _spec(obj)
    _set(spec, revisionHistoryLimit=10, updateStrategy={})
    _set(spec["updateStrategy"], type="RollingUpdate")
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        _set(spec["updateStrategy"], rollingUpdate={})
        _set(spec["updateStrategy"]["rollingUpdate"], maxSurge=0, maxUnavailable=1)
    _template(spec)


def _job(obj: Object) -> None:
    spec = _spec(obj)
    _job_spec(spec)
    uid = obj["metadata"].get("uid", "")
    if not spec.get("manualSelector") and uid and not spec.get("selector"):
        labels = spec["template"]["metadata"].setdefault("labels", {})
        for prefix in ("batch.kubernetes.io/", ""):
            labels.setdefault(f"{prefix}controller-uid", uid)
            labels.setdefault(f"{prefix}job-name", obj["metadata"]["name"])
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}


def _job_spec(spec: Object) -> None:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    _set(spec, parallelism=1, backoffLimit=6, completionMode="NonIndexed", suspend=False)
    _set(spec, podReplacementPolicy="TerminatingOrFailed")
    _template(spec)


def _cron_job(obj: Object) -> None:
    spec = _spec(obj)
    _set(spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)
    _job_spec(_spec(spec.setdefault("jobTemplate", {"metadata": {}})))


def _service(obj: Object) -> None:
    spec = _spec(obj)
    _set(spec, type="ClusterIP", sessionAffinity="None")
    if spec["type"] != "ExternalName":
        _set(spec, ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack", internalTrafficPolicy="Cluster")
    for port in spec.get("ports") or []:
        _set(port, protocol="TCP", targetPort=port.get("port"))
    if "status" not in obj:
        obj["status"] = {"loadBalancer": {}}


def _namespace(obj: Object) -> None:
    name = obj["metadata"].get("name", "")
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name
    _set(_spec(obj), finalizers=["kubernetes"])
    _set(obj, status={"phase": "Active"})


def _secret(obj: Object) -> None:
    _set(obj, type="Opaque")
    if obj.get("stringData"):
        import_text(obj)


def import_text(secret: Object) -> None:
    """Move `stringData` of a Secret into `data`, encoded."""
    data = secret.setdefault("data", {}) or {}
    for key, value in secret.pop("stringData").items():
        data[key] = b64encode(str(value).encode()).decode()
    secret["data"] = data


def _webhooks(obj: Object) -> None:
    mutating = obj["kind"].startswith("Mutating")
    for hook in obj.get("webhooks") or []:
        _set(hook, failurePolicy="Fail", matchPolicy="Equivalent", timeoutSeconds=10)
        _set(hook, namespaceSelector={}, objectSelector={})
        if mutating:
            _set(hook, reinvocationPolicy="Never")
        service = (hook.get("clientConfig") or {}).get("service")
        if service is not None:
            _set(service, port=443)
        for rule in hook.get("rules") or []:
            _set(rule, scope="*")


def _role_binding(obj: Object) -> None:
    _set(obj.get("roleRef") or {}, apiGroup="rbac.authorization.k8s.io")
    for subject in obj.get("subjects") or []:
        group = "" if subject.get("kind") == "ServiceAccount" else "rbac.authorization.k8s.io"
        if group:
            _set(subject, apiGroup=group)


def _definition(obj: Object) -> None:
    spec = _spec(obj)
    names = spec.setdefault("names", {})
    kind = str(names.get("kind", ""))
    _set(names, singular=kind.lower(), listKind=f"{kind}List")
    _set(spec, conversion={"strategy": "None"})


def _endpoint_slice(obj: Object) -> None:
    for port in obj.get("ports") or []:
        _set(port, protocol="TCP", name="")


_FILLERS: dict[str, Callable[[Object], None]] = {
    "Pod": _pod,
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Job": _job,
    "CronJob": _cron_job,
    "Service": _service,
    "Namespace": _namespace,
    "Secret": _secret,
    "MutatingWebhookConfiguration": _webhooks,
    "ValidatingWebhookConfiguration": _webhooks,
    "RoleBinding": _role_binding,
    "ClusterRoleBinding": _role_binding,
    "CustomResourceDefinition": _definition,
    "EndpointSlice": _endpoint_slice,
}
