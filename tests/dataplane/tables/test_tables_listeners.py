"""Which chain a connection takes."""

from __future__ import annotations

import pytest

from dataplane.config import ChainMatch, FilterChain, HttpFilter, Listener, Target, TcpFilter
from dataplane.tables.listeners import ListenerTable, describe


def chain(name: str, **match: object) -> FilterChain:
    return FilterChain(name=name, match=ChainMatch(**match), filter=HttpFilter(route_name="r"))


def inbound() -> ListenerTable:
    """The inbound listener of docs/xds-contract.md: one declared-http port and all the others."""
    mesh = ("tulle-h2", "tulle-http/1.1")
    chains = []
    for port in (8080, 0):
        label = str(port or "*")
        chains += [
            chain(f"{label}/mesh-http", destination_port=port, transport="tls", alpn=mesh),
            chain(f"{label}/mesh-tcp", destination_port=port, transport="tls", alpn=("tulle-tcp",)),
            chain(f"{label}/app-tls", destination_port=port, transport="tls"),
        ]
    chains += [
        chain("8080/plain-http", destination_port=8080, transport="raw_buffer"),
        chain("*/plain-http", transport="raw_buffer", alpn=("http/1.0", "http/1.1", "h2c")),
        chain("*/plain-tcp", transport="raw_buffer"),
    ]
    return ListenerTable(Listener(name="inbound", address="0.0.0.0", port=15006, chains=tuple(chains), inbound=True))


@pytest.mark.parametrize(
    ("port", "transport", "alpn", "expected"),
    [
        (8080, "tls", {"tulle-h2"}, "8080/mesh-http"),
        (8080, "tls", {"tulle-tcp"}, "8080/mesh-tcp"),
        (8080, "tls", {"h2"}, "8080/app-tls"),
        (8080, "tls", set(), "8080/app-tls"),
        (8080, "raw_buffer", set(), "8080/plain-http"),
        (9000, "tls", {"tulle-http/1.1"}, "*/mesh-http"),
        (9000, "raw_buffer", {"h2c"}, "*/plain-http"),
        (9000, "raw_buffer", set(), "*/plain-tcp"),
    ],
)
def test_inbound_chain_is_chosen_by_port_transport_and_alpn(
    port: int, transport: str, alpn: set[str], expected: str
) -> None:
    """As the contract's table says."""
    assert inbound().match(port, transport, alpn, "").name == expected


def test_strict_port_never_falls_through_to_the_others() -> None:
    """Plaintext to a port with mesh chains only matches nothing, whatever other ports allow."""
    chains = (chain("mesh", destination_port=8080, transport="tls", alpn=("tulle-h2",)), chain("any"))
    table = ListenerTable(Listener(name="l", address="", port=0, chains=chains))

    assert table.match(8080, "raw_buffer", set(), "") is None
    assert table.match(8080, "tls", {"h2"}, "") is None
    assert table.match(9090, "raw_buffer", set(), "").name == "any"


def test_default_chain_takes_what_none_does() -> None:
    """As in Envoy."""
    noun = Listener(name="l", address="", port=0, chains=(chain("a", transport="tls"),), default_chain=chain("d"))

    assert ListenerTable(noun).match(1, "raw_buffer", set(), "").name == "d"


@pytest.mark.parametrize(
    ("sni", "expected"), [("a.io", "exact"), ("b.a.io", "wild"), ("c.b.a.io", "deep"), ("z", "none"), ("", "none")]
)
def test_server_name_decides_last(sni: str, expected: str) -> None:
    """Exact, then the longest wildcard, then chains without names."""
    chains = (
        chain("none"),
        chain("wild", sni=("*.a.io",)),
        chain("deep", sni=("*.b.a.io",)),
        chain("exact", sni=("a.io",)),
    )
    table = ListenerTable(Listener(name="l", address="", port=0, chains=chains))

    assert table.match(1, "tls", set(), sni).name == expected


def test_listener_says_whether_bytes_must_be_seen() -> None:
    """One chain that matches everything needs no look at the bytes."""
    plain = ListenerTable(Listener(name="l", address="", port=0, chains=(chain("a"),)))

    assert not plain.undecided(80)
    assert inbound().undecided(8080)


def test_tcp_targets_are_chosen_by_weight() -> None:
    """As routes are."""
    targets = (Target(cluster="a", weight=1), Target(cluster="b", weight=3))
    noun = FilterChain(name="tcp", match=ChainMatch(), filter=TcpFilter(targets=targets))
    table = ListenerTable(Listener(name="l", address="", port=0, chains=(noun,)))

    assert [table.chains[0].choose(dice).cluster for dice in (0.2, 0.3)] == ["a", "b"]


def test_match_is_described_in_a_line() -> None:
    """For people who ask."""
    assert describe(ChainMatch(destination_port=80, transport="tls", alpn=("h2",))) == "port 80; tls; ALPN h2"
    assert describe(ChainMatch()) == "everything"
