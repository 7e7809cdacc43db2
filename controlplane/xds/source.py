"""The resources of the current snapshot in each form somebody holds, encoded once, with what they were made of.

In: snapshots and the inputs in which one differs from the next; streams, and the listeners they subscribe to (`warm`). Out: a `Catalogue` a peer,
which tells its stream what of it has changed: whatever read a changed input, that it found nothing there included. A form leaves memory with the last
stream that holds it. Refuses nothing: what does not exist is None. A fault in building one resource is its own: the last good form goes on
being served, the log and `broken` name it, and it is tried again with each snapshot.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from controlplane.compiler.reads import Input
from controlplane.compiler.snapshot import MeshSnapshot
from controlplane.resources import build
from controlplane.resources.build import PLACED, Client, Placed
from controlplane.xds import messages
from controlplane.xds.callers import Peer
from controlplane.xds.messages import Encoded
from controlplane.xds.pushqueue import Key
from controlplane.xds.subscription import WILDCARD
from controlplane.xds.warm import WarmLists
from meshapi.xds import Type

_GRPC_AGENT = "grpc"

Tell = Callable[[Iterable[Key], float], None]
"""Told what changed, and when the change behind it was seen."""

log = logging.getLogger(__name__)


class Cell:
    """One resource in one form, or (under the name WILDCARD) the names one client's wildcard covers."""

    __slots__ = ("client", "former", "holders", "inputs", "key", "stale", "value")

    def __init__(self, key: Key, client: Client) -> None:
        self.key = key
        self.client = client
        self.value: Any = None
        self.former: Encoded | None = None
        """Where it is PLACED: the form all had before."""
        self.inputs: set[Input] = set()
        """What was read for the value; empty while it is stale."""
        self.stale = True
        self.holders: set[View] = set()

    def __str__(self) -> str:
        type_, name = self.key
        return f"{type_.name.lower()} {name}"


class Source:
    """Everything that can be asked for now."""

    def __init__(self) -> None:
        self.snapshot = MeshSnapshot()
        self.warm = WarmLists(lambda name: build.reachable(self.snapshot, name))
        self.encoded = 0
        """Resources encoded since the start."""
        self.broken: dict[Cell, str] = {}
        """What could not be built from this snapshot, and why."""
        self._cells: dict[tuple[Key, Client], Cell] = {}
        self._readers: dict[Input, set[Cell]] = {}

    def replace(self, snapshot: MeshSnapshot, changed: Iterable[Input], seen: float = 0.0) -> None:
        """Serve from this snapshot on; what read something that changed is built anew when it is asked for. `seen` is when the changes were."""
        self.snapshot = snapshot
        stale = set(self.broken)
        for one in changed:
            stale |= self._readers.get(one, set())
        for cell in stale:
            self._forget(cell)
            cell.stale = True
        for cell in stale:
            for view in cell.holders:
                view.tell((cell.key,), seen)

    def catalogue(self, peer: Peer, tell: Tell) -> View:
        """Give the view of a peer."""
        client = Client(
            namespace=peer.namespace,
            pod=peer.pod,
            grpc=peer.user_agent.lower().startswith(_GRPC_AGENT),
            warm=self._warm(peer),
            contract=peer.contract,
            families=peer.families,
            node=peer.node,
        )
        return View(self, client, tell)

    def joined(self, peer: Peer) -> None:
        """Note that a peer has a stream."""
        self.warm.joined(_workload(peer))

    def subscribed(self, peer: Peer, added: Iterable[str], dropped: Iterable[str]) -> None:
        """Note the listeners a peer asked for and let go."""
        self.warm.changed(_workload(peer), added, dropped)

    def left(self, peer: Peer, names: Iterable[str]) -> None:
        """Note that a peer's stream is over."""
        self.warm.left(_workload(peer), names)

    def hold(self, view: View, key: Key, *, placed: bool = False) -> Cell:
        """Give the cell of a name in the form a view gets, by its place too where that matters; kept until the view releases it."""
        client = build.placed(key[0], view.client) if placed else build.form(*key, view.client)
        cell = self._cells.get((key, client))
        if cell is None:
            cell = self._cells[key, client] = Cell(key, client)
        cell.holders.add(view)
        return cell

    def release(self, view: View, cell: Cell) -> None:
        """A view lets go of a cell."""
        cell.holders.discard(view)
        if not cell.holders:
            self._forget(cell)
            del self._cells[cell.key, cell.client]

    def value(self, cell: Cell) -> Any:
        """What a cell holds, as of now."""
        if cell.stale:
            self._build(cell)
        return cell.value

    def fresh(self) -> list[Cell]:
        """All cells whose value holds."""
        return [cell for cell in self._cells.values() if not cell.stale]

    def doubtful(self, cell: Cell) -> bool:
        """Build a cell anew, and tell its streams where it was another one than what they were sent."""
        before = cell.value
        self._forget(cell)
        self._build(cell)
        if cell.stale or cell.value == before:
            return False
        for view in cell.holders:
            view.tell((cell.key,), 0.0)
        return True

    def sizes(self) -> dict[str, int]:
        """How much is remembered, for metrics."""
        return {"resources": len(self._cells), "inputs": len(self._readers)}

    def _build(self, cell: Cell) -> None:
        inputs: set[Input] = set()
        try:
            made = self._encode(cell, inputs)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            if self.broken.get(cell) != why:
                log.exception("%s cannot be built; %s", cell, "its last form stays" if cell.value else "there is none")
            self.broken[cell] = why
            return
        if self.broken.pop(cell, None) is not None:
            log.info("%s can be built again", cell)
        if made is not PLACED:
            cell.former = None
        elif isinstance(cell.value, Encoded):
            cell.former = cell.value
        cell.value, cell.stale, cell.inputs = made, False, inputs
        for one in inputs:
            self._readers.setdefault(one, set()).add(cell)

    def _encode(self, cell: Cell, inputs: set[Input]) -> Encoded | Placed | frozenset[str] | None:
        type_, name = cell.key
        if name == WILDCARD:
            return frozenset(build.names(self.snapshot, type_, cell.client, inputs))
        resource = build.in_form(self.snapshot, type_, name, cell.client, inputs)
        if resource is None or isinstance(resource, Placed):
            return resource
        self.encoded += 1
        before = cell.value
        if isinstance(before, Encoded) and before.version == resource.version:
            return before
        return messages.encode(type_, name, resource.version, resource.body)

    def _forget(self, cell: Cell) -> None:
        """Drop what a cell has read."""
        for one in cell.inputs:
            readers = self._readers[one]
            readers.discard(cell)
            if not readers:
                del self._readers[one]
        cell.inputs = set()
        if not cell.holders:
            self.broken.pop(cell, None)

    def _warm(self, peer: Peer) -> tuple[str, ...]:
        if not peer.workload:
            return ()
        return tuple(self.warm.of(_workload(peer)))


