"""A record is the mapping of what its fields hold."""

from __future__ import annotations

import msgspec
import pytest

from controlplane.feed.record import Record


class Shape(Record, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """A record with fields of every emptiness."""

    pod_ip: str | None = None
    ports: tuple[int, ...] | None = None
    ready: bool | None = None


@pytest.mark.parametrize("said", [{}, {"podIp": ""}, {"ports": []}, {"ready": False}, {"podIp": "::1", "ready": True}])
def test_record_is_true_empty_and_counted_as_the_mapping_it_stands_for(said: dict[str, object]) -> None:
    """A field that holds an empty word or list is there all the same."""
    record = msgspec.json.decode(msgspec.json.encode(said), type=Shape)

    assert (bool(record), len(record), set(record)) == (bool(said), len(said), set(said))
