"""Which replica writes: a Lease, held by one at a time (15 s long, renewed within 10 s, tried every 2 s).

In: a Cluster and the names of Lease and replica. Out: `leading`, and a call to listeners when it changes. A term ends 10 s after its last renewal
was *sent*, whatever is under way then; others take over 15 s after they *saw* that renewal, which is later. The Lease is given back on the way out, so that
a rollout does not wait for it to run out. As with client-go, time is taken from the replica's own clock: what counts is how long the record has not changed,
not what it says. Refuses nothing; failures are logged and tried again.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import random
from collections.abc import Callable
from typing import Any

import aiohttp

from controlplane.kube.client import ApiError, Cluster, path_of

LEASE_SECONDS = 15
RENEW_WITHIN = 10.0
RETRY_SECONDS = 2.0
_API = "coordination.k8s.io/v1"

log = logging.getLogger(__name__)


class Elector:
    """One replica's view of the Lease."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, identity: str) -> None:
        self._cluster = cluster
        self._path = path_of(_API, "leases", namespace, name)
        self._collection = path_of(_API, "leases", namespace)
        self._meta = {"name": name, "namespace": namespace}
        self._identity = identity
        self._listeners: list[Callable[[bool], None]] = []
        self._observed: tuple[Any, ...] = ()
        self._observed_at = 0.0
        self._until = 0.0
        """When this replica's term ends, by the loop's clock."""
        self.leading = False
        self.holder = ""

    def listen(self, listener: Callable[[bool], None]) -> None:
        """Call back with the new state when leading begins or ends."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Try, hold, renew, until cancelled; then give the Lease back."""
        try:
            while True:
                self._set(leading=await self._renewed())
                await asyncio.sleep(self._pause())
        finally:
            if self.leading:
                await self._release()

    async def _renewed(self) -> bool:
        """Try once, no longer than the term lasts; tell whether this replica leads."""
        clock = asyncio.get_running_loop().time
        sent = clock()
        try:
            async with asyncio.timeout_at(self._until if self.leading else sent + RENEW_WITHIN):
                held = await self._try(clock)
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("lease %s: %s: %s", self._meta["name"], type(error).__name__, error)
            return self.leading and clock() < self._until
        if held:
            self._until = sent + RENEW_WITHIN
        return held and clock() < self._until

    def _pause(self) -> float:
        """How long until the next try, but not beyond the term."""
        pause = RETRY_SECONDS * random.uniform(0.9, 1.2)  # noqa: S311 - jitter
        left = self._until - asyncio.get_running_loop().time()
        return max(min(pause, left), 0.0) if self.leading else pause

    async def _try(self, clock: Callable[[], float]) -> bool:
        try:
            lease = await self._cluster.get(self._path)
        except ApiError as error:
            if error.code != 404:
                raise
            return await self._write(None, self._spec(transitions=0))
        now = clock()
        spec = lease.get("spec") or {}
        self.holder = str(spec.get("holderIdentity") or "")
        record = (self.holder, spec.get("renewTime"), spec.get("leaseTransitions"))
        if record != self._observed:
            self._observed, self._observed_at = record, now
        mine = self.holder == self._identity
        length = float(spec.get("leaseDurationSeconds") or LEASE_SECONDS)
        if self.holder and not mine and now - self._observed_at < length:
            return False
        transitions = int(spec.get("leaseTransitions") or 0) + (0 if mine else 1)
        acquired = str(spec.get("acquireTime") or "") if mine else ""
        return await self._write(lease, self._spec(transitions=transitions, acquired=acquired))

    async def _write(self, lease: dict[str, Any] | None, spec: dict[str, Any]) -> bool:
        try:
            if lease is None:
                body = {"apiVersion": _API, "kind": "Lease", "metadata": self._meta, "spec": spec}
                await self._cluster.create(self._collection, body)
            else:
                await self._cluster.update(self._path, lease | {"spec": spec})
        except ApiError as error:
            if error.code == 409:  # somebody else was faster
                return False
            raise
        self.holder = self._identity
        return True

    def _spec(self, *, transitions: int, acquired: str = "") -> dict[str, Any]:
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": acquired or now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }

    def _set(self, *, leading: bool) -> None:
        if leading == self.leading:
            return
        self.leading = leading
        log.info("%s the lease %s", "holding" if leading else "no longer holding", self._meta["name"])
        for listener in self._listeners:
            listener(leading)

    async def _release(self) -> None:
        self._set(leading=False)
        try:
            async with asyncio.timeout(2):
                lease = await self._cluster.get(self._path)
                if (lease.get("spec") or {}).get("holderIdentity") == self._identity:
                    released = (lease["spec"] or {}) | {"holderIdentity": "", "leaseDurationSeconds": 1}
                    await self._cluster.update(self._path, lease | {"spec": released})
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("lease %s could not be given back: %s", self._meta["name"], error)
