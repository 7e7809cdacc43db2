"""How Envoy's RBAC filters are read."""

from __future__ import annotations

from typing import Any

import pytest

from dataplane.config import Authorization, Condition, FilterChain, HttpFilter, Policy, Rules, StringMatch
from dataplane.xds.decode_rbac import HTTP, NETWORK
from dataplane.xds.reading import RefusedError
from meshapi.xds import Type
from tests.dataplane.xds.test_xds_decode import ROUTER, Object, listener, manager, read, tcp

ANY = {"any": True}


def rules(permission: Object = ANY, principal: Object = ANY, action: str = "ALLOW", **more: Any) -> Object:
    return {"action": action, "policies": {"p": {"permissions": [permission], "principals": [principal], **more}}}


def decoded(value: Object, kind: str = HTTP) -> Authorization:
    one = {"name": "f", "typed_config": {"@type": f"type.googleapis.com/{kind}", **value}}
    filters = [one, tcp()] if kind == NETWORK else [manager(http_filters=[one, ROUTER])]
    chain: FilterChain = read(Type.LISTENER, listener(*filters)).chains[0]
    held = chain.authorization if kind == NETWORK else chain.filter
    return held[0] if isinstance(held, tuple) else held.authorization[0]  # type: ignore[union-attr]


def permission(value: Object) -> Condition:
    found = decoded({"rules": rules(value)}).rules
    assert found
    return found.policies[0].permissions[0]


def principal(value: Object) -> Condition:
    found = decoded({"rules": rules(ANY, value)}).rules
    assert found
    return found.policies[0].principals[0]


GET = {"header": {"name": ":METHOD", "string_match": {"exact": "GET"}}}
IS_GET = Condition(header=(":method", StringMatch(exact="GET")))


@pytest.mark.parametrize(
    ("value", "condition"),
    [
        (ANY, Condition()),
        (GET, IS_GET),
        ({"url_path": {"path": {"prefix": "/a"}}}, Condition(path=StringMatch(prefix="/a"))),
        ({"destination_port": 80}, Condition(ports=(80, 80))),
        ({"destination_port_range": {"start": 80, "end": 90}}, Condition(ports=(80, 89))),
        ({"destination_ip": {"address_prefix": "10.0.0.7", "prefix_len": 8}}, Condition(destination="10.0.0.0/8")),
        ({"requested_server_name": {"suffix": ".io"}}, Condition(server_name=StringMatch(suffix=".io"))),
        ({"not_rule": GET}, Condition(none_of=IS_GET)),
        ({"and_rules": {"rules": [GET, ANY]}}, Condition(all_of=(IS_GET, Condition()))),
        ({"or_rules": {"rules": [GET, ANY]}}, Condition(any_of=(IS_GET, Condition()))),
    ],
)
def test_permission_becomes_a_condition(value: Object, condition: Condition) -> None:
    """Each kind the sidecar evaluates."""
    assert permission(value) == condition


@pytest.mark.parametrize(
    ("value", "condition"),
    [
        ({"authenticated": {}}, Condition(identity=StringMatch(present=True))),
        (
            {"authenticated": {"principal_name": {"exact": "spiffe://a"}}},
            Condition(identity=StringMatch(exact="spiffe://a")),
        ),
        ({"source_ip": {"address_prefix": "10.0.0.1", "prefix_len": 32}}, Condition(direct_source="10.0.0.1/32")),
        ({"direct_remote_ip": {"address_prefix": "fd00::1", "prefix_len": 8}}, Condition(direct_source="fd00::/8")),
        ({"remote_ip": {"address_prefix": "0.0.0.0"}}, Condition(source="0.0.0.0/0")),
        ({"not_id": ANY}, Condition(none_of=Condition())),
        ({"and_ids": {"ids": [ANY, GET]}}, Condition(all_of=(Condition(), IS_GET))),
        ({"or_ids": {"ids": [ANY, GET]}}, Condition(any_of=(Condition(), IS_GET))),
    ],
)
def test_principal_becomes_a_condition(value: Object, condition: Condition) -> None:
    """Each kind the sidecar evaluates."""
    assert principal(value) == condition


