"""What the rules say, and when they can say it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.config import Authorization, Condition, Policy, Rules, StringMatch
from dataplane.protocol.events import RequestHead
from dataplane.tables.authz import ALWAYS_ALLOW, ALWAYS_DENY, PER_REQUEST, Guard, compile_rules
from dataplane.tables.conditions import Facts, Node, compile_condition

ALICE = "spiffe://test/ns/shop/sa/alice"
GET = Condition(header=(":method", StringMatch(exact="GET")))
ADMIN = Condition(path=StringMatch(prefix="/admin"))
KNOWN = Condition(identity=StringMatch(present=True))
BY_ALICE = Condition(identity=StringMatch(exact=ALICE))
EVERYTHING = Condition()


def head(path: str = "/", method: str = "GET", *fields: tuple[str, str]) -> RequestHead:
    raw = [(name.lower().encode(), value.encode(), name.encode()) for name, value in fields]
    return RequestHead(1, method.encode(), b"http", b"web", path.encode(), raw, True)


def facts(identity: str = "", **more: Any) -> Facts:
    known: dict[str, Any] = {"source": "10.0.0.9", "destination": ("10.0.0.1", 8080), "identity": identity, **more}
    return Facts(known.pop("source"), known.pop("destination"), **known)


def rules(*policies: tuple[Condition, Condition], deny: bool = False) -> Rules:
    named = tuple(Policy(name=f"p{i}", permissions=(a,), principals=(b,)) for i, (a, b) in enumerate(policies))
    return Rules(deny=deny, policies=named)


def guard(known: Facts, *enforced: Rules, shadow: Rules | None = None) -> Guard:
    book = compile_rules((*(Authorization(rules=one) for one in enforced), Authorization(shadow=shadow)))
    assert book is not None
    return book.bind(known)


@pytest.mark.parametrize(
    ("enforced", "identity", "state"),
    [
        (rules(), "", ALWAYS_DENY),
        (rules(deny=True), "", ALWAYS_ALLOW),
        (rules((EVERYTHING, BY_ALICE)), ALICE, ALWAYS_ALLOW),
        (rules((EVERYTHING, BY_ALICE)), "spiffe://test/ns/shop/sa/bob", ALWAYS_DENY),
        (rules((EVERYTHING, BY_ALICE), deny=True), ALICE, ALWAYS_DENY),
        (rules((EVERYTHING, KNOWN)), "", ALWAYS_DENY),
        (rules((EVERYTHING, Condition(none_of=KNOWN))), "", ALWAYS_ALLOW),
        (rules((ADMIN, BY_ALICE), (EVERYTHING, KNOWN)), ALICE, ALWAYS_ALLOW),
        (rules((ADMIN, BY_ALICE), (GET, KNOWN)), "", ALWAYS_DENY),
        (rules((Condition(all_of=(Condition(ports=(8080, 8080)), GET)), KNOWN)), ALICE, PER_REQUEST),
        (rules((Condition(all_of=(Condition(ports=(1, 80)), GET)), KNOWN)), ALICE, ALWAYS_DENY),
        (rules((Condition(any_of=(Condition(ports=(8000, 9000)), GET)), KNOWN)), ALICE, ALWAYS_ALLOW),
    ],
)
def test_connection_decides_what_it_can(enforced: Rules, identity: str, state: int) -> None:
    """Requests are asked only when the answer depends on them."""
    assert guard(facts(identity), enforced).state == state


def test_request_decides_the_rest() -> None:
    """And the policy that decided has a name."""
    found = guard(facts(ALICE), rules((GET, KNOWN), (ADMIN, BY_ALICE)))

    assert (found.admits(head()), found.verdict) == (True, "policy p0 allows it")
    assert (found.admits(head("/admin/x", "POST")), found.verdict) == (True, "policy p1 allows it")
    assert (found.admits(head("/", "POST")), found.verdict) == (False, "no policy allows it")


def test_every_filter_must_agree() -> None:
    """One that refuses is enough."""
    allowing, denying = rules((EVERYTHING, EVERYTHING)), rules((ADMIN, EVERYTHING), deny=True)
    found = guard(facts(), allowing, denying)

    assert [found.admits(head(path)) for path in ("/", "/admin")] == [True, False]
    assert found.verdict == "policy p0 denies it"
    assert guard(facts(), allowing, rules()).state == ALWAYS_DENY


@pytest.mark.parametrize("path", ["/admin", "/x/../admin", "//admin?x", "/%61dmin", "/./admin/"])
def test_path_is_judged_in_its_normal_form(path: str) -> None:
    """A rule about `/admin` cannot be walked around."""
    assert not guard(facts(), rules((ADMIN, EVERYTHING), deny=True)).admits(head(path))


@pytest.mark.parametrize(
    ("match", "values", "holds"),
    [
        (StringMatch(exact="red"), ("red",), True),
        (StringMatch(exact="red"), ("blue", "red"), True),
        (StringMatch(exact="blue,red"), ("blue", "red"), False),
        (StringMatch(exact="red", invert=True), ("blue",), True),
        (StringMatch(exact="red", invert=True), ("blue", "red"), False),
        (StringMatch(exact="red", invert=True), (), False),
        (StringMatch(present=True), ("",), True),
        (StringMatch(present=True), (), False),
        (StringMatch(present=True, invert=True), (), True),
        (StringMatch(present=True, invert=True), ("x",), False),
    ],
)
def test_field_is_judged_line_by_line(match: StringMatch, values: tuple[str, ...], holds: bool) -> None:
    """A second line hides nothing, and what is not there equals nothing."""
    found = guard(facts(), rules((Condition(header=("x-team", match)), EVERYTHING)))

    assert found.admits(head("/", "GET", *(("X-Team", value) for value in values))) is holds


@pytest.mark.parametrize(
    ("condition", "state"),
    [
        (Condition(direct_source="10.0.0.0/24"), ALWAYS_ALLOW),
        (Condition(direct_source="10.0.1.0/24"), ALWAYS_DENY),
        (Condition(source="10.0.0.9/32"), ALWAYS_ALLOW),
        (Condition(destination="10.0.0.1/32"), ALWAYS_ALLOW),
        (Condition(destination="::/0"), ALWAYS_DENY),
        (Condition(server_name=StringMatch(exact="web")), ALWAYS_ALLOW),
        (Condition(server_name=StringMatch(exact="shop")), ALWAYS_DENY),
    ],
)
def test_addresses_and_server_name_are_known_from_the_start(condition: Condition, state: int) -> None:
    """They are the connection's."""
    assert guard(facts(server_name="web"), rules((EVERYTHING, condition))).state == state