def _workload(peer: Peer) -> tuple[str, str]:
    """Name what a pod belongs to; one that belongs to nothing is a workload of its own, which has no next pod."""
    return peer.namespace, peer.workload or f"Pod/{peer.pod}"


class View:
    """What one client may see, and holds of it; a `stream.Catalogue`."""

    def __init__(self, source: Source, client: Client, tell: Tell) -> None:
        self._source = source
        self.client = client
        self.tell = tell
        self._held: defaultdict[Type, dict[str, Cell]] = defaultdict(dict)
        self._placed: dict[Key, Cell] = {}
        """Of what is held, that which is another one for callers elsewhere, as it is for this one."""

    def fetch(self, type_: Type, name: str) -> Encoded | None:
        """A resource, or None when there is no such thing for this client."""
        return self._value(type_, name)  # type: ignore[no-any-return]

    def names(self, type_: Type) -> frozenset[str]:
        """What a wildcard covers."""
        return self._value(type_, WILDCARD) or frozenset()

    def keep(self, type_: Type, names: set[str]) -> None:
        """Let go of everything of a type but these."""
        held = self._held[type_]
        for name in held.keys() - names:
            self._source.release(self, held.pop(name))
            self._leave((type_, name))

    def close(self) -> None:
        """Let go of everything."""
        for held in self._held.values():
            for cell in held.values():
                self._source.release(self, cell)
        self._held.clear()
        for key in list(self._placed):
            self._leave(key)

    def _value(self, type_: Type, name: str) -> Any:
        held = self._held[type_]
        cell = held.get(name)
        if cell is None:
            cell = held[name] = self._source.hold(self, (type_, name))
        value = self._source.value(cell)
        if value is PLACED:
            return self._source.value(self._at(cell))
        if self._placed:
            self._leave((type_, name))
        return value

    def _at(self, shared: Cell) -> Cell:
        """Give the cell of a name as it is for this client's place; what cannot be built for it stays what it was for all."""
        key = shared.key
        if key not in self._placed:
            cell = self._placed[key] = self._source.hold(self, key, placed=True)
            if cell.stale and cell.value is None:
                cell.value = shared.former
        return self._placed[key]

    def _leave(self, key: Key) -> None:
        cell = self._placed.pop(key, None)
        if cell is not None:
            self._source.release(self, cell)
