"""A short draw of the table with a fixed seed; `make chaos` has all of it, for as long as one likes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.conftest import SEED
from tests.chaos.losses import Failure, Loss, read, unexcused
from tests.chaos.run import draw, happen, short
from tests.chaos.table import TABLE, Row
from tests.chaos.world import World

DRAWN = short(TABLE, SEED, 4)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("rows", DRAWN, ids=[" + ".join(row.name for row in rows) for rows in DRAWN])
def test_what_happens_costs_no_request_that_kubernetes_would_not_lose(world: World, rows: tuple[Row, ...]) -> None:
    """The load goes on, and what is asserted of each row holds."""
    result = happen(world, *rows)

    assert result.ok, result.words
    assert result.requests > 100


def failure(kind: str = "http1", how: str = "cut", words: str = "") -> Failure:
    return Failure(at=0.0, kind=kind, how=how, words=words)


def test_loss_excuses_its_own_sort_and_no_more_than_it_may() -> None:
    """Two are covered; the third, another kind and another way to fail are not."""
    losses = [Loss(most=2, kinds=frozenset({"lines"}))]
    lost = [failure("lines")] * 3 + [failure("http1"), failure("lines", "refused")]

    assert unexcused(lost, losses) == [failure("lines"), failure("http1"), failure("lines", "refused")]


def test_row_without_losses_excuses_nothing() -> None:
    """Whatever fails is told."""
    assert unexcused([failure()], []) == [failure()]


def test_lines_of_the_load_are_read() -> None:
    """The last sums, every failure; what else stands in a log is passed over."""
    done, failures = read(
        [
            "Traceback",
            '{"at": 1, "done": {"http1": 3}}',
            '{"at": 2, "kind": "page", "how": "answer", "words": "503"}',
            '{"at": 3, "done": {"http1": 5}}',
        ]
    )

    assert done == {"http1": 5}
    assert failures == [Failure(at=2, kind="page", how="answer", words="503")]


def test_draw_is_repeated_by_its_seed_and_has_every_row() -> None:
    """Equal seeds give equal draws, another gives another; rows that need the same never meet."""

    def first(seed: int) -> list[tuple[Row, ...]]:
        drawn = draw(TABLE, random.Random(seed))
        seen: list[tuple[Row, ...]] = []
        while sum(len(rows) for rows in seen) < len(TABLE):
            seen.append(next(drawn))
        return seen

    assert first(1) == first(1) != first(2)
    assert {row.name for rows in first(3) for row in rows} == {row.name for row in TABLE}
    assert all(not a.holds & b.holds for seed in range(50) for a, b in (r for r in first(seed) if len(r) == 2))


def test_every_row_says_what_kubernetes_itself_would_fail() -> None:
    """A loss has words, and no words come without one."""
    assert all(bool(row.fails) == (row.why != "nothing") for row in TABLE)
    assert all(row.asserted for row in TABLE)
    assert len({row.name for row in TABLE}) == len(TABLE)


def test_party_is_a_program_of_its_own() -> None:
    """What runs in the pods imports nothing of this repository."""
    text = Path(__file__).with_name("party.py").read_text()

    assert not any(f"import {ours}" in text or f"from {ours}" in text for ours in ("tests", "dataplane", "meshapi"))
