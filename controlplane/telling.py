"""What this replica tells the others: the other half of `replicas.py`, served beside the webhooks.

In: who asks, by its address, and up to where it has heard. Out: a `Statement`, as JSON. Refuses, with FullError, who asks more often than replicas do: whoever reaches the port may ask.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping

import msgspec

from controlplane.bounds import STATEMENTS, Budgets, Who
from controlplane.ca.rootchange import Stage
from controlplane.ca.trust import Trust
from controlplane.replicas import Statement
from controlplane.settings import Settings
from controlplane.xds.server import Hub
from controlplane.xds.source import Source
from meshapi import xds
from meshapi.xds import Type


class Telling:
    """The word of this replica."""

    def __init__(self, settings: Settings, trust: Trust, source: Source, hub: Hub, whose: Callable[[str], Who]) -> None:
        self._settings = settings
        self._trust = trust
        self._source = source
        self._hub = hub
        self._whose = whose
        self.instance = secrets.token_hex(8)
        """Of this process."""
        self.budgets = Budgets("statements of a replica", STATEMENTS, pod_seconds=1.0, node_seconds=0.2)

    def statement(self) -> Statement:
        """Say what it trusts and signs with, and which sidecars have acknowledged that."""
        trust = self._trust
        current = self._source.snapshot.roots == trust.roots_pem.encode()
        telling = current and trust.record.stage is Stage.TRUST
        up_to_date = (s for s in self._hub.streams if not s.conversation.behind(Type.SECRET, xds.TRUST_BUNDLE))
        return Statement(
            pod=self._settings.pod,
            trusts=sorted(trust.trusts),
            signs=trust.used.signer if trust.used else "",
            life=self._settings.certificate_seconds,
            acknowledged=[(s.peer.namespace, s.peer.pod) for s in up_to_date] if telling else [],
        )

    def answer(self, address: str, query: Mapping[str, str]) -> bytes:
        """Add what workloads use, as far as that changed since the other asked this process last; raises FullError."""
        self.budgets.spend(self._whose(address), time.monotonic())
        # A longer number is no revision, and beyond 4,300 digits nothing Python reads.
        since = query.get("since", "")[:18]
        known = int(since) if query.get("instance") == self.instance and since.isdecimal() else 0
        revision, lists = self._source.warm.told_since(known)
        warm = [(namespace, workload, names) for (namespace, workload), names in lists.items()]
        said = msgspec.structs.replace(self.statement(), instance=self.instance, revision=revision, warm=warm)
        return msgspec.json.encode(said)
