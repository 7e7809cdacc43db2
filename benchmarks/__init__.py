"""Side by side with Envoy: the same work, the same file, the same machine, in one run.

- `cases`: what is measured, under which name, against which goal.
- `certificates`, `bootstrap`: throw-away identities, and the one configuration both proxies read.
- `peers`: starts the proxies, pinned; `backend`: what answers at the far end; `load`: what asks.
- `limits`: haproxy and nginx beside them, as the nearer limit. `profiling`: where our time goes.
- `measure`: CPU and memory from the kernel's own books; `rounds`: alternates the peers and takes medians.
- `report`: `results/*.json`, `docs/performance.md`, and the check against what was committed.

`python -m benchmarks [--quick] [--case NAME ...] [--check]`
"""
