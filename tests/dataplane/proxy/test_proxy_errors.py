"""Refusals are sentences, and documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataplane.proxy.request import errors
from dataplane.proxy.request.errors import Refusal

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "errors.md"


@pytest.mark.parametrize("refusal", errors.ALL, ids=lambda refusal: refusal.word)
def test_refusal_is_documented_with_its_status(refusal: Refusal) -> None:
    """Who meets the word finds the page, and the page is right."""
    row = f"| `{refusal.word}` | {refusal.status} | {refusal.grpc_status} |"

    assert row in PAGE.read_text()
    assert refusal.body.decode().strip().endswith(".")


def test_status_of_a_route_replaces_the_usual_one() -> None:
    """Word and sentence stay."""
    other = errors.NO_CLUSTER.at(500)

    assert (other.status, other.word, other.body) == (500, errors.NO_CLUSTER.word, errors.NO_CLUSTER.body)
    assert errors.NO_CLUSTER.at(503) is errors.NO_CLUSTER
