"""Connections to servers.

- `upstream`: one. `pool`: those of one endpoint in one protocol. `conduct`: takes note of how endpoints behave.
"""
