"""A control plane in a function: answers a session's requests from a snapshot, no socket in between."""

from __future__ import annotations

from dataclasses import dataclass, field

from controlplane.compiler.reads import Input, changed
from controlplane.compiler.snapshot import MeshSnapshot
from controlplane.resources.build import Client, build
from dataplane.xds.session import Session
from meshapi import protos
from meshapi.xds import PUSH_ORDER, Type

_DISCOVERY = "envoy.service.discovery.v3."


@dataclass(slots=True)
class Ads:
    """One delta stream, served."""

    snapshot: MeshSnapshot
    client: Client
    session: Session
    subscribed: set[tuple[Type, str]] = field(default_factory=set)
    versions: dict[tuple[Type, str], str] = field(default_factory=dict)
    inputs: dict[tuple[Type, str], set[Input]] = field(default_factory=dict)
    """What was read for each name answered."""
    refusals: list[str] = field(default_factory=list)
    sent: int = 0
    """Responses so far."""

    def connect(self) -> None:
        """Open a stream and answer until the session is content."""
        self.subscribed.clear()
        self.versions.clear()
        self.answer(self.session.connected())

    def push(self, snapshot: MeshSnapshot) -> int:
        """Bring the session to another snapshot; returns how many resources it took."""
        differing = set(changed(self.snapshot, snapshot))
        keys = {key for key in self.subscribed if self.inputs[key] & differing}
        self.snapshot = snapshot
        return sum(self._send(type_, {n for t, n in keys if t is type_}) for type_ in PUSH_ORDER)

    def answer(self, requests: list[bytes]) -> None:
        """Answer requests, and what they lead to."""
        for raw in requests:
            request = protos.message(_DISCOVERY + "DeltaDiscoveryRequest").FromString(raw)
            type_ = Type(request.type_url)
            if request.HasField("error_detail"):
                self.refusals.append(request.error_detail.message)
            self.versions.update({(type_, n): v for n, v in request.initial_resource_versions.items()})
            self.subscribed |= {(type_, name) for name in request.resource_names_subscribe}
            self.subscribed -= {(type_, name) for name in request.resource_names_unsubscribe}
            for name in request.resource_names_unsubscribe:
                self.versions.pop((type_, name), None)
            self._send(type_, set(request.resource_names_subscribe))

    def send(self, type_: Type, resources: dict[str, tuple[str, bytes]], removed: tuple[str, ...] = ()) -> None:
        """Send a response: versions and bodies by name."""
        self.sent += 1
        response = protos.message(_DISCOVERY + "DeltaDiscoveryResponse")(
            type_url=type_.url,
            nonce=str(self.sent),
            removed_resources=removed,
            resources=[
                {"name": name, "version": version, "resource": {"type_url": type_.url, "value": body}}
                for name, (version, body) in resources.items()
            ],
        )
        self.answer([*self.session.receive(response.SerializeToString()), *self.session.pending()])

    def _send(self, type_: Type, names: set[str]) -> int:
        found = {}
        for name in sorted(names):
            inputs = self.inputs[type_, name] = set()
            found[name] = build(self.snapshot, type_, name, self.client, inputs)
        fresh = {
            name: (one.version, one.body)
            for name, one in found.items()
            if one and self.versions.get((type_, name)) != one.version
        }
        self.versions.update({(type_, name): one.version for name, one in found.items() if one})
        gone = tuple(name for name, one in found.items() if one is None)
        if fresh or gone:
            self.send(type_, fresh, gone)
        return len(fresh) + len(gone)
