"""`make chaos MINUTES=60`: the table, each row alone and in real time, then draws of one or two rows, until the time is over.

Prints a line as each begins and ends, a table at the end; exit code 1 when something was lost or did not hold. The seed is printed; `SEED=` repeats it.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.run import Result, draw, happen
from tests.chaos.table import TABLE, Row
from tests.chaos.world import World, running


def main() -> int:
    """Run until the time is over."""
    parser = argparse.ArgumentParser(prog="make chaos", description="A mesh under load, and what happens to it.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    parser.add_argument("--short", action="store_true", help="press long events together")
    parser.add_argument("--keep", type=Path, help="keep logs of what failed in this directory")
    options = parser.parse_args()
    print(f"seed {options.seed} (SEED={options.seed} repeats it), {options.minutes:g} minutes", flush=True)
    end = time.monotonic() + options.minutes * 60
    home = Path(tempfile.mkdtemp(prefix="tulle-chaos-"))
    results: list[Result] = []
    try:
        with running(home, options.seed, full=not options.short) as world:
            for number, rows in enumerate(_order(options.only, options.seed), 1):
                if time.monotonic() > end:
                    break
                results.append(_told(world, number, rows, end))
                if options.keep and not results[-1].ok:
                    _keep(world, options.keep / f"{number}")
                if number >= len(TABLE):
                    world.full = False
    finally:
        shutil.rmtree(home, ignore_errors=True)
    _tell(results)
    return 0 if results and all(one.ok for one in results) else 1


def _order(only: str, seed: int) -> Iterator[tuple[Row, ...]]:
    """Every row alone, in the table's order, then draws for ever."""
    table = [row for row in TABLE if only in row.name]
    yield from ((row,) for row in table)
    yield from draw(table, random.Random(seed))


def _told(world: World, number: int, rows: tuple[Row, ...], end: float) -> Result:
    left = max(0.0, end - time.monotonic()) / 60
    print(
        f"{time.strftime('%H:%M:%S')} {number} {' + '.join(row.name for row in rows)} ({left:.0f} min left) ...",
        flush=True,
    )
    result = happen(world, *rows)
    mark = "✓" if result.ok else "✗"
    print(
        f"         {mark} {result.seconds:.0f} s, {result.requests} requests, {result.excused} excused {result.words}",
        flush=True,
    )
    return result


def _keep(world: World, directory: Path) -> None:
    """Write down what may say why."""
    directory.mkdir(parents=True, exist_ok=True)
    asked = {
        "pods": (world.system, ("get", "pods", "-A", "-o", "wide")),
        "control-plane": (world.system, ("logs", "deploy/tulle", "--tail=400")),
        "caller-sidecar": (world.party, ("logs", "caller", "-c", "tulle-proxy", "--tail=400")),
        "caller": (world.party, ("logs", "caller", "-c", "app", "--tail=2000")),
        "events": (world.party, ("get", "events")),
    }
    for name, (kube, arguments) in asked.items():
        with world.ignoring(AssertionError, OSError):
            (directory / f"{name}.txt").write_text(kube(*arguments))


def _tell(results: list[Result]) -> None:
    print(f"\n{'':2}{'happening':72}{'s':>5}{'requests':>10}{'excused':>9}{'lost':>6}")
    for one in results:
        print(
            f"{'✓' if one.ok else '✗':2}{one.name[:70]:72}{one.seconds:5.0f}{one.requests:10}{one.excused:9}{len(one.lost):6}"
        )
        if not one.ok:
            print(f"    {one.words}")
    requests, lost = sum(one.requests for one in results), sum(len(one.lost) for one in results)
    bad = sum(not one.ok for one in results)
    print(
        f"\n{len(results)} happenings, {requests} requests, {lost} lost that Kubernetes itself would not have lost; {bad} did not hold."
    )


if __name__ == "__main__":
    sys.exit(main())
