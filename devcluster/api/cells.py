"""The cells `kubectl get` prints for built-in kinds, after their names; one function a kind.

In: an object. Out: its cells, in the order `columns` names them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from devcluster.api.errors import Object

NONE = "<none>"


def duration(span: timedelta) -> str:
    """Write a time span as kubectl does: two units while small, one when large."""
    seconds = int(span.total_seconds())
    if seconds < -1:
        return "<invalid>"
    seconds = max(seconds, 0)
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d" if days < 730 else f"{days // 365}y"


def age(stamp: str | None) -> str:
    """Write how long ago a moment was."""
    moment = _moment(stamp)
    return duration(datetime.now(UTC) - moment) if moment else "<unknown>"


def _moment(stamp: str | None) -> datetime | None:
    if not stamp:
        return None
    try:
        return datetime.fromisoformat(stamp)
    except ValueError:
        return None


def created(obj: Object) -> str:
    """Write how old an object is."""
    return age(obj["metadata"].get("creationTimestamp"))


def age_only(obj: Object) -> list[Any]:
    """Most kinds have nothing but their age."""
    return [created(obj)]


def labels(selector: Object | None) -> str:
    """Write a map of labels, or a LabelSelector."""
    if not selector:
        return NONE
    if "matchExpressions" in selector or "matchLabels" in selector:
        parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
        for term in selector.get("matchExpressions") or []:
            values = f" ({','.join(term.get('values') or [])})" if term.get("values") else ""
            parts.append(f"{term['key']} {term['operator'].lower()}{values}")
        return ",".join(parts) or NONE
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))


def service(obj: Object) -> list[Any]:
    """TYPE, addresses and ports."""
    spec = obj["spec"]
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    external = ",".join(spec.get("externalIPs") or [i.get("ip") or i.get("hostname", "") for i in ingress])
    if spec.get("type") == "ExternalName":
        external = spec.get("externalName", "")
    elif spec.get("type") == "LoadBalancer" and not external:
        external = "<pending>"
    ports = [
        f"{p['port']}{':' + str(p['nodePort']) if p.get('nodePort') else ''}/{p.get('protocol', 'TCP')}"
        for p in spec.get("ports") or []
    ]
    return [
        spec.get("type", "ClusterIP"),
        spec.get("clusterIP") or NONE,
        external or NONE,
        ",".join(ports) or NONE,
        created(obj),
        labels(spec.get("selector")),
    ]


def endpoints(obj: Object) -> list[Any]:
    """Addresses with their ports."""
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in obj.get("subsets") or []
        for port in subset.get("ports") or []
        for address in subset.get("addresses") or []
    ]
    return [_some(found), created(obj)]


def _some(found: list[str], most: int = 3) -> str:
    if not found:
        return NONE
    more = f" + {len(found) - most} more..." if len(found) > most else ""
    return ",".join(found[:most]) + more


def namespace(obj: Object) -> list[Any]:
    """STATUS."""
    return [(obj.get("status") or {}).get("phase", "Active"), created(obj)]


def node(obj: Object) -> list[Any]:
    """STATUS, roles and what runs there."""
    status = obj.get("status") or {}
    info = status.get("nodeInfo") or {}
    ready = next((c["status"] for c in status.get("conditions") or [] if c["type"] == "Ready"), "Unknown")
    words = {"True": "Ready", "False": "NotReady"}.get(ready, "Unknown")
    if obj.get("spec", {}).get("unschedulable"):
        words += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    roles = sorted(k.removeprefix(prefix) for k in obj["metadata"].get("labels") or {} if k.startswith(prefix))
    addresses = {a["type"]: a["address"] for a in status.get("addresses") or []}
    return [
        words,
        ",".join(roles) or NONE,
        created(obj),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        info.get("osImage", "<unknown>"),
        info.get("kernelVersion", "<unknown>"),
        info.get("containerRuntimeVersion", "<unknown>"),
    ]


def config_map(obj: Object) -> list[Any]:
    """How many keys."""
    return [len(obj.get("data") or {}) + len(obj.get("binaryData") or {}), created(obj)]


def secret(obj: Object) -> list[Any]:
    """TYPE and how many keys."""
    return [obj.get("type", "Opaque"), len(obj.get("data") or {}), created(obj)]


def service_account(obj: Object) -> list[Any]:
    """How many secrets."""
    return [len(obj.get("secrets") or []), created(obj)]


def event(obj: Object) -> list[Any]:
    """What happened to what."""
    series = obj.get("series") or {}
    stamp = obj["metadata"].get("creationTimestamp")
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or obj.get("eventTime") or stamp
    first = obj.get("firstTimestamp") or obj.get("eventTime") or stamp
    about = obj.get("involvedObject") or {}
    source = obj.get("source") or {}
    component = source.get("component") or obj.get("reportingComponent") or ""
    count = series.get("count") or obj.get("count") or 1
    return [
        age(last),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""),
        ", ".join(filter(None, [component, source.get("host")])),
        str(obj.get("message", "")).strip(),
        age(first),
        count,
        obj["metadata"]["name"],
    ]


def _images(spec: Object) -> list[str]:
    found = (spec.get("template") or {}).get("spec", {}).get("containers") or []
    return [",".join(c["name"] for c in found), ",".join(c.get("image", "") for c in found)]


def deployment(obj: Object) -> list[Any]:
    """READY, UP-TO-DATE and AVAILABLE."""
    spec, status = obj["spec"], obj.get("status") or {}
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    counts = [ready, status.get("updatedReplicas", 0), status.get("availableReplicas", 0)]
    return [*counts, created(obj), *_images(spec), labels(spec.get("selector"))]


def replica_set(obj: Object) -> list[Any]:
    """DESIRED, CURRENT and READY."""
    spec, status = obj["spec"], obj.get("status") or {}
    counts = [spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0)]
    return [*counts, created(obj), *_images(spec), labels(spec.get("selector"))]


def stateful_set(obj: Object) -> list[Any]:
    """READY."""
    ready = (obj.get("status") or {}).get("readyReplicas", 0)
    return [f"{ready}/{obj['spec'].get('replicas', 0)}", created(obj), *_images(obj["spec"])]


def daemon_set(obj: Object) -> list[Any]:
    """The counts of a DaemonSet."""
    spec, status = obj["spec"], obj.get("status") or {}
    names = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady")
    more = ("updatedNumberScheduled", "numberAvailable")
    nodes = labels((spec.get("template") or {}).get("spec", {}).get("nodeSelector"))
    counts = [status.get(name, 0) for name in (*names, *more)]
    return [*counts, nodes, created(obj), *_images(spec), labels(spec.get("selector"))]


def revision(obj: Object) -> list[Any]:
    """Whose revision, and which."""
    owner = next((o for o in obj["metadata"].get("ownerReferences") or [] if o.get("controller")), None)
    whose = f"{owner['kind'].lower()}.{owner['apiVersion'].partition('/')[0]}/{owner['name']}" if owner else NONE
    return [whose, obj.get("revision", 0), created(obj)]


def job(obj: Object) -> list[Any]:
    """STATUS, COMPLETIONS and DURATION."""
    spec, status = obj["spec"], obj.get("status") or {}
    true = {c["type"] for c in status.get("conditions") or [] if c["status"] == "True"}
    known = ("Complete", "Failed", "Suspended", "FailureTarget")
    words = next((name for name in known if name in true), "Running")
    if obj["metadata"].get("deletionTimestamp"):
        words = "Terminating"
    begin = _moment(status.get("startTime"))
    end = _moment(status.get("completionTime")) or datetime.now(UTC)
    completions = spec.get("completions")
    of = f"1 of {spec.get('parallelism', 1)}" if completions is None else completions
    done = f"{status.get('succeeded', 0)}/{of}"
    return [
        words,
        done,
        duration(end - begin) if begin else "",
        created(obj),
        *_images(spec),
        labels(spec.get("selector")),
    ]


def cron_job(obj: Object) -> list[Any]:
    """SCHEDULE and what came of it."""
    spec, status = obj["spec"], obj.get("status") or {}
    last = status.get("lastScheduleTime")
    job_spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    return [
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        str(spec.get("suspend", False)),
        len(status.get("active") or []),
        age(last) if last else NONE,
        created(obj),
        *_images(job_spec),
        labels(job_spec.get("selector")),
    ]


def endpoint_slice(obj: Object) -> list[Any]:
    """ADDRESSTYPE, PORTS and ENDPOINTS."""
    ports = [str(p.get("port", "*")) for p in obj.get("ports") or []]
    found = [address for endpoint in obj.get("endpoints") or [] for address in endpoint.get("addresses") or []]
    unset = "<unset>"
    return [
        obj.get("addressType", ""),
        _some(ports) if ports else unset,
        _some(found) if found else unset,
        created(obj),
    ]


def lease(obj: Object) -> list[Any]:
    """HOLDER."""
    return [(obj.get("spec") or {}).get("holderIdentity") or "", created(obj)]


def definition(obj: Object) -> list[Any]:
    """CREATED AT."""
    return [obj["metadata"].get("creationTimestamp", "")]


def disruption_budget(obj: Object) -> list[Any]:
    """What may be away."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    wanted = [str(spec.get(name, "N/A")) for name in ("minAvailable", "maxUnavailable")]
    return [*wanted, status.get("disruptionsAllowed", 0), created(obj)]


