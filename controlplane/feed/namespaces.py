"""What a namespace says about its pods, as admission asks for it.

In: the store, and the API server where the store knows nothing. Out: a namespace's labels laid over its annotations. `known` never waits and may
be behind; `words` reads a namespace the feed has not brought yet, so that one made a moment ago is not taken for a silent one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controlplane.feed.objects import ObjectStore
from controlplane.inject.optin import namespace_words
from controlplane.kube.client import Cluster, path_of

Words = Mapping[str, str]


class Namespaces:
    """Namespaces' words, from the store first."""

    def __init__(self, cluster: Cluster, store: ObjectStore) -> None:
        self._cluster = cluster
        self._store = store

    def known(self, name: str) -> Words:
        """Give the words the store has; none for a namespace it does not know (yet)."""
        return _words(self._store.get("Namespace", "", name) or {})

    async def words(self, name: str) -> Words:
        """Give the words, asking the API server about a namespace the store does not know; raises ApiError or aiohttp.ClientError."""
        found = self._store.get("Namespace", "", name)
        return _words(found if found is not None else await self._cluster.get(path_of("v1", "namespaces", name=name)))


def _words(namespace: Mapping[str, Any]) -> Words:
    return namespace_words(namespace.get("metadata") or {})
