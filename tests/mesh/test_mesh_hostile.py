"""Bad input to a running mesh: answered, logged once, and nothing else disturbed."""

from __future__ import annotations

import json

import pytest

from tests.support.cluster import Kube
from tests.support.mesh import Mesh, ask, bring_pair
from tests.support.objects import service
from tests.support.rawbytes import send


@pytest.fixture(scope="module", autouse=True)
def pair(shop: Kube) -> None:
    """A server and a client in the mesh, and a stranger."""
    bring_pair(shop, "stranger")


@pytest.mark.parametrize("port", [15001, 15006, 15020, 8080])
def test_garbage_on_every_port_disturbs_nothing(shop: Kube, port: int) -> None:
    """Random bytes, TLS that is none and half a request leave the sidecar serving."""
    address = shop.get("pods", "-l", "app=server")["items"][0]["status"]["podIP"]
    for data in (
        b"\x00\xff" * 500,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 200,
        b"GET / HT",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff",
    ):
        send(shop, "stranger", address, port, data)

    assert ask(shop, "client", "http://server/")[0][0] == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nhost: server\r\nx: " + b"a" * 100_000 + b"\r\n\r\n", "431"),
        (b"GET / HTTP/1.1\r\nhost: server\r\nx: a\x00b\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nhost: server\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "400"),
    ],
    ids=["oversized", "nul", "smuggling", "two hosts"],
)
def test_bad_request_is_answered_and_never_forwarded(shop: Kube, request_bytes: bytes, status: str) -> None:
    """The client's own sidecar refuses with the right status and says why."""
    before = refusals(shop)
    said = send(shop, "client", "server", 80, request_bytes)

    assert said.startswith(f"HTTP/1.1 {status}")
    assert "x-tulle-error" in said
    shop.until(lambda: refusals(shop) > before, 5, "a line in the sidecar's log")
    assert refusals(shop) == before + 1


def refusals(shop: Kube) -> int:
    """Lines in the client's sidecar's log that say whom it refused and why."""
    return sum(" refused " in line for line in shop("logs", "client", "-c", "tulle-proxy", "--tail=-1").splitlines())


def test_header_that_is_not_utf8_passes_untouched(shop: Kube) -> None:
    """obs-text is legal in values (RFC 9110 5.5) and no reason to refuse or to crash."""
    assert send(
        shop, "client", "server", 80, b"GET / HTTP/1.1\r\nhost: server\r\nx: \xff\xfe\r\nconnection: close\r\n\r\n"
    ).startswith("HTTP/1.1 200")


def test_duplicate_service_ports_are_refused_by_the_api(shop: Kube) -> None:
    """Two equal ports never reach the mesh."""
    bad = service("twice")
    bad["spec"]["ports"].append(bad["spec"]["ports"][0] | {"name": "again"})

    assert "Duplicate value" in shop.fails("create", "-f", "-", stdin=json.dumps(bad))


def test_nothing_of_this_left_a_traceback(shop: Kube, mesh: Mesh) -> None:
    """What was refused was refused in sentences."""
    for target in ("deploy/server", "pod/client"):
        assert "Traceback" not in shop("logs", target, "-c", "tulle-proxy", "--tail=-1")
    assert "Traceback" not in mesh.control_plane_log()
