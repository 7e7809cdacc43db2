"""What the replicas of the control plane hear of each other: what each trusts and signs with, which sidecars have acknowledged that, and what workloads use.

In: the store, which knows their pods; what this one would say. Out: the last `Statement` of each, None for one that has not been heard of late, and its warm lists. They are asked every
two seconds over HTTPS, at the port of the webhooks and by the certificate every replica serves with, so nobody else is believed. Refuses nothing: who does not
answer is not heard.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Protocol

import aiohttp
import msgspec

from controlplane.feed.objects import ObjectStore, Ref
from controlplane.kube.client import UNREADABLE
from controlplane.model.workloads import ENDED
from controlplane.settings import Settings

PATH = "/replica"
EVERY_SECONDS = 2.0
PATIENCE = 2.0
STALE_SECONDS = 10.0
_APP = "app.kubernetes.io/name"

log = logging.getLogger(__name__)


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One replica's word."""

    pod: str
    trusts: list[str] = []
    """Fingerprints of the roots it trusts and hands out."""
    signs: str = ""
    """Fingerprint of the certificate it signs with."""
    life: float = 0.0
    """Of certificates, in seconds, as it is set; 0 by a version that does not say."""
    acknowledged: list[tuple[str, str]] = []
    """Namespace and pod of the sidecars that have acknowledged these roots; told only while roots change."""

    instance: str = ""
    """Of this process; revisions of another one mean nothing to it."""
    revision: int = 0
    """Up to which the lists go."""
    warm: list[tuple[str, str, list[str]]] = []
    """Namespace, workload and the listeners it uses, where that changed since the revision asked with."""


class Lists(Protocol):
    """Who takes what workloads use elsewhere."""

    def heard(self, replica: str, lists: Mapping[tuple[str, str], list[str]]) -> None:
        """Take what a replica said."""

    def retain(self, replicas: Collection[str]) -> None:
        """Forget all replicas but these."""


class Replicas:
    """The other replicas, asked again and again."""

    def __init__(
        self,
        settings: Settings,
        store: ObjectStore,
        roots: Callable[[], str],
        own: Callable[[], Statement],
        lists: Lists,
    ) -> None:
        self._settings = settings
        self._store = store
        self._roots = roots
        self._own = own
        self._lists = lists
        self._heard: dict[str, tuple[float, Statement]] = {}
        self._near: set[str] = set()
        """Pods of this namespace: they are looked at each second, and the cluster's are many."""
        store.listen(self._changed)
        self._context: tuple[str, ssl.SSLContext] | None = None

    def heard(self) -> Mapping[str, Statement | None]:
        """Give each replica's last word, this one's as of now; a replica whose pod is there counts until it is gone."""
        own, now = self._own(), asyncio.get_running_loop().time()
        said: dict[str, Statement | None] = {}
        for name, _ in self._others():
            at, statement = self._heard.get(name, (0.0, None))
            said[name] = statement if statement is not None and now - at < STALE_SECONDS else None
        return {**said, own.pod: own}

    async def run(self) -> None:
        """Ask until cancelled."""
        connector = aiohttp.TCPConnector(limit_per_host=1)
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
            while True:
                others = dict(self._others())
                self._heard = {name: said for name, said in self._heard.items() if name in others}
                self._lists.retain(others)
                await asyncio.gather(*(self._ask(session, name, ip) for name, ip in others.items() if ip))
                await asyncio.sleep(EVERY_SECONDS)

    async def _ask(self, session: aiohttp.ClientSession, name: str, ip: str) -> None:
        host = f"[{ip}]" if ":" in ip else ip
        url = f"https://{host}:{self._settings.webhook_port}{PATH}"
        last = self._heard.get(name)
        since = {"instance": last[1].instance, "since": str(last[1].revision)} if last else {}
        try:
            request = session.get(url, params=since, ssl=self._trusting(), server_hostname=self._settings.dns_names[0])
            async with request as answer:
                answer.raise_for_status()
                said = msgspec.json.decode(await answer.read(), type=Statement)
        except (aiohttp.ClientError, TimeoutError, OSError, *UNREADABLE) as error:
            log.debug("replica %s at %s was not heard: %s", name, ip, error)
            return
        if said.pod == name:
            if last is not None and last[1].instance != said.instance:
                self._lists.retain(self._heard.keys() - {name})  # another process: what the last one said is void
            self._heard[name] = (asyncio.get_running_loop().time(), said)
            self._lists.heard(name, {(namespace, workload): names for namespace, workload, names in said.warm})

    def _others(self) -> Iterator[tuple[str, str]]:
        """Name the pods of the other replicas, with their addresses."""
        for name in self._near - {self._settings.pod}:
            pod = self._store.get("Pod", self._settings.namespace, name) or {}
            status, labels = pod.get("status") or {}, (pod.get("metadata") or {}).get("labels") or {}
            if labels.get(_APP) == "tulle" and status.get("phase") not in ENDED:
                yield name, str(status.get("podIP") or "")

    def _changed(self, ref: Ref) -> None:
        if ref.kind != "Pod" or ref.namespace != self._settings.namespace:
            return
        if self._store.get(*ref) is None:
            self._near.discard(ref.name)
        else:
            self._near.add(ref.name)

    def _trusting(self) -> ssl.SSLContext:
        roots = self._roots()
        if self._context is None or self._context[0] != roots:
            context = ssl.create_default_context(cadata=roots)
            # A root that sidecars take (`ca/trial.py`) is taken here too, also by Python 3.13 and later.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            self._context = (roots, context)
        return self._context[1]
