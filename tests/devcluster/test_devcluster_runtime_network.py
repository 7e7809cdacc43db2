"""Names, addresses and rules: DNS answers and the table of ClusterIPs, without any packet."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest

from devcluster.api.registry import Registry
from devcluster.runtime.dns import Zone, answer, encode_name
from devcluster.runtime.hostfiles import write_host_files
from devcluster.runtime.services import ruleset, targets
from tests.support.objects import pod, service


def query(name: str, kind: int = 1) -> bytes:
    return struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + encode_name(name) + struct.pack(">HH", kind, 1)


def piece(name: str, addresses: list[tuple[str, dict]], port: int = 8080) -> dict:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-x", "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [a], "conditions": c, "hostname": f"h{i}"} for i, (a, c) in enumerate(addresses)],
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
    }


@pytest.fixture
async def zone() -> Zone:
    """A cluster with a Service, a headless one, and one outside."""
    registry = Registry()
    await registry.create("namespaces", {"metadata": {"name": "default"}})
    for one in (
        service("web"),
        service("peers", clusterIP="None"),
        {"metadata": {"name": "out"}, "spec": {"type": "ExternalName", "externalName": "example.org"}},
    ):
        one["metadata"]["namespace"] = "default"
        await registry.create("services", one)
    ready, not_ready = {"ready": True}, {"ready": False}
    slices = piece("peers", [("10.244.0.5", ready), ("10.244.0.6", not_ready)])
    await registry.create("endpointslices.discovery.k8s.io", slices)
    return Zone(registry)


def read(said: bytes | None) -> tuple[int, int, bytes]:
    """The code, the number of records and the last bytes."""
    assert said is not None
    _, flags, _, count, _, _ = struct.unpack_from(">HHHHHH", said)
    return flags & 0xF, count, said


@pytest.mark.parametrize(
    ("name", "kind", "code", "count"),
    [
        ("web.default.svc.cluster.local", 1, 0, 1),
        ("WEB.default.svc.cluster.local", 1, 0, 1),
        ("web.default.svc.cluster.local", 28, 0, 0),
        ("peers.default.svc.cluster.local", 1, 0, 1),
        ("h0.peers.default.svc.cluster.local", 1, 0, 1),
        ("h1.peers.default.svc.cluster.local", 1, 3, 0),
        ("_http._tcp.web.default.svc.cluster.local", 33, 0, 1),
        ("_http._udp.web.default.svc.cluster.local", 33, 3, 0),
        ("10-244-0-5.default.pod.cluster.local", 1, 0, 1),
        ("out.default.svc.cluster.local", 1, 0, 1),
        ("none.default.svc.cluster.local", 1, 3, 0),
        ("example.org", 1, 3, 0),
    ],
)
async def test_names_are_answered(zone: Zone, name: str, kind: int, code: int, count: int) -> None:
    """What exists has records, a known name of another type has none, and the rest does not exist."""
    assert read(answer(query(name, kind), zone))[:2] == (code, count)


async def test_headless_names_give_ready_pods(zone: Zone) -> None:
    """The record is the pod's address."""
    assert read(answer(query("peers.default.svc.cluster.local"), zone))[2].endswith(socket.inet_aton("10.244.0.5"))


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (b"", None),
        (b"\0" * 11, None),
        (b"\0\7\x80\0" + b"\0" * 8, None),
        (b"\0\7" + b"\0" * 10, 4),
        (b"\0\7\0\0\0\1" + b"\0" * 6 + b"\xff", 1),
    ],
)
async def test_garbage_is_dropped_or_refused(zone: Zone, packet: bytes, code: int | None) -> None:
    """No exception, whatever comes."""
    said = answer(packet, zone)
    assert said is None if code is None else read(said)[0] == code


async def test_answer_too_long_for_a_datagram_says_so(zone: Zone) -> None:
    """The client asks again over TCP."""
    said = answer(query("web.default.svc.cluster.local"), zone, limit=50)
    assert said is not None
    assert struct.unpack_from(">H", said, 2)[0] & 0x0200


def numbered(name: str, address: str) -> dict:
    made = service(name)
    made["metadata"]["namespace"] = "default"
    made["spec"] |= {"clusterIP": address, "clusterIPs": [address]}
    return made


def test_ready_endpoints_are_used_and_leaving_ones_when_there_are_none() -> None:
    """A Service whose last pods end still reaches them."""
    leaving = {"ready": False, "serving": True, "terminating": True}
    both = piece("web", [("10.244.0.1", {"ready": True}), ("10.244.0.2", leaving)])
    ends = piece("web", [("10.244.0.2", leaving), ("10.244.0.3", {"ready": False, "serving": False})])

    assert targets([numbered("web", "10.96.1.1")], [both])[0].endpoints == (("10.244.0.1", 8080),)
    assert targets([numbered("web", "10.96.1.1")], [ends])[0].endpoints == (("10.244.0.2", 8080),)


def test_rules_are_one_transaction_with_a_choice_a_service() -> None:
    """The table is replaced as a whole."""
    services = [numbered("web", "10.96.1.1"), numbered("none", "10.96.1.2")]
    text = ruleset(targets(services, [piece("web", [("10.244.0.1", {}), ("10.244.0.2", {})])]))

    assert text.startswith("table ip devcluster\ndelete table ip devcluster\n")
    assert "numgen random mod 2 map { 0 : 10.244.0.1 . 8080, 1 : 10.244.0.2 . 8080 }" in text
    assert "10.96.1.1 . tcp . 80 : goto to-0" in text
    assert "10.96.1.2" not in text


def test_host_files_are_a_kubelets(tmp_path: Path) -> None:
    """Search path, options, aliases and the pod's full name."""
    made = pod("db-0", hostAliases=[{"ip": "1.2.3.4", "hostnames": ["a", "b"]}], subdomain="db")
    made["metadata"]["namespace"] = "shop"
    made["spec"]["dnsConfig"] = {"options": [{"name": "ndots", "value": "2"}], "searches": ["x.org"]}
    write_host_files(tmp_path, made, "10.244.0.7")

    assert (tmp_path / "resolv.conf").read_text() == (
        "search shop.svc.cluster.local svc.cluster.local cluster.local x.org\nnameserver 10.96.0.10\noptions ndots:2\n"
    )
    assert "10.244.0.7\tdb-0.db.shop.svc.cluster.local\tdb-0\n1.2.3.4\ta\tb\n" in (tmp_path / "hosts").read_text()
