"""One level of the contract beside the next: an older control plane's resources in this sidecar, this control plane's for older sidecars.

`tests/contract/level-<n>.json` is what the control plane of a level wrote of a mesh in which everything is used (`tests.support.contract`). Level 0
is the last release before levels were counted.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from controlplane.compiler.passes import compile_mesh
from controlplane.compiler.snapshot import MeshSnapshot
from controlplane.ingest.assemble import ingest
from controlplane.resources.build import Client, build
from dataplane.config import SidecarConfig
from dataplane.tables.compile import compile_tables
from dataplane.xds.decode import Notes, Noun, decode_message
from meshapi import protos, xds
from meshapi.xds import Type
from tests.support.contract import FILES, fields, level, messages, written
from tests.support.meshobjects import route, shop, to

LEVELS = range(xds.CONTRACT + 1)


def taken(resources: dict[tuple[Type, str], Any]) -> dict[tuple[Type, str], Noun]:
    """What this sidecar makes of resources; nothing of them may be lost."""
    notes = Notes()
    found = {key: decode_message(key[0], message, notes) for key, message in resources.items()}
    assert notes.lost == []
    return found


def of(nouns: dict[tuple[Type, str], Noun], type_: Type) -> dict[str, Any]:
    return {name: noun for (kind, name), noun in nouns.items() if kind is type_}


@pytest.mark.parametrize("number", LEVELS)
def test_sidecar_takes_what_control_planes_of_each_level_write(number: int) -> None:
    """None of it is refused, and it makes tables."""
    nouns = taken(level(number))
    config = SidecarConfig(
        listeners=of(nouns, Type.LISTENER),
        routes=of(nouns, Type.ROUTES),
        clusters=of(nouns, Type.CLUSTER),
        endpoints=of(nouns, Type.ENDPOINTS),
    )
    tables = compile_tables(config)

    assert tables.routes["shop/web:80"]
    assert tables.listeners["inbound/shop/web-1"]
    assert len(config.listeners) > 5


@pytest.mark.parametrize("number", LEVELS)
def test_control_plane_writes_a_sidecar_of_each_level_what_it_was_written_then(number: int) -> None:
    """A field that level did not have would be taken in silence by it, or refused: the builder has to ask `client.contract`."""
    known = {name for message in level(number).values() for name in fields(message)}
    now = {name for message in messages(written(contract=number)).values() for name in fields(message)}

    assert sorted(now - known) == []


def test_file_of_this_level_is_what_is_written_now() -> None:
    """`python -m tests.support.contract` writes it anew; where that adds a field, raise the level instead."""
    kept = json.loads((FILES / f"level-{xds.CONTRACT}.json").read_text())

    assert kept == written()


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/a[0-9]+", None),
        ("/a\\pL+", "/a.*"),
        ("/a[[:alpha:]]", "/a.*"),
        ("/a(?P<n>b)(?i)C", "/a.*"),
        ("/aé+", "/aé.*"),
        ("/a{,3}", "/.*"),
        ("/a\\z", "/a.*"),
    ],
)
@pytest.mark.parametrize("where", ["path", "headers", "queryParams"])
def test_pattern_that_only_re2_takes_is_not_written_to_a_sidecar_of_level_0(
    text: str, left: str | None, where: str
) -> None:
    """It matched with Python's `re`, and would refuse the whole table or match otherwise; the rule answers with an error there instead."""
    one = {"type": "RegularExpression", "value": text}
    match = {where: one if where == "path" else [{"name": "n", **one}]}
    objects = shop()
    objects.apply(route("r", {"matches": [match], "backendRefs": [to("web")]}))
    snapshot = compile_mesh(ingest(objects))
    old, new = (sent(snapshot, level) for level in (0, xds.CONTRACT))

    assert new == (text, "route")
    assert old == ((text, "route") if left is None else (left, "direct_response"))


def sent(snapshot: MeshSnapshot, number: int) -> tuple[str, str]:
    """The pattern and the action of the one route at web's port."""
    resource = build(snapshot, Type.ROUTES, "shop/web:80", Client(contract=number))
    assert resource is not None
    (row,) = (
        protos.message("envoy.config.route.v3.RouteConfiguration").FromString(resource.body).virtual_hosts[0].routes
    )
    named = [*row.match.headers, *row.match.query_parameters]
    regex = named[0].string_match.safe_regex if named else row.match.safe_regex
    return regex.regex, row.WhichOneof("action")
