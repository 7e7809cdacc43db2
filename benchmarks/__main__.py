"""`python -m benchmarks`: run cases, tell each as it ends, write the results."""

from __future__ import annotations

import argparse
import dataclasses
import sys

from benchmarks import curve, drawing, report
from benchmarks.cases import CASES, GOALS
from benchmarks.load import LoadError
from benchmarks.peers import ENVOY, PeerError
from benchmarks.rounds import Result, run


def main() -> int:
    """Run; returns 1 when a case could not be measured or `--check` found a regression, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measure Tulle's sidecar beside Envoy.")
    parser.add_argument("--quick", action="store_true", help="the cases with goals alone, with shorter rounds")
    parser.add_argument("--case", action="append", default=[], metavar="NAME", help=f"one of {', '.join(CASES)}")
    parser.add_argument("--curve", action="store_true", help="the cost over load alone, which a whole run ends with")
    parser.add_argument("--check", action="store_true", help="compare with the committed summary instead of writing it")
    given = parser.parse_args()
    unknown = [name for name in given.case if name not in CASES]
    if unknown:
        parser.error(f"there is no case {unknown[0]!r}; there are {', '.join(CASES)}")
    if not ENVOY.exists():
        parser.error(f"{ENVOY} is not there; `make setup` installs Envoy")
    names = given.case or (list(GOALS) if given.quick else list(CASES))
    if given.curve:
        names = []
    results: dict[str, Result] = {}
    failed = []
    for number, name in enumerate(names, 1):
        print(f"[{number}/{len(names)}] {CASES[name].title} ... ", end="", flush=True)
        try:
            results[name] = run(CASES[name], quick=given.quick)
        except (LoadError, PeerError) as problem:
            failed.append(name)
            print(f"failed: {problem}", flush=True)
            continue
        figures = dataclasses.asdict(results[name])
        print(f"Tulle {figures['tulle']:.2f}, Envoy {figures['envoy']:.2f} {CASES[name].unit}", flush=True)
    if given.check:
        worse = report.regressions(report.read(), results)
        print("\n".join(worse) or "nothing got worse")
        return 1 if worse or failed else 0
    # The page tells of whole runs: a quick one has no profiles and no nearer limits.
    report.write(results, page=not given.quick)
    if given.curve or not (given.quick or given.case):
        failed += _curve()
    return 1 if failed else 0


def _curve() -> list[str]:
    """Measure the cost over load; return what failed."""
    print("the cost over load ... ", end="", flush=True)
    try:
        found = curve.measure()
    except (LoadError, PeerError) as problem:
        print(f"failed: {problem}", flush=True)
        return ["curve"]
    report.write_curve(found)
    print("\n".join(["", *drawing.table(found)]), flush=True)
    return []


sys.exit(main())
