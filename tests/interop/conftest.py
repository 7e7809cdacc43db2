"""Sidecars shared by the tests of a file; when the file ends they must hold nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.mesh import MeshPair, mesh_pair, plain_proxy
from tests.support.sidecar import Sidecar


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sidecar, dict[str, int]]]:
    """One sidecar with a listener a kind of traffic, and the ports by name."""
    with plain_proxy(tmp_path_factory.mktemp("proxy")) as made:
        yield made


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeshPair]:
    """An outbound and an inbound sidecar with mutual TLS between them."""
    with mesh_pair(tmp_path_factory.mktemp("pair")) as made:
        yield made