def autoscaler(obj: Object) -> list[Any]:
    """What is scaled between which bounds."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    target = spec.get("scaleTargetRef") or {}
    metrics = [
        f"{m['resource']['name']}: <unknown>/{m['resource']['target'].get('averageUtilization', '?')}%"
        for m in spec.get("metrics") or []
        if m.get("resource")
    ]
    bounds = [str(spec.get("minReplicas", 1)), spec.get("maxReplicas", 0), status.get("currentReplicas", 0)]
    return [f"{target.get('kind')}/{target.get('name')}", ", ".join(metrics) or "<unknown>", *bounds, created(obj)]


def network_policy(obj: Object) -> list[Any]:
    """Which pods."""
    return [labels((obj.get("spec") or {}).get("podSelector")), created(obj)]


def ingress(obj: Object) -> list[Any]:
    """CLASS and HOSTS."""
    spec = obj.get("spec") or {}
    hosts = [rule.get("host") or "*" for rule in spec.get("rules") or []]
    return [
        spec.get("ingressClassName") or NONE,
        ",".join(hosts) or "*",
        "",
        "80, 443" if spec.get("tls") else "80",
        created(obj),
    ]


def role_binding(obj: Object) -> list[Any]:
    """Which role to whom."""
    subjects = obj.get("subjects") or []
    role = obj.get("roleRef") or {}

    def named(kind: str) -> str:
        return ", ".join(
            f"{s['namespace']}/{s['name']}" if s.get("namespace") else s["name"] for s in subjects if s["kind"] == kind
        )

    whom = [named("User"), named("Group"), named("ServiceAccount")]
    return [f"{role.get('kind')}/{role.get('name')}", created(obj), *whom]


def webhooks(obj: Object) -> list[Any]:
    """How many webhooks."""
    return [len(obj.get("webhooks") or []), created(obj)]


def priority_class(obj: Object) -> list[Any]:
    """VALUE."""
    return [obj.get("value", 0), str(obj.get("globalDefault", False)).lower(), created(obj)]
