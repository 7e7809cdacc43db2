"""The control plane under synthetic clusters: a real process, its real feed, real gRPC streams over TLS.

- `synthetic`: the objects of a cluster of any size, as JSON of the size real ones have.
- `api`: a lean Kubernetes API that lists and watches them; `world`: the cluster behind it and the changes made to it.
- `plane`: the control plane's process, and what the kernel and `/metrics` say of it.
- `streams`: one process that holds all sidecars' streams; `fleet`: how it is asked.
- `cases`: what is measured, size by size; `report`: `benchmarks/results/control_plane.json`, the page and the plot.

`python -m benchmarks.control [--quick] [--size NAME ...] [--check]`
"""
