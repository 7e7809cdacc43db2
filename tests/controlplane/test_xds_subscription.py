"""What one stream knows of one type, without a socket: wildcard, names, nonces, ACK and NACK."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controlplane.xds.subscription import MAX_INFLIGHT, MAX_REASON, WILDCARD, Ask, Subscription


def ask(*subscribe: str, **more: Any) -> Ask:
    return Ask(subscribe=frozenset(subscribe), **more)


def test_delta_first_request_without_names_is_the_legacy_wildcard() -> None:
    """That is how Envoy asks for clusters and listeners."""
    subscription = Subscription(delta=True)

    assert subscription.ask(ask()) == {WILDCARD}
    assert subscription.wildcard


def test_delta_later_request_without_names_is_no_wildcard() -> None:
    """An ACK asks for nothing."""
    subscription = Subscription(delta=True)
    subscription.ask(ask("a"))
    nonce = subscription.sent({"a": "1"})

    assert subscription.ask(ask(nonce=nonce)) == set()
    assert not subscription.wildcard


def test_delta_name_subscribed_again_is_answered_again() -> None:
    """The server must resend even what it thinks the client has."""
    subscription = Subscription(delta=True)
    subscription.ask(ask("a"))
    subscription.sent({"a": "1"})

    assert subscription.ask(ask("a")) == {"a"}
    assert subscription.lacks("a", "1")


def test_delta_known_versions_count_on_the_first_message_only() -> None:
    """What a reconnected client holds already is not lacking."""
    subscription = Subscription(delta=True)
    subscription.ask(ask("a", "b", known={"a": "1"}))

    assert not subscription.lacks("a", "1")
    assert subscription.lacks("a", "2")
    assert subscription.lacks("b", "1")


def test_delta_subscription_change_counts_with_a_stale_nonce() -> None:
    """Names are honoured whatever the nonce says."""
    subscription = Subscription(delta=True)
    subscription.ask(ask("a"))

    assert subscription.ask(ask("b", nonce="stale")) == {"b"}
    assert subscription.names == {"a", "b"}


def test_delta_name_asked_for_and_let_go_in_one_breath_stays_and_was_not_dropped() -> None:
    """Whoever counts names would else count one less with each such request, and have no bound for what comes after."""
    subscription = Subscription(delta=True)
    subscription.ask(ask("a"))

    assert subscription.ask(ask("a", unsubscribe=frozenset({"a"}))) == {"a"}
    assert (subscription.names, subscription.added, subscription.dropped) == ({"a"}, frozenset(), frozenset())


def test_delta_unsubscribing_under_the_wildcard_is_answered() -> None:
    """What the wildcard still covers, or no longer exists, is told."""
    subscription = Subscription(delta=True)
    subscription.ask(ask(WILDCARD, "a"))

    assert subscription.ask(ask(unsubscribe=frozenset({"a"}))) == {"a"}
    subscription.ask(ask(unsubscribe=frozenset({WILDCARD})))
    assert not subscription.wildcard


def test_delta_unsubscribed_name_is_forgotten() -> None:
    """Neither pushed nor shown any more."""
    subscription = Subscription(delta=True)
    subscription.ask(ask("a"))
    subscription.sent({"a": "1"})
    subscription.ask(ask(unsubscribe=frozenset({"a"})))

    assert (subscription.names, dict(subscription.progress), subscription.dropped) == (set(), {}, {"a"})


def test_world_empty_list_is_everything_before_a_name_was_given_and_nothing_after() -> None:
    """The meaning of an empty list depends on the stream's past (xDS protocol, "How the client specifies what resources to return")."""
    subscription = Subscription(delta=False)
    assert subscription.ask(ask()) == {WILDCARD}
    assert subscription.ask(ask("a")) == {"a"}
    assert subscription.ask(ask()) == set()
    assert (subscription.names, subscription.wildcard) == (set(), False)


def test_world_ack_with_the_same_names_asks_for_nothing() -> None:
    """Only new names are answered."""
    subscription = Subscription(delta=False)
    subscription.ask(ask("a", "b"))
    nonce = subscription.sent({"a": "1", "b": "1"})

    assert subscription.ask(ask("a", "b", nonce=nonce)) == set()
    assert subscription.ask(ask("a", "b", "c", nonce=nonce)) == {"c"}


def test_acknowledged_version_is_noted_by_nonce() -> None:
    """An ACK of the first response says nothing about the second."""
    subscription = Subscription(delta=True)
    subscription.ask(ask("a"))
    first = subscription.sent({"a": "1"})
    subscription.sent({"a": "2"})
    subscription.ask(ask(nonce=first))

    assert (subscription.progress["a"].sent, subscription.progress["a"].acked) == ("2", "1")