@pytest.mark.parametrize(
    ("address", "network", "holds"),
    [
        ("::ffff:10.0.0.9", "10.0.0.0/8", True),
        ("fd00::1", "fd00::/8", True),
        ("fd00::1", "0.0.0.0/0", False),
        ("", "0.0.0.0/0", False),
        ("nowhere", "::/0", False),
    ],
)
def test_address_is_in_a_range_of_its_version(address: str, network: str, holds: bool) -> None:
    """IPv4 in IPv6 clothes is IPv4; what is no address is nowhere."""
    found = guard(facts(source=address), rules((EVERYTHING, Condition(direct_source=network))))

    assert (found.state == ALWAYS_ALLOW) is holds


@pytest.mark.parametrize(
    ("hops", "lines", "holds"),
    [
        (0, ("10.1.0.1",), True),
        (0, ("10.1.0.1, 10.2.0.1",), False),
        (0, ("10.2.0.1", "10.1.0.1"), True),
        (1, ("10.1.0.1, 10.2.0.1",), True),
        (1, ("10.1.0.1",), False),
        (0, ("nonsense",), False),
        (0, (), False),
    ],
)
def test_client_is_who_the_trusted_proxies_name(hops: int, lines: tuple[str, ...], holds: bool) -> None:
    """Counted from the end, as the front of the list is the client's own invention."""
    found = guard(facts(hops=hops), rules((EVERYTHING, Condition(source="10.1.0.0/16"))))

    assert found.state == PER_REQUEST
    assert found.admits(head("/", "GET", *(("X-Forwarded-For", line) for line in lines))) is holds


def test_shadow_rules_are_judged_apart() -> None:
    """They refuse nothing."""
    found = guard(facts(), rules(deny=True), shadow=rules())

    assert found.state == ALWAYS_ALLOW
    assert found.shadow is not None
    assert found.shadow.state == ALWAYS_DENY


def test_filters_without_rules_cost_nothing() -> None:
    """There is no guard to ask."""
    assert compile_rules(()) is None
    assert compile_rules((Authorization(),)) is None


LEAVES = st.sampled_from([
    EVERYTHING, GET, ADMIN, KNOWN, BY_ALICE, Condition(ports=(80, 8080)), Condition(source="10.1.0.0/16"),
    Condition(direct_source="10.0.0.0/8"), Condition(header=("x-a", StringMatch(exact="1", invert=True))),
])  # fmt: skip
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda parts: Condition(all_of=tuple(parts)), st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: Condition(any_of=tuple(parts)), st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: Condition(none_of=part), inner),
    ),
    max_leaves=12,
)


def plainly(tree: Condition, known: dict[str, bool]) -> bool:
    """The truth of a tree, from that of its leaves."""
    if tree.all_of is not None:
        return all(plainly(part, known) for part in tree.all_of)
    if tree.any_of is not None:
        return any(plainly(part, known) for part in tree.any_of)
    if tree.none_of is not None:
        return not plainly(tree.none_of, known)
    return known[repr(tree)]


CALLS = st.tuples(
    st.sampled_from(["GET", "PUT"]), st.sampled_from(["/", "/admin"]), st.sampled_from(["10.1.0.1", "10.2.0.1"])
)


@given(tree=TREES, identity=st.sampled_from(["", ALICE, "spiffe://b"]), call=CALLS, port=st.sampled_from([80, 9090]))
def test_what_the_connection_leaves_open_means_the_same(
    tree: Condition, identity: str, call: tuple[str, str, str], port: int
) -> None:
    """Folding a tree for a connection never changes what it says of a request."""
    method, path, client = call
    known = {
        repr(EVERYTHING): True,
        repr(GET): method == "GET",
        repr(ADMIN): path == "/admin",
        repr(KNOWN): bool(identity),
        repr(BY_ALICE): identity == ALICE,
        repr(Condition(ports=(80, 8080))): port == 80,
        repr(Condition(source="10.1.0.0/16")): client == "10.1.0.1",
        repr(Condition(direct_source="10.0.0.0/8")): True,
        repr(Condition(header=("x-a", StringMatch(exact="1", invert=True)))): False,
    }
    about = facts(identity, destination=("10.0.0.1", port), hops=0)
    found = guard(about, rules((tree, EVERYTHING)))
    node: Node = compile_condition(tree, refuses=False).fold(about)

    assert found.admits(head(path, method, ("x-forwarded-for", client))) == plainly(tree, known)
    assert not any(node.reads(op) for op in range(12, 17))
