"""What routes change on the way, and what the proxy answers itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dataplane.config import (
    Cluster,
    DirectResponse,
    Forward,
    HeaderChange,
    Redirect,
    Route,
    RouteMatch,
    SidecarConfig,
    Target,
)
from dataplane.tables.compile import compile_tables
from meshapi.records import replace
from tests.dataplane.proxy.rig import Rig, cluster, config, everything, forward

MakeRig = Callable[..., Rig]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def get(path: bytes = b"/", *lines: bytes) -> bytes:
    return b"\r\n".join((b"GET " + path + b" HTTP/1.1", b"Host: web", *lines, b"", b""))


def sent(rig: MakeRig, noun: Any, request: bytes, **how: Any) -> list[bytes]:
    """The lines a server gets of a request."""
    r = rig(noun)
    r.client(**how).send(request)
    return r.servers[0].read().split(b"\r\n")


def test_headers_paths_and_host_are_rewritten(rig: MakeRig) -> None:
    """Target's changes first, then the route's; content and order of the rest stay."""
    change = HeaderChange(set=(("X-Set", "new"),), add=(("x-add", "2"),), remove=("x-gone",))
    target = Target(cluster="c", request_headers=HeaderChange(add=(("x-target", "t"),)))
    action = Forward(targets=(target,), prefix_rewrite="/new", host_rewrite="other")
    row = Route(match=RouteMatch(separated_prefix="/old"), action=action, request_headers=change)
    lines = sent(rig, config(row), get(b"/old/a?b=c", b"X-Set: old", b"x-gone: 1", b"x-add: 1", b"Keep: Me"))

    assert lines[:2] == [b"GET /new/a?b=c HTTP/1.1", b"Host: other"]
    assert lines[2:5] == [b"X-Set: new", b"x-add: 1", b"Keep: Me"]
    assert b"x-target: t" in lines
    assert b"x-add: 2" in lines
    assert not any(line.startswith(b"x-gone") for line in lines)


def test_response_headers_are_changed(rig: MakeRig) -> None:
    """The route's changes reach the client."""
    row = everything(response_headers=HeaderChange(set=(("server", "mesh"),), remove=("x-secret",)))
    r = rig(config(row))
    client = r.client().send(get())
    r.servers[0].send(b"HTTP/1.1 200 OK\r\nServer: app\r\nx-secret: 1\r\ncontent-length: 0\r\n\r\n")

    assert client.read() == b"HTTP/1.1 200 OK\r\nServer: mesh\r\ncontent-length: 0\r\n\r\n"


SENTENCE = "cluster c: outlier_detection is not supported"


@pytest.mark.parametrize(
    ("noun", "status"),
    [
        (replace(config(), routes={}, refused_routes={"r": SENTENCE}), b"503"),
        (
            replace(config(everything(forward("nobody", not_found_status=500))), refused_clusters={"nobody": SENTENCE}),
            b"500",
        ),
    ],
    ids=["route table", "cluster"],
)
def test_what_was_refused_is_answered_with_the_sentence_of_its_refusal(
    rig: MakeRig, noun: SidecarConfig, status: bytes
) -> None:
    """Not that it has not arrived, or does not exist: whoever looks at the answer need not look into a log."""
    r = rig(noun)
    client = r.client().send(get())
    answer = client.read()

    assert answer.startswith(b"HTTP/1.1 %s " % status)
    assert b"x-tulle-error: refused_configuration" in answer
    assert answer.endswith(f"What the control plane sent for this cannot be used: {SENTENCE}.\n".encode())


@pytest.mark.parametrize(
    ("noun", "status", "word"),
    [
        (config(Route(match=RouteMatch(path="/other"), action=forward())), b"404", b"route_not_found"),
        (config(everything(forward("nobody", not_found_status=500))), b"500", b"cluster_not_found"),
        (config(everything(forward("invalid"))), b"500", b"backend_not_found"),
        (config(clusters=(cluster(),)), b"503", b"no_healthy_upstream"),
        (replace(config(), routes={}), b"503", b"route_table_missing"),
    ],
    ids=["no route", "no cluster", "invalid backend", "no endpoint", "no table"],
)
def test_what_cannot_be_forwarded_is_answered_with_a_reason(
    rig: MakeRig, noun: Any, status: bytes, word: bytes
) -> None:
    """Status, word and a sentence."""
    r = rig(noun)
    answer = r.client().send(get()).read()

    assert answer.startswith(b"HTTP/1.1 %s " % status)
    assert b"x-tulle-error: " + word in answer
    assert answer.endswith(b".\n")
    assert r.dialer.dials == []


def test_redirect_and_direct_response_need_no_server(rig: MakeRig) -> None:
    """The route answers."""
    r = rig(
        config(
            Route(match=RouteMatch(separated_prefix="/old"), action=Redirect(status=301, prefix="/new", port=8080)),
            everything(DirectResponse(status=418, body=b"tea")),
        )
    )
    client = r.client().send(get(b"/old/x?y"))

    assert client.read() == (
        b"HTTP/1.1 301 Moved Permanently\r\nlocation: http://web:8080/new/x?y\r\ncontent-length: 0\r\n\r\n"
    )
    assert client.send(get()).read().endswith(b"\r\ncontent-length: 3\r\ncontent-type: text/plain\r\n\r\ntea")


