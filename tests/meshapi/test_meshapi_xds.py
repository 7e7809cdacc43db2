"""Resource names and the private descriptor pool."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshapi import protos, xds

PORT = st.integers(1, 65535)


@given(address=st.ip_addresses(), port=PORT)
def test_outbound_listener_name_survives_a_round_trip(address: object, port: int) -> None:
    """Any IPv4 or IPv6 destination can be named and read back."""
    assert xds.parse_outbound_listener(xds.outbound_listener(str(address), port)) == (str(address), port)


@pytest.mark.parametrize(
    "name", ["", "outbound/", "outbound/1.2.3.4", "outbound/x:80", "outbound/1.2.3.4:0", "inbound/1.2.3.4:80"]
)
def test_outbound_listener_name_outside_the_grammar_is_refused(name: str) -> None:
    """A name nobody could have made is refused with a sentence."""
    with pytest.raises(xds.BadNameError, match="not of the form"):
        xds.parse_outbound_listener(name)


def test_service_cluster_name_survives_a_round_trip() -> None:
    """A service port's name can be taken apart again."""
    assert xds.parse_service_cluster(xds.service_cluster("shop", "reviews", 9080)) == ("shop", "reviews", 9080)


@pytest.mark.parametrize("kind", list(xds.Type))
def test_every_spoken_type_is_in_the_pool(kind: xds.Type) -> None:
    """The descriptor set carries every type that is spoken."""
    assert protos.message(kind.url.removeprefix(protos.TYPE_PREFIX)).DESCRIPTOR.full_name in kind.url


def test_any_survives_a_round_trip() -> None:
    """Messages of the pool go into an Any and come out equal."""
    listener = protos.message("envoy.config.listener.v3.Listener")(name="x")

    assert protos.unpack(protos.pack(listener)) == listener


def test_unknown_message_type_is_named_in_the_error() -> None:
    """A type Tulle does not carry is refused by name."""
    with pytest.raises(protos.UnknownTypeError, match=r"no\.such\.Type"):
        protos.message("no.such.Type")