METADATA = {"filter": "f", "path": [{"key": "k"}], "value": {"present_match": True}}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            {"rules": rules(condition={"const_expr": {"bool_value": True}})},
            "policy p: CEL conditions are not evaluated",
        ),
        ({"rules": rules({"metadata": METADATA})}, "policy p, permissions: a condition by metadata is not supported"),
        ({"rules": rules(ANY, {"filter_state": {"key": "k", "string_match": {"exact": "x"}}})}, "filter_state"),
        ({"rules": rules({"header": {"name": "x", "range_match": {"start": 1, "end": 2}}})}, "range_match"),
        ({"rules": rules({"url_path": {"path": {"safe_regex": {"regex": "("}}}})}, "no regular expression"),
        ({"rules": rules({"destination_ip": {"address_prefix": "10.0.0", "prefix_len": 8}})}, "no address range"),
        ({"rules": rules({})}, "a condition by nothing"),
        ({"rules": rules({"any": False})}, "policy p, permissions: any is false"),
        ({"rules": rules(ANY, {"not_id": {"any": False}})}, "policy p, principals: any is false"),
        ({"rules": {"policies": {"p": {"permissions": [ANY]}}}}, "policy p, principals: an empty list"),
        ({"shadow_rules": rules({"metadata": METADATA})}, "shadow rules, policy p"),
        ({"matcher": {}}, "matcher is not supported"),
    ],
)
def test_what_is_not_evaluated_is_refused_with_its_place(value: Object, said: str) -> None:
    """Passing over a condition would let in whom it keeps out."""
    with pytest.raises(RefusedError, match=said):
        decoded(value)


@pytest.mark.parametrize("value", [GET, {"url_path": {"path": {"exact": "/"}}}, {"not_rule": GET}])
def test_rule_for_connections_cannot_ask_about_requests(value: Object) -> None:
    """There is none to ask about."""
    with pytest.raises(RefusedError, match="needs a request"):
        decoded({"stat_prefix": "s", "rules": rules(value)}, NETWORK)


def test_filter_keeps_its_action_its_policies_in_order_and_its_shadow() -> None:
    """Policies are tried by name, as Envoy does."""
    both = {"permissions": [ANY], "principals": [ANY]}
    found = decoded({"rules": {"action": "DENY", "policies": {"b": both, "a": both}}, "shadow_rules": {}})
    read_ = [Policy(name=name, permissions=(Condition(),), principals=(Condition(),)) for name in "ab"]

    assert found == Authorization(rules=Rules(deny=True, policies=tuple(read_)), shadow=Rules(deny=False, policies=()))


def test_rules_that_only_log_refuse_nothing() -> None:
    """So they are none."""
    assert decoded({"rules": rules(action="LOG")}) == Authorization()


def rbac(kind: str) -> Object:
    return {
        "name": "r",
        "typed_config": {
            "@type": f"type.googleapis.com/{kind}",
            "rules": {},
            **({"stat_prefix": "s"} if kind == NETWORK else {}),
        },
    }


def test_filters_stand_where_they_are_checked() -> None:
    """Those of connections in the chain, those of requests in its HTTP filter, also when they are called optional."""
    refusing = Authorization(rules=Rules(deny=False, policies=()))
    http = manager(
        http_filters=[{**rbac(HTTP), "is_optional": True}, rbac(HTTP), {**rbac(HTTP), "disabled": True}, ROUTER]
    )
    found = read(Type.LISTENER, listener(rbac(NETWORK), http)).chains[0]
    plain = read(Type.LISTENER, listener(rbac(NETWORK), rbac(NETWORK), tcp())).chains[0]

    assert found.authorization == (refusing,)
    assert isinstance(found.filter, HttpFilter)
    assert found.filter.authorization == (refusing, refusing)
    assert plain.authorization == (refusing, refusing)


@pytest.mark.parametrize("filters", [(rbac(NETWORK),), (tcp(), rbac(NETWORK)), (rbac(HTTP), tcp())])
def test_chain_does_not_end_in_rules(filters: tuple[Object, ...]) -> None:
    """Somebody has to take the connection, and rules of requests are not for connections."""
    with pytest.raises(RefusedError, match="one network filter is needed"):
        read(Type.LISTENER, listener(*filters))
