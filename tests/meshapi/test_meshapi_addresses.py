"""Addresses are read as `ipaddress` reads them."""

from __future__ import annotations

import ipaddress
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meshapi.addresses import canonical, ipv4, loopback

ROOT = Path(__file__).resolve().parents[2]


def judged(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


@given(
    st.ip_addresses().map(str)
    | st.text("0123456789.", max_size=16)
    | st.lists(st.text("0123456789٣", max_size=4), min_size=3, max_size=5).map(".".join)
    | st.text(max_size=12)
)
def test_address_is_what_the_library_says(text: str) -> None:
    """The number of one of IPv4, the canonical form of both, and nothing else is one."""
    found = judged(text)

    assert ipv4(text) == (int(found) if isinstance(found, ipaddress.IPv4Address) else None)
    if found is None:
        with pytest.raises(ValueError, match="does not appear"):
            canonical(text)
    else:
        assert canonical(text) == str(found)


def test_usual_address_needs_no_library() -> None:
    """Most pods never see one of the other kind."""
    told = (
        "import sys; from meshapi.addresses import canonical; canonical('10.0.0.1'); print('ipaddress' in sys.modules)"
    )
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {told}"]
    done = subprocess.run(command, capture_output=True, check=True, text=True)

    assert done.stdout.split() == ["False"]


@given(st.ip_addresses())
@example(ipaddress.ip_address("127.0.0.1"))
@example(ipaddress.ip_address("::1"))
@example(ipaddress.ip_address("::ffff:127.8.0.1"))
@example(ipaddress.ip_address("::ffff:10.0.0.1"))
def test_loopback_is_what_the_library_says_it_is(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Of every address, as a socket writes it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    mapped = getattr(address, "ipv4_mapped", None)

    assert loopback(socket.inet_ntop(family, address.packed)) == (mapped or address).is_loopback
