"""Settings of a sidecar in the mesh, short to make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dataplane.settings import Mesh
from meshapi.identity import Identity


def in_mesh(state_dir: Path, **more: Any) -> Mesh:
    """A sidecar of `shop/web-1` that trusts no root; `more` are fields that differ."""
    usual: dict[str, Any] = {
        "xds_host": "tulle",
        "xds_port": 1,
        "identity": Identity(trust_domain="t", namespace="shop", account="web"),
        "pod": "web-1",
        "pod_ips": ("10.0.0.1",),
        "roots": b"",
        "state_dir": state_dir,
    }
    return Mesh(**(usual | more))
