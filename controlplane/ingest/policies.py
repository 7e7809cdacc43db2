"""Mesh and PeerAuthentication, read into nouns.

In: a cursor on one object. Out: its noun. Refuses unknown modes and targets with UnreadableError; admission says the same sooner.
"""

from __future__ import annotations

from controlplane.ingest.core import key_of
from controlplane.ingest.reading import Cursor, UnreadableError, timestamp
from controlplane.model.mesh import MESH_NAME, MeshSettings
from controlplane.model.security import Mode, PeerAuthentication, PolicyTarget

TARGETS = {
    ("", "Service"),
    ("", "ServiceAccount"),
    ("", "Pod"),
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("apps", "DaemonSet"),
    ("batch", "Job"),
    ("batch", "CronJob"),
}
"""What a policy of Tulle may be about."""


def _word(raw: Cursor, key: str, default: str, allowed: tuple[str, ...]) -> str:
    found = raw.text(key, default)
    if found not in allowed:
        raise UnreadableError(f"{raw.path}.{key} is {found!r}, it must be one of {', '.join(allowed)}")
    return found


def _mode(raw: Cursor) -> Mode | None:
    word = _word(raw, "mode", "UNSET", ("UNSET", *Mode.__members__))
    return None if word == "UNSET" else Mode[word]


def read_mesh(raw: Cursor) -> MeshSettings:
    """Read the Mesh object."""
    if key_of(raw).name != MESH_NAME:
        raise UnreadableError(f"only the Mesh named {MESH_NAME!r} is read; rename this one or delete it")
    spec = raw.at("spec")
    return MeshSettings(
        mode=_mode(spec.at("mtls")) or Mode.PERMISSIVE,
        outbound_allowed=_word(spec, "outbound", "ALLOW", ("ALLOW", "DENY")) == "ALLOW",
        detection_timeout=spec.seconds("detectionTimeout", 10.0),
        access_log=_word(spec, "accessLog", "OFF", ("OFF", "ON")) == "ON",
        generation=raw.at("metadata").number("generation"),
    )


def read_authentication(raw: Cursor) -> PeerAuthentication:
    """Read a PeerAuthentication."""
    metadata, spec = raw.at("metadata"), raw.at("spec")
    ports: dict[int, Mode] = {}
    for one in spec.items("portLevel"):
        number, mode = one.port("port"), _mode(one)
        if not number:
            raise UnreadableError(f"{one.path}.port is missing; name the port the mode is for")
        if mode is not None:
            ports[number] = mode
    return PeerAuthentication(
        key=key_of(raw),
        mode=_mode(spec.at("mtls")),
        ports=tuple(sorted(ports.items())),
        targets=tuple(_target(one) for one in spec.items("targetRefs")),
        generation=metadata.number("generation"),
        created=timestamp(metadata.at("creationTimestamp").value),
    )


def _target(raw: Cursor) -> PolicyTarget:
    target = PolicyTarget(group=raw.text("group"), kind=raw.text("kind"), name=raw.text("name"))
    if (target.group, target.kind) not in TARGETS:
        kinds = ", ".join(sorted(kind for _, kind in TARGETS))
        raise UnreadableError(
            f"{raw.path} names a {target.kind or 'nameless kind'} of group {target.group!r}; allowed are {kinds}"
        )
    return target
