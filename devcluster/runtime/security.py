"""As whom a container runs and what that user may do: security contexts of pod and container read together.

In: the two contexts. Out: `Rights`. Refuses with ConfigError what a kubelet refuses. Seccomp, AppArmor and SELinux are not applied.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from devcluster.runtime.environment import ConfigError

Object = dict[str, Any]
CAPABILITIES: Final = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
    "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
    "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
    "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip
"""By the kernel's numbers."""
_DEFAULT: Final = frozenset({
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE", "NET_RAW", "SYS_CHROOT",
    "MKNOD", "AUDIT_WRITE", "SETFCAP",
})  # fmt: skip
"""What container runtimes grant unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """Who a container's programs are."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    capabilities: tuple[int, ...]
    """Numbers of those kept in the bounding set; a user who is not root has none of them in effect."""
    no_new_privileges: bool
    privileged: bool
    read_only: bool


def rights(pod: Object, container: Object, owner: tuple[int, int] = (0, 0)) -> Rights:
    """Read the security contexts; where they name nobody, the image's owner (user, group) it is; raises ConfigError."""
    whole = pod["spec"].get("securityContext") or {}
    own = container.get("securityContext") or {}
    both = {**whole, **{key: value for key, value in own.items() if value is not None}}
    uid = owner[0] if both.get("runAsUser") is None else both["runAsUser"]
    if both.get("runAsNonRoot") and uid == 0:
        metadata = pod["metadata"]
        place = (
            f'(pod: "{metadata["name"]}_{metadata["namespace"]}({metadata["uid"]})", container: {container["name"]})'
        )
        if "runAsUser" in both:
            raise ConfigError(f"container's runAsUser breaks non-root policy {place}")
        raise ConfigError(f"container has runAsNonRoot and image will run as root {place}")
    gid = both.get("runAsGroup")
    if gid is None:
        gid = owner[1] if both.get("runAsUser") is None else 0
    groups = {gid, *(whole.get("supplementalGroups") or ())}
    if whole.get("fsGroup") is not None:
        groups.add(whole["fsGroup"])
    privileged = bool(own.get("privileged"))
    return Rights(
        uid=uid,
        gid=gid,
        groups=tuple(sorted(groups)),
        capabilities=tuple(range(len(CAPABILITIES))) if privileged else _granted(own.get("capabilities") or {}),
        no_new_privileges=own.get("allowPrivilegeEscalation") is False,
        privileged=privileged,
        read_only=bool(own.get("readOnlyRootFilesystem")),
    )


def _granted(asked: Object) -> tuple[int, ...]:
    drop, add = _names(asked.get("drop")), _names(asked.get("add"))
    kept = frozenset() if "ALL" in drop else _DEFAULT - drop
    kept |= frozenset(CAPABILITIES) if "ALL" in add else add
    return tuple(number for number, name in enumerate(CAPABILITIES) if name in kept)


def _names(words: Iterable[str] | None) -> frozenset[str]:
    return frozenset(word.upper().removeprefix("CAP_") for word in words or ())
