"""Differences as RFC 6902, judged by an independent implementation."""

from __future__ import annotations

from typing import Any

import jsonpatch as oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.inject.jsonpatch import diff

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("a/~", max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab/~", max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(before=JSON, after=JSON)
def test_applying_the_difference_gives_the_other_value(before: Any, after: Any) -> None:
    """Whatever the two values are, the operations lead from one to the other."""
    assert oracle.apply_patch(before, diff(before, after)) == after


def test_equal_values_have_no_difference() -> None:
    """Nothing to change is nothing to send."""
    assert diff({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}) == []


@pytest.mark.parametrize(
    ("before", "after", "operations"),
    [
        ([1, 2], [0, 1, 2], [{"op": "add", "path": "/0", "value": 0}]),
        ([1, 2], [1, 2, 3], [{"op": "add", "path": "/2", "value": 3}]),
        ({"a": 1}, {"a": 1, "x/y~": 2}, [{"op": "add", "path": "/x~1y~0", "value": 2}]),
        ([{"n": "a", "v": 1}], [{"n": "a", "v": 2}], [{"op": "replace", "path": "/0/v", "value": 2}]),
        (True, 1, [{"op": "replace", "path": "", "value": 1}]),
    ],
)
def test_difference_is_as_short_as_the_change(before: Any, after: Any, operations: list[dict[str, Any]]) -> None:
    """A list that grew at an end costs one operation."""
    assert diff(before, after) == operations
