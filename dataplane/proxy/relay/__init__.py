"""Bytes nobody looks into, from a client's stream to an endpoint's and back.

- `relay`: finds the endpoint, and ends. `sides`: the two ends of it.
"""
