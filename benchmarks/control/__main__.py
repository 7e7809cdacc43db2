"""`python -m benchmarks.control`: measure, size by size, and write the results."""

from __future__ import annotations

import argparse
import resource
import sys
import time

import uvloop

from benchmarks.control import report
from benchmarks.control.cases import QUICK, Bench, Plan, measured
from benchmarks.control.synthetic import SIZES


def main() -> int:
    """Run; returns 1 when `--check` found a figure that missed its goal and got worse."""
    parser = argparse.ArgumentParser(prog="benchmarks.control", description="Measure Tulle's control plane.")
    parser.add_argument("--quick", action="store_true", help="shorter, with fewer streams, without the largest cluster")
    parser.add_argument("--size", action="append", default=[], choices=list(SIZES), help="services/pods/mesh pods")
    parser.add_argument("--hour", action="store_true", help="only an hour's churn, and what the collector stops for")
    parser.add_argument("--check", action="store_true", help="compare with the committed figures, write none")
    given = parser.parse_args()
    sizes = given.size or (list(SIZES)[:2] if given.quick else list(SIZES))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection a sidecar, at both ends
    what = Bench.hour if given.hour else Bench.run
    results = {}
    for name in sizes:
        began = time.monotonic()
        print(f"{name} ... ", flush=True)
        results[name] = uvloop.run(measured(SIZES[name], QUICK if given.quick else Plan(), print, what))
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
    print("\n".join(report.table(results)))
    if given.check:
        worse = report.regressions(report.read(), results)
        print("\n".join(worse) or "nothing got worse")
        return 1 if worse else 0
    if not given.quick:
        report.write(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