def test_weights_decide_by_the_dice(rig: MakeRig) -> None:
    """Nine to one, as the dice fall."""
    split = Forward(
        targets=(Target(cluster="a", weight=9), Target(cluster="b", weight=1), Target(cluster="z", weight=0))
    )
    r = rig(config(everything(split), clusters=(cluster("10.0.0.1", name="a"), cluster("10.0.0.2", name="b"))))
    for dice, address in ((0.0, "10.0.0.1"), (0.89, "10.0.0.1"), (0.91, "10.0.0.2")):
        r.runtime.dice = lambda dice=dice: dice
        r.client().send(get())
        assert r.servers[-1].address[0] == address


def test_mirror_gets_a_copy_and_nobody_waits_for_it(rig: MakeRig) -> None:
    """Body and head go to both, the answer comes from one."""
    row = everything(forward(mirrors=(("m", 1.0),)))
    r = rig(config(row, clusters=(cluster("10.0.0.1"), cluster("10.0.0.2", name="m"))))
    client = r.client().send(b"POST / HTTP/1.1\r\nHost: web:80\r\ncontent-length: 3\r\n\r\nabc")
    by = {peer.address[0]: peer for peer in r.servers}
    copied = by["10.0.0.2"].read()

    assert copied.startswith(b"POST / HTTP/1.1\r\nHost: web-shadow:80\r\n")
    assert copied.endswith(b"\r\n\r\nabc")
    by["10.0.0.1"].send(OK)
    assert client.read() == OK
    by["10.0.0.2"].send(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")
    assert r.counted(200) == 1


@pytest.mark.parametrize("port", [b"", b":80"])
def test_mirror_of_an_ipv6_host_gets_its_authority_as_it_is(rig: MakeRig, port: bytes) -> None:
    """`-shadow` fits neither inside the brackets nor behind them."""
    row = everything(forward(mirrors=(("m", 1.0),)))
    r = rig(config(row, clusters=(cluster("10.0.0.1"), cluster("10.0.0.2", name="m"))))
    r.client().send(b"GET / HTTP/1.1\r\nHost: [fd00::1]" + port + b"\r\n\r\n")
    by = {peer.address[0]: peer for peer in r.servers}

    assert by["10.0.0.2"].read().startswith(b"GET / HTTP/1.1\r\nHost: [fd00::1]" + port + b"\r\n")


def test_mirror_that_is_down_changes_nothing(rig: MakeRig) -> None:
    """It is only a copy."""
    row = everything(forward(mirrors=(("m", 1.0),)))
    r = rig(config(row, clusters=(cluster("10.0.0.1"), cluster("10.0.0.2", name="m"))))
    r.dialer.refused.add("10.0.0.2")
    client = r.client().send(get())
    r.servers[0].send(OK)

    assert client.read() == OK


def test_forwarding_headers_are_kept_made_and_appended(rig: MakeRig) -> None:
    """The mesh's own listeners append the client's address; a request id is made where there is none."""
    lines = sent(rig, config(metadata=(("kind", "service"),)), get(b"/", b"X-Forwarded-For: 1.2.3.4"))

    assert b"X-Forwarded-For: 1.2.3.4, 10.9.9.9" in lines
    assert b"x-forwarded-proto: http" in lines
    made = next(line for line in lines if line.startswith(b"x-request-id: "))
    assert len(made) == len(b"x-request-id: ") + 36


def test_inbound_mesh_request_keeps_the_address_its_sidecar_wrote(rig: MakeRig) -> None:
    """One entry a hop, not one a sidecar."""
    noun = config(inbound=True, metadata=(("mode", "permissive"),))
    how = {"mesh": "spiffe://t/ns/n/sa/a", "alpn": "tulle-http/1.1"}

    assert b"x-forwarded-for: 10.0.0.7" in sent(rig, noun, get(b"/", b"x-forwarded-for: 10.0.0.7"), **how)


def test_inbound_goes_to_the_original_destination(rig: MakeRig) -> None:
    """ORIGINAL_DST: the address and port the client dialled."""
    noun = config(clusters=(Cluster(name="c", kind="original_dst"),), inbound=True)
    r = rig(noun)
    r.client(target=("10.0.0.5", 8080)).send(get())
    r.client(target=("10.0.0.5", 9090)).send(get())

    assert [(dial[0], dial[1]) for dial in r.dialer.dials] == [("10.0.0.5", 8080), ("10.0.0.5", 9090)]


def test_push_reaches_open_connections(rig: MakeRig) -> None:
    """A client that stays connected follows new routes."""
    r = rig()
    client = r.client().send(get())
    r.servers[0].send(OK)
    assert client.read() == OK
    r.runtime.install(compile_tables(config(everything(DirectResponse(status=418))), r.runtime.tables))

    assert client.send(get()).read().startswith(b"HTTP/1.1 418")
