"""Which outbound listeners the pods of each workload use, to hint at them to its next pod.

In: which streams there are, and what each subscribes to and lets go. Out: the names its connected sidecars are subscribed to now, most recent last; of a workload
without any, those of its last stream, so that a workload made anew begins warm; and what other replicas say of theirs, for the pods of a workload are
spread over replicas and its next pod may come to any. Nothing here has a life of its own: a restarted control plane has the lists again as soon as the
sidecars have resumed, and what they let go leaves them. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

MAX_WARM = 100
"""Destinations hinted at, and kept of a workload without streams."""
MAX_LOOKED_AT = 20_000
"""Names looked at to find them, the most recent first: a workload may use far more that are in no mesh."""
MAX_GONE = 20_000
"""Workloads without streams that are remembered, and workloads remembered of another replica."""
MAX_TOLD = 200
"""Workloads told of at once; the rest follows with the next question."""

Key = tuple[str, str]
"""Namespace, and kind and name of the workload."""


@dataclass(slots=True)
class _Workload:
    streams: int = 0
    names: dict[str, int] = field(default_factory=dict)
    """How many of the streams are subscribed to each; 0 for what is only remembered."""
    revision: int = 0
    """When the names changed last, by `WarmLists.revision`."""


class WarmLists:
    """The lists of all workloads."""

    def __init__(self, reachable: Callable[[str], bool] = lambda _: True) -> None:
        self._reachable = reachable
        self._workloads: dict[Key, _Workload] = {}
        self._gone: dict[Key, None] = {}
        """Those without streams, in the order they lost their last one."""
        self._others: dict[str, dict[Key, list[str]]] = {}
        """By replica: what it said of its workloads last."""
        self.revision = 0

    def joined(self, key: Key) -> None:
        """A pod of the workload has a stream."""
        self._workloads.setdefault(key, _Workload()).streams += 1
        self._gone.pop(key, None)

    def changed(self, key: Key, added: Iterable[str], dropped: Iterable[str]) -> None:
        """One of its streams subscribed to listeners, or let some go."""
        workload = self._workloads[key]
        names = workload.names
        self._touch(workload)
        for name in added:
            if name.startswith("outbound/"):
                names[name] = names.pop(name, 0) + 1
        for name in dropped:
            if name in names:
                names[name] -= 1
                if names[name] <= 0:
                    del names[name]

    def left(self, key: Key, names: Iterable[str]) -> None:
        """One of its streams is over, which was subscribed to these."""
        workload = self._workloads[key]
        workload.streams -= 1
        if workload.streams:
            self.changed(key, (), names)
            return
        self._touch(workload)
        workload.names = dict.fromkeys(self.own(key), 0)
        self._gone[key] = None
        if not workload.names:
            self._forget(key)
        elif len(self._gone) > MAX_GONE:
            self._forget(next(iter(self._gone)))

    def own(self, key: Key) -> list[str]:
        """Name the listeners that lead somewhere and that its streams here use, most recent last."""
        workload, found = self._workloads.get(key), list[str]()
        for number, name in enumerate(reversed(workload.names) if workload is not None else ()):
            if number >= MAX_LOOKED_AT or len(found) >= MAX_WARM:
                break
            if self._reachable(name):
                found.append(name)
        return found[::-1]

    def of(self, key: Key) -> list[str]:
        """Name the listeners to hint at to its next pod, whichever replica it comes to."""
        said = [name for lists in self._others.values() for name in lists.get(key, ()) if self._reachable(name)]
        # This replica's own last, for it knows their order; equal on all replicas while there are no more than fit.
        return list({**dict.fromkeys(said), **dict.fromkeys(self.own(key))})[-MAX_WARM:]

    def told_since(self, revision: int) -> tuple[int, dict[Key, list[str]]]:
        """Say what changed after a revision, and up to which one that is."""
        changed = sorted((one.revision, key) for key, one in self._workloads.items() if one.revision > revision)
        told = changed[:MAX_TOLD]
        reached = told[-1][0] if len(changed) > len(told) else self.revision
        return reached, {key: self.own(key) for _, key in told}

    def heard(self, replica: str, lists: Mapping[Key, list[str]]) -> None:
        """Take what another replica said of its workloads; a workload it says nothing of is as it was."""
        known = self._others.setdefault(replica, {})
        for key, names in lists.items():
            known.pop(key, None)
            if names:
                known[key] = names[-MAX_WARM:]
        while len(known) > MAX_GONE:
            del known[next(iter(known))]

    def retain(self, replicas: Collection[str]) -> None:
        """Forget what replicas said that are gone."""
        for replica in self._others.keys() - set(replicas):
            del self._others[replica]

    def __len__(self) -> int:
        """Workloads known."""
        return len(self._workloads)

    def _touch(self, workload: _Workload) -> None:
        self.revision += 1
        workload.revision = self.revision

    def _forget(self, key: Key) -> None:
        del self._workloads[key], self._gone[key]
