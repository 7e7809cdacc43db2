"""What the control plane builds for the shop, as a sidecar reads it."""

from __future__ import annotations

from typing import Any

from controlplane.compiler.passes import compile_mesh
from controlplane.compiler.snapshot import MeshSnapshot
from controlplane.ingest.assemble import ingest
from controlplane.resources.build import Client, build
from dataplane.xds.decode import decode
from meshapi.xds import Type
from tests.support.meshobjects import Object, shop

WEB_1 = Client(namespace="shop", pod="web-1")


def compiled(*more: Object) -> MeshSnapshot:
    objects = shop()
    objects.apply(*more)
    snapshot = compile_mesh(ingest(objects), roots=b"roots")
    assert snapshot.faults == {}
    return snapshot


def built(snapshot: MeshSnapshot, type_: Type, name: str, client: Client = WEB_1) -> Any:
    resource = build(snapshot, type_, name, client)
    assert resource is not None, name
    return decode(type_, name, resource.body)
