"""Records: what `dataclasses` would make of the same class, without code of its own."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

from meshapi.records import FrozenError, field, fields, is_record, record, replace


@record
class Target:
    """A frozen one, by name alone."""

    cluster: str
    weight: int = 1
    labels: dict[str, str] = field(default_factory=dict)
    key: bytes = field(default=b"", repr=False)


@record(kw_only=False)
class Pair:
    """A frozen one, also by position."""

    left: str
    right: str = ""


@record(frozen=False, kw_only=False)
class Tally:
    """One that changes, and derives what is not given."""

    begun: int
    doubled: int = field(init=False)

    def __post_init__(self) -> None:
        self.doubled = self.begun * 2


@record
class Nothing:
    """No field at all."""


@record
class Same:
    """Of the same fields as a pair."""

    left: str
    right: str = ""


def test_record_has_what_it_is_given_and_defaults_of_its_own() -> None:
    """What a factory makes is made for each."""
    one, other = Target(cluster="a"), Target(cluster="a", weight=3)

    assert (one.cluster, one.weight, one.labels, other.weight) == ("a", 1, {}, 3)
    assert one.labels is not other.labels


def test_records_are_equal_by_their_fields_and_only_to_their_kind() -> None:
    """So are their hashes; a record of one field is not that field."""
    assert Pair("a", "b") == Pair("a", "b") != Pair("a", "c")
    assert hash(Pair("a", "b")) == hash(Pair("a", "b"))
    assert Pair("a", "b") != Same(left="a", right="b")
    assert Pair("a") != ("a", "")
    assert Nothing() == Nothing()
    assert len({Pair("a"), Pair("a"), Pair("b"), Nothing()}) == 3


def test_frozen_record_stays_as_it_is() -> None:
    """Neither set nor deleted, and no other name beside its fields."""
    one: Any = Pair("a")
    for change in (lambda: setattr(one, "left", "b"), lambda: delattr(one, "left"), lambda: setattr(one, "more", 1)):
        with pytest.raises(FrozenError, match="Pair is frozen"):
            change()

    assert one == Pair("a")
    assert not hasattr(one, "__dict__")


def test_record_that_changes_has_no_hash() -> None:
    """It would be lost in a set."""
    one = Tally(3)
    one.begun = 4

    assert (one.begun, one.doubled) == (4, 6)
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


@pytest.mark.parametrize(
    ("cls", "values", "named", "words"),
    [
        (Target, (), {}, "Target lacks 'cluster'"),
        (Target, (), {"cluster": "a", "colour": "red"}, "Target has no field 'colour' to give"),
        (Target, ("a",), {}, "Target is given at most 0 values without a name"),
        (Pair, ("a", "b", "c"), {}, "Pair is given at most 2 values without a name"),
        (Pair, ("a",), {"left": "b"}, "none twice"),
        (Tally, (1,), {"doubled": 3}, "Tally has no field 'doubled' to give"),
    ],
)
def test_record_refuses_what_is_no_field_of_it(cls: Any, values: Any, named: Any, words: str) -> None:
    """And names it."""
    with pytest.raises(TypeError, match=words):
        cls(*values, **named)


def test_replaced_record_differs_in_what_was_named() -> None:
    """What is derived is derived anew."""
    assert replace(Target(cluster="a", weight=2), weight=5) == Target(cluster="a", weight=5)
    assert replace(Tally(3), begun=5).doubled == 10
    with pytest.raises(TypeError, match="no field 'wait'"):
        replace(Pair("a"), wait=1)


def test_record_shows_its_fields_but_no_secret() -> None:
    """In the form of `dataclasses`, which people know."""
    assert repr(Target(cluster="a", key=b"secret")) == "Target(cluster='a', weight=1, labels={})"


def test_record_goes_through_a_pipe_to_another_worker() -> None:
    """Frozen or not."""
    for one in (Target(cluster="a", key=b"k"), Pair("a"), Tally(3), Nothing()):
        assert pickle.loads(pickle.dumps(one)) == one


def test_record_of_records_by_inheritance_is_refused() -> None:
    """One has the other instead."""
    with pytest.raises(TypeError, match="inherits from a record"):

        @record
        class _More(Pair):
            another: str = ""


def test_fields_are_told_in_their_order() -> None:
    """Of a record or its class; what is none is told so."""
    assert [one.name for one in fields(Target)] == ["cluster", "weight", "labels", "key"]
    assert [one.name for one in fields(Pair("a"))] == ["left", "right"]
    assert is_record(Pair("a"))
    assert not is_record(Pair)
    assert not is_record("a")
    assert not dataclasses.is_dataclass(Pair)