def test_oldest_response_without_a_word_is_known_until_it_is_answered() -> None:
    """By its nonce; accepted or refused, it waits no more."""
    subscription = Subscription(delta=True)
    subscription.ask(ask("a"))
    first, second = subscription.sent({"a": "1"}), subscription.sent({"a": "2"})

    assert subscription.unacknowledged == first
    subscription.ask(ask(nonce=first))
    assert subscription.unacknowledged == second
    subscription.ask(ask(nonce=second, error="no"))
    assert subscription.unacknowledged == ""


def test_change_waits_until_it_is_accepted_or_refused() -> None:
    """An answer to a request is no change."""
    subscription = Subscription(delta=True)
    subscription.ask(ask("a"))
    nonces = [subscription.sent({"a": "1"}, seen=seen) for seen in (0.0, 7.0, 8.0)]

    assert subscription.waiting_since == 7.0
    subscription.ask(ask(nonce=nonces[1], error="no"))
    assert (subscription.waiting_since, subscription.settled) == (8.0, 0.0)
    subscription.ask(ask(nonce=nonces[2]))
    assert (subscription.waiting_since, subscription.settled) == (0.0, 8.0)


def test_refusal_keeps_the_last_good_version_and_names_the_resource() -> None:
    """The sentence belongs to the resource it mentions; others of the response are left alone."""
    subscription = Subscription(delta=True)
    subscription.ask(ask("a/x", "b/y"))
    subscription.ask(ask(nonce=subscription.sent({"a/x": "1", "b/y": "1"})))
    nonce = subscription.sent({"a/x": "2", "b/y": "2"})
    request = ask(nonce=nonce, error="b/y: no such filter")

    assert subscription.refused(request) == ["b/y"]
    subscription.ask(request)
    bad = subscription.progress["b/y"]
    assert (bad.acked, bad.nacked, bad.reason) == ("1", "2", "b/y: no such filter")
    assert not subscription.lacks("b/y", "2")
    assert subscription.progress["a/x"].reason == ""


def test_refusal_that_names_nothing_is_for_the_whole_response() -> None:
    """So that it is seen somewhere."""
    subscription = Subscription(delta=True)
    subscription.ask(ask("a"))
    nonce = subscription.sent({"a": "1"})

    assert subscription.refused(ask(nonce=nonce, error="no")) == ["a"]


def test_client_that_never_acknowledges_costs_a_bounded_memory() -> None:
    """Responses in flight are remembered up to a bound."""
    subscription = Subscription(delta=True)
    subscription.ask(ask("a"))
    for version in range(MAX_INFLIGHT * 3):
        subscription.sent({"a": str(version)})

    assert len(subscription._inflight) <= MAX_INFLIGHT


def test_refusals_cost_a_bounded_memory_each() -> None:
    """A pod may refuse each of thousands of resources by another sentence."""
    subscription = Subscription(delta=True)
    subscription.ask(ask("a"))
    subscription.ask(ask(nonce=subscription.sent({"a": "1"}), error="a " * MAX_REASON))

    assert len(subscription.progress["a"].reason) == MAX_REASON


NAMES = st.sampled_from(["a", "b", "c", WILDCARD])


@given(
    st.booleans(),
    st.lists(
        st.tuples(st.frozensets(NAMES), st.frozensets(NAMES), st.sampled_from(["", "1", "2", "junk"]), st.booleans()),
        max_size=12,
    ),
)
def test_any_sequence_of_requests_leaves_a_consistent_subscription(
    delta: bool, steps: list[tuple[frozenset[str], frozenset[str], str, bool]]
) -> None:
    """Names never hold the wildcard, who counts them counts right, answers are asked-for names, and progress is kept for what can be sent only."""
    subscription = Subscription(delta=delta)
    counted = 0
    for subscribe, unsubscribe, nonce, bad in steps:
        answer = subscription.ask(
            Ask(
                subscribe=subscribe,
                unsubscribe=unsubscribe if delta else frozenset(),
                nonce=nonce,
                error="no" if bad else None,
            )
        )
        subscription.sent(dict.fromkeys(subscription.names & answer, "1"))

        counted += len(subscription.added) - len(subscription.dropped)
        assert counted == len(subscription.names)
        assert WILDCARD not in subscription.names
        assert answer - {WILDCARD} <= subscribe | (unsubscribe if subscription.wildcard else frozenset())
        if not subscription.wildcard:
            assert set(subscription.progress) <= subscription.names
