"""Tables: the same as dicts that are copied for each change, whatever the changes were."""

from __future__ import annotations

import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshapi.table import Table, differing

changes = st.dictionaries(st.integers(0, 120), st.one_of(st.none(), st.integers(0, 3)), max_size=12)


@given(st.dictionaries(st.integers(0, 120), st.integers(0, 3)), st.lists(changes, max_size=30), st.booleans())
def test_table_is_a_dict_copied_for_each_change(
    first: dict[int, int], steps: list[dict[int, int | None]], walk: bool
) -> None:
    """Every version stands for itself, and tells what it differs in from the one before and from the first."""
    tables, dicts = [Table(dict(first))], [dict(first)]
    for step in steps:
        tables.append(tables[-1].after(step))
        dicts.append({k: v for k, v in {**dicts[-1], **step}.items() if v is not None})
        if walk:
            assert sorted(tables[-1]) == sorted(dicts[-1])
    for table, plain in zip(tables, dicts, strict=True):
        assert table == plain
        assert len(table) == len(plain)
        assert dict(table.items()) == plain
        assert {key: table.get(key) for key in range(121)} == {key: plain.get(key) for key in range(121)}
        assert all((key in table) == (key in plain) for key in range(121))
    for old, new in ((-2, -1), (0, -1), (-1, 0)):
        if len(tables) > 1:
            told = {key: (a, b) for key, a, b in differing(tables[old], tables[new])}
            keys = {*dicts[old], *dicts[new]}
            ends = {key: (dicts[old].get(key), dicts[new].get(key)) for key in keys}
            assert told == {key: pair for key, pair in ends.items() if pair[0] != pair[1]}


def test_equal_value_leaves_the_old_one_and_the_very_table() -> None:
    """So that what is compared by identity downstream does not stir."""
    value = (1, 2)
    table = Table({"a": value})

    assert table.after({"a": (1, 2), "b": None}) is table
    assert table.after({"a": (1, 2), "b": (3,)})["a"] is value


def test_key_that_is_not_there_is_a_key_error() -> None:
    """Before and after it was taken away."""
    table = Table({"a": 1})
    with pytest.raises(KeyError):
        table["b"]
    with pytest.raises(KeyError):
        table.after({"a": None})["a"]


def test_change_costs_the_same_in_a_table_of_a_hundred_times_the_size() -> None:
    """A thousand changes one by one, each told: not a hundred times as long; copying a dict each time is that."""

    def seconds(size: int) -> float:
        table = Table({n: n for n in range(size)})
        began = time.process_time()
        for n in range(1000):
            new = table.after({n: -n - 1})
            assert differing(table, new) == [(n, n, -n - 1)]
            table = new
        return time.process_time() - began

    assert min(seconds(100_000) for _ in range(3)) < 20 * min(seconds(1_000) for _ in range(3))


def test_copy_has_what_there_is() -> None:
    """What says that a key is gone is no value elsewhere, either."""
    table = Table({"a": 1, "b": 2}).after({"a": None, "c": 3})

    assert pickle.loads(pickle.dumps(table)) == {"b": 2, "c": 3}
