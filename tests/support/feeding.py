"""Objects as the feed brings them: decoded into their kind's shape, with what nobody reads left out."""

from __future__ import annotations

from typing import Any

import msgspec

from controlplane.feed.kinds import kind_of
from controlplane.feed.objects import ObjectStore, Ref, ref_of
from tests.support.kubeserver import KubeServer


def shaped(obj: dict[str, Any]) -> dict[str, Any]:
    """Give an object as the store keeps it."""
    kind = kind_of(obj["kind"])
    return kind.kept(msgspec.json.decode(msgspec.json.encode(obj), type=kind.shape))


def taken_in(store: ObjectStore, obj: dict[str, Any]) -> Ref:
    """Apply an object, and say where it is."""
    store.apply(obj["kind"], shaped(obj))
    return ref_of(obj["kind"], obj)


def listed(store: ObjectStore, kube: KubeServer, *kinds: str) -> None:
    """Take in all objects of some kinds as a list brings them."""
    for kind in kinds:
        plural = kind_of(kind).plural
        found = [shaped({**obj, "kind": kind}) for (one, _, _), obj in kube.objects.items() if one == plural]
        for obj in found:
            store.apply(kind, obj)
        store.retain(kind, {(ref.namespace, ref.name) for ref in (ref_of(kind, obj) for obj in found)})
