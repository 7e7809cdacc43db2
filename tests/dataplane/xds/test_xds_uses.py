"""Which roots lead to which resources."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataplane.xds.uses import Key, Uses
from meshapi.xds import Type

ROOTS: list[Key] = [(Type.LISTENER, name) for name in "ab"]
KEYS: list[Key] = [(Type.CLUSTER, name) for name in "xyz"]


def test_resource_two_roots_lead_to_is_used_until_both_do_no_more() -> None:
    """And who leads to it is known, since only they have to be looked at when it changes."""
    uses = Uses()
    uses.put(ROOTS[0], set(KEYS[:2]))
    uses.put(ROOTS[1], set(KEYS[1:]))
    assert uses.roots(KEYS[1]) == set(ROOTS)
    assert uses.put(ROOTS[0], frozenset()) == set(KEYS[:2])
    assert uses.unused(KEYS) == {KEYS[0]}
    uses.put(ROOTS[1], frozenset())

    assert uses.unused(KEYS) == set(KEYS)


@given(st.lists(st.tuples(st.sampled_from(ROOTS), st.frozensets(st.sampled_from(KEYS)))))
def test_both_ends_of_the_relation_agree(steps: list[tuple[Key, frozenset[Key]]]) -> None:
    """Whatever was said in whatever order, the last word of each root counts."""
    uses, last = Uses(), dict[Key, frozenset[Key]]()
    for root, keys in steps:
        assert uses.put(root, keys) == last.get(root, frozenset()) - keys
        last[root] = keys

    assert {root: uses.led(root) for root in ROOTS} == {root: last.get(root, frozenset()) for root in ROOTS}
    assert {key: uses.roots(key) for key in KEYS} == {
        key: {root for root, keys in last.items() if key in keys} for key in KEYS
    }
