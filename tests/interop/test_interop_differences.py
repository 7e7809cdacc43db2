"""One file for Envoy and for our sidecar, the same requests to both, the answers compared; what differs is listed and explained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.cases import ALL, HOSTILE, HOSTILE2, HTTP1, HTTP2
from tests.interop.observing import ASPECTS, Observed, both

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "envoy-differences.md"
NEVER = (
    "bad-length",
    "bad-chunked",
    "bad-encoding",
    "bad-nul",
    "bad-fold",
    "bad-cr",
    "bad-lf",
    "bad-host",
    "bad2-crlf",
)
"""Beginnings of the names of requests that smuggle."""


@dataclass(frozen=True)
class Pair:
    """What both made of every case."""

    theirs: dict[str, Observed]
    ours: dict[str, Observed]

    def differences(self, name: str) -> set[str]:
        mine, other = self.ours[name], self.theirs[name]
        return {aspect for aspect in ASPECTS if getattr(mine, aspect) != getattr(other, aspect)}

    def show(self, name: str) -> str:
        mine, other = self.ours[name], self.theirs[name]
        shown = sorted(self.differences(name))
        return "\n".join(f"{one}:\n  Envoy {getattr(other, one)}\n  Tulle {getattr(mine, one)}" for one in shown)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Every conversation, once with each."""
    return Pair(*both(tmp_path_factory.mktemp("both")))


def listed() -> dict[str, tuple[set[str], set[str]]]:
    """Read the tables: by case, what differs for sure and what may."""
    found = {}
    for cells in rows():
        names, aspects = (cell.split(", ") for cell in cells[:2])
        sure = {one for one in aspects if not one.endswith("?")}
        for name in names:
            assert name not in found, f"{name} is listed twice"
            found[name] = (sure, {one.rstrip("?") for one in aspects})
    return found


def rows() -> Iterator[list[str]]:
    """Rows of five cells whose first names cases."""
    for line in DOCUMENT.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 5 and cells[0] != "case":
            yield cells


@pytest.mark.parametrize("name", [case.name for case in ALL])
def test_answers_are_envoys_unless_listed(pair: Pair, name: str) -> None:
    """A difference stands in docs/envoy-differences.md with its reason, and what stands there is still true."""
    sure, possible = listed().get(name, (set(), set()))
    found = pair.differences(name)

    assert found <= possible, f"not listed: {found - possible}\n{pair.show(name)}"
    assert sure <= found, f"listed, but no longer true: {sure - found}"


def test_every_row_names_cases_and_a_reason() -> None:
    """The document is complete and has no row for a case that is gone."""
    names = {case.name for case in ALL}

    assert listed().keys() <= names
    assert all(all(cells) for cells in rows())
    assert len(names) == len(ALL) > 300


def test_requests_that_smuggle_reach_no_server(pair: Pair) -> None:
    """Whatever the first request was taken for, a second hidden in it never comes out."""
    reached = {one.name: pair.ours[one.name].backend for one in [*HOSTILE, *HOSTILE2] if one.name.startswith(NEVER)}
    reached.pop("bad-encoding-case")  # a known coding in other letters is no attack

    assert {name for name, backend in reached.items() if backend != "nothing"} == set()
    assert not any("smuggled" in observed.backend for observed in pair.ours.values())


def test_ordinary_conversations_are_answered(pair: Pair) -> None:
    """No case of ordinary HTTP ends in silence."""
    quiet = {one.name for one in [*HTTP1, *HTTP2] if pair.ours[one.name].end in {"silent", "endless"}}

    assert quiet == set()
