"""Pod Security: the baseline and restricted profiles, asked for by labels of the namespace.

In: a pod and its namespace's labels (`pod-security.kubernetes.io/enforce`, `/warn`). Out: what violates the profile, in the words of the real admission plugin.
Enforcing looks at pods; warnings also at the pod templates of workloads, so users hear of it when they apply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from devcluster.api.errors import Object

PREFIX = "pod-security.kubernetes.io/"
Pod = Mapping[str, Any]
Check = Callable[[Pod, Sequence[Pod]], str]

_DEFAULT_CAPABILITIES = frozenset(
    {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"}
    | {"SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}
)
_SAFE_VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
_SAFE_SYSCTLS = frozenset(
    {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start"}
    | {"net.ipv4.ip_local_reserved_ports", "net.ipv4.ping_group_range", "net.ipv4.tcp_syncookies"}
    | {f"net.ipv4.tcp_{name}" for name in ("fin_timeout", "keepalive_time", "keepalive_intvl", "keepalive_probes")}
)


def level(labels: Mapping[str, str], mode: str) -> tuple[str, str]:
    """The profile and its version a namespace asks for in a mode."""
    return labels.get(PREFIX + mode, "privileged"), labels.get(f"{PREFIX}{mode}-version", "latest")


def template(obj: Object) -> Pod | None:
    """The pod, or what a workload would make pods of."""
    if obj.get("kind") == "Pod":
        return obj
    spec = obj.get("spec") or {}
    if obj.get("kind") == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    found = spec.get("template")
    return found if isinstance(found, dict) else None


def violations(pod: Pod, profile: str) -> list[str]:
    """What a pod does that the profile forbids."""
    spec = pod.get("spec") or {}
    containers = [c for field in ("initContainers", "containers", "ephemeralContainers") for c in spec.get(field) or []]
    checks = {"baseline": BASELINE + _REPLACED, "restricted": BASELINE + RESTRICTED}.get(profile, ())
    return [said for check in checks if (said := check(pod, containers))]


def sentence(found: Sequence[str], profile: str, version: str) -> str:
    """How a violation is said."""
    return f'violates PodSecurity "{profile}:{version}": {", ".join(found)}'


def _context(one: Pod) -> Mapping[str, Any]:
    found: Mapping[str, Any] = one.get("securityContext") or {}
    return found


def _pod_context(pod: Pod) -> Mapping[str, Any]:
    return _context(pod.get("spec") or {})


def _named(containers: Sequence[Pod], must: str, what: str = "container") -> str:
    """`container "a" must ...`, `containers "a", "b" must ...`."""
    names = ", ".join(f'"{one.get("name")}"' for one in containers)
    return f"{what}{'s' if len(containers) > 1 else ''} {names} {must}"


def _host_namespaces(pod: Pod, _: Sequence[Pod]) -> str:
    used = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if (pod.get("spec") or {}).get(name)]
    return f"host namespaces ({', '.join(used)})" if used else ""


def _privileged(_: Pod, containers: Sequence[Pod]) -> str:
    bad = [c for c in containers if _context(c).get("privileged")]
    return f"privileged ({_named(bad, 'must not set securityContext.privileged=true')})" if bad else ""


def _added(containers: Sequence[Pod], allowed: frozenset[str]) -> str:
    bad, names = [], []
    for one in containers:
        extra = [n for n in (_context(one).get("capabilities") or {}).get("add") or [] if n not in allowed]
        if extra:
            bad.append(one)
            names += [name for name in extra if name not in names]
    listed = ", ".join(f'"{name}"' for name in sorted(names))
    return _named(bad, f"must not include {listed} in securityContext.capabilities.add") if bad else ""


def _capabilities(_: Pod, containers: Sequence[Pod]) -> str:
    said = _added(containers, _DEFAULT_CAPABILITIES)
    return f"non-default capabilities ({said})" if said else ""


def _volumes(pod: Pod) -> Iterator[tuple[str, str]]:
    for volume in (pod.get("spec") or {}).get("volumes") or []:
        for kind in volume:
            if kind != "name" and volume[kind] is not None:
                yield volume.get("name", ""), kind


def _host_path(pod: Pod, _: Sequence[Pod]) -> str:
    bad = [{"name": name} for name, kind in _volumes(pod) if kind == "hostPath"]
    return f"hostPath volumes ({_named(bad, '', 'volume').rstrip()})" if bad else ""


def _host_ports(_: Pod, containers: Sequence[Pod]) -> str:
    bad = [c for c in containers if any(p.get("hostPort") for p in c.get("ports") or [])]
    used = sorted({p["hostPort"] for c in bad for p in c["ports"] if p.get("hostPort")})
    word = "hostPort" if len(used) == 1 else "hostPorts"
    verb = "uses" if len(bad) == 1 else "use"
    return f"hostPort ({_named(bad, f'{verb} {word} ' + ', '.join(map(str, used)))})" if bad else ""


def _proc_mount(_: Pod, containers: Sequence[Pod]) -> str:
    bad = [c for c in containers if _context(c).get("procMount", "Default") != "Default"]
    return f"procMount ({_named(bad, 'must not set securityContext.procMount')})" if bad else ""


def _sysctls(pod: Pod, _: Sequence[Pod]) -> str:
    bad = [one["name"] for one in _pod_context(pod).get("sysctls") or [] if one["name"] not in _SAFE_SYSCTLS]
    return f"forbidden sysctls ({', '.join(bad)})" if bad else ""


def _unconfined(pod: Pod, containers: Sequence[Pod]) -> str:
    said = []
    if (_pod_context(pod).get("seccompProfile") or {}).get("type") == "Unconfined":
        said.append("pod")
    bad = [c for c in containers if (_context(c).get("seccompProfile") or {}).get("type") == "Unconfined"]
    who = " and ".join(said + ([_named(bad, "").rstrip()] if bad else []))
    return f'seccompProfile ({who} must not set securityContext.seccompProfile.type to "Unconfined")' if who else ""


def _restricted_volumes(pod: Pod, _: Sequence[Pod]) -> str:
    bad = [(name, kind) for name, kind in _volumes(pod) if kind not in _SAFE_VOLUMES]
    kinds = ", ".join(f'"{kind}"' for kind in sorted({kind for _, kind in bad}))
    many = "s" if kinds.count('"') > 2 else ""
    verb = "use" if len(bad) > 1 else "uses"
    names = [{"name": name} for name, _ in bad]
    said = _named(names, f"{verb} restricted volume type{many} {kinds}", "volume")
    return f"restricted volume types ({said})" if bad else ""


def _escalation(_: Pod, containers: Sequence[Pod]) -> str:
    bad = [c for c in containers if _context(c).get("allowPrivilegeEscalation") is not False]
    said = _named(bad, "must set securityContext.allowPrivilegeEscalation=false")
    return f"allowPrivilegeEscalation != false ({said})" if bad else ""


def _all_dropped(_: Pod, containers: Sequence[Pod]) -> str:
    bad = [c for c in containers if "ALL" not in ((_context(c).get("capabilities") or {}).get("drop") or [])]
    said = [_named(bad, 'must set securityContext.capabilities.drop=["ALL"]')] if bad else []
    added = _added(containers, frozenset({"NET_BIND_SERVICE"}))
    both = "; ".join([*said, *([added] if added else [])])
    return f"unrestricted capabilities ({both})" if both else ""


def _non_root(pod: Pod, containers: Sequence[Pod]) -> str:
    whole = _pod_context(pod).get("runAsNonRoot")
    explicit = [c for c in containers if _context(c).get("runAsNonRoot") is False]
    if explicit:
        return f"runAsNonRoot != true ({_named(explicit, 'must not set securityContext.runAsNonRoot=false')})"
    if whole is False:
        return "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"
    bad = [c for c in containers if not whole and not _context(c).get("runAsNonRoot")]
    said = _named(bad, "must set securityContext.runAsNonRoot=true", "pod or container")
    return f"runAsNonRoot != true ({said})" if bad else ""


def _root_user(pod: Pod, containers: Sequence[Pod]) -> str:
    who = ["pod"] if _pod_context(pod).get("runAsUser") == 0 else []
    bad = [c for c in containers if _context(c).get("runAsUser") == 0]
    who += [_named(bad, "").rstrip()] if bad else []
    return f"runAsUser=0 ({' and '.join(who)} must not set runAsUser=0)" if who else ""


def _seccomp(pod: Pod, containers: Sequence[Pod]) -> str:
    good = {"RuntimeDefault", "Localhost"}
    whole = (_pod_context(pod).get("seccompProfile") or {}).get("type")
    bad = [c for c in containers if (_context(c).get("seccompProfile") or {}).get("type", whole) not in good]
    must = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return f"seccompProfile ({_named(bad, must, 'pod or container')})" if bad else ""


BASELINE: tuple[Check, ...] = (_host_namespaces, _privileged, _host_ports, _proc_mount, _sysctls)
_REPLACED: tuple[Check, ...] = (_capabilities, _host_path, _unconfined)
"""Checks of the baseline profile that stricter ones take the place of."""
RESTRICTED: tuple[Check, ...] = (_escalation, _all_dropped, _restricted_volumes, _non_root, _root_user, _seccomp)
