"""Which outbound listeners the pods of each workload use, to hint at them to its next pod.

In: which streams there are, and what each subscribes to and lets go. Out: the names its connected sidecars are subscribed to now, most recent last; of a workload
without any, those of its last stream, so that a workload made anew begins warm. Nothing here has a life of its own: a restarted control plane has the
lists again as soon as the sidecars have resumed, and what they let go leaves them. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

MAX_WARM = 100
"""Destinations hinted at, and kept of a workload without streams."""
MAX_LOOKED_AT = 1000
"""Names looked at to find them: a workload may use far more that are in no mesh."""
MAX_GONE = 20_000
"""Workloads without streams that are remembered."""

Key = tuple[str, str]
"""Namespace, and kind and name of the workload."""


@dataclass(slots=True)
class _Workload:
    streams: int = 0
    names: dict[str, int] = field(default_factory=dict)
    """How many of the streams are subscribed to each; 0 for what is only remembered."""


class WarmLists:
    """The lists of all workloads."""

    def __init__(self) -> None:
        self._workloads: dict[Key, _Workload] = {}
        self._gone: dict[Key, None] = {}
        """Those without streams, in the order they lost their last one."""

    def joined(self, key: Key) -> None:
        """A pod of the workload has a stream."""
        self._workloads.setdefault(key, _Workload()).streams += 1
        self._gone.pop(key, None)

    def changed(self, key: Key, added: Iterable[str], dropped: Iterable[str]) -> None:
        """One of its streams subscribed to listeners, or let some go."""
        names = self._workloads[key].names
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
        workload.names = dict.fromkeys(self.of(key), 0)
        self._gone[key] = None
        if not workload.names:
            self._forget(key)
        elif len(self._gone) > MAX_GONE:
            self._forget(next(iter(self._gone)))

    def of(self, key: Key) -> list[str]:
        """Name the listeners to look at for a hint to its next pod, most recent last."""
        workload = self._workloads.get(key)
        return list(workload.names)[-MAX_LOOKED_AT:] if workload is not None else []

    def __len__(self) -> int:
        """Workloads known."""
        return len(self._workloads)

    def _forget(self, key: Key) -> None:
        del self._workloads[key], self._gone[key]
