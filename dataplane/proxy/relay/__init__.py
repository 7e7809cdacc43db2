"""Bytes nobody looks into, from a client's stream to an endpoint's and back.

- `relay`: finds the endpoint, and ends. `sides`: the two ends of it. `peers`: between whom it is counted.
- `carrier`: a mesh connection that carries one after another. `carriers`: those that are kept for the next.
"""
