"""SPIFFE ids: what is read is what was written, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshapi import identity

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True)


@given(domain=LABEL, namespace=LABEL, account=LABEL)
def test_identity_survives_being_written_and_read(domain: str, namespace: str, account: str) -> None:
    """Parsing a formatted identity gives it back."""
    one = identity.Identity(trust_domain=domain, namespace=namespace, account=account)

    assert identity.parse(str(one)) == one


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://",
        "http://td/ns/a/sa/b",
        "spiffe://td/ns/a/sa/b/extra",
        "spiffe://td/ns//sa/b",
        "spiffe://td/ns/a/sa/",
        "spiffe://TD/ns/a/sa/b",
        "spiffe://td/ns/a%2e/sa/b",
        "spiffe://td/ns/a/sa/b?x=1",
        "spiffe://td/ns/a/sa/b\n",
    ],
)
def test_parse_refuses_what_is_no_workload_identity(uri: str) -> None:
    """Only the exact form of a workload identity is read."""
    with pytest.raises(identity.BadIdentityError):
        identity.parse(uri)
