"""What people are told would happen."""

from __future__ import annotations

from typing import Any

import pytest

from dataplane.config import DirectResponse, Forward, Redirect, Route, RouteMatch, Target
from dataplane.proxy.request.explain import Question, explain
from dataplane.tables.compile import compile_tables
from meshapi.records import replace
from tests.dataplane.proxy.rig import cluster, config, everything, forward

FACTS = (("kind", "service"), ("namespace", "shop"), ("port", "80"), ("service", "web"))


def asked(*routes: Route, clusters: Any = (), **question: Any) -> dict[str, Any]:
    noun = config(*routes, clusters=clusters, metadata=FACTS, bind=False)
    name = "outbound/10.0.0.1:80"
    noun = replace(noun, listeners={name: replace(noun.listeners["l"], name=name)})
    return explain(compile_tables(noun), Question(**question))


def test_answer_names_listener_chain_route_and_endpoints() -> None:
    """Everything that decided, and where the request would go."""
    row = Route(match=RouteMatch(separated_prefix="/x"), action=forward(timeout=2.0), name="HTTPRoute/shop/told#1")
    answer = asked(row, clusters=(cluster("10.1.0.1", mesh=True),), address="10.0.0.1:80", path="/x/y")

    assert answer["listener"] == "outbound/10.0.0.1:80"
    assert answer["chain"] == {"name": "http", "for": "everything"}
    assert (answer["route"], answer["rule"], answer["timeout_seconds"]) == ("HTTPRoute/shop/told", "1", 2.0)
    endpoint = answer["targets"][0]["endpoints"][0]
    assert (endpoint["address"], endpoint["mesh_tls"], endpoint["protocol"]) == ("10.1.0.1:80", True, "http/2")
    assert endpoint["identity"] == "spiffe://t/ns/n/sa/10.1.0.1"
    assert answer["outcome"] == "forwarded to c (100%)"


@pytest.mark.parametrize("host", ["web", "web:80", "web.shop", "web.shop.svc.cluster.local:80"])
def test_destination_is_found_by_the_services_name_too(host: str) -> None:
    """As the app writes it."""
    assert asked(host=host)["listener"] == "outbound/10.0.0.1:80"


@pytest.mark.parametrize(
    ("action", "outcome"),
    [
        (Redirect(status=301), "301 redirect"),
        (DirectResponse(status=418), "418 answered by the route itself"),
        (Forward(targets=()), "500 backend_not_found"),
        (forward("nobody"), "503 no_healthy_upstream"),
    ],
)
def test_outcome_is_a_sentence(action: Any, outcome: str) -> None:
    """Also when nothing would be forwarded."""
    assert asked(everything(action), host="web")["outcome"].startswith(outcome)


def test_no_match_and_unknown_destination_are_told() -> None:
    """Before anybody wonders."""
    assert asked(Route(match=RouteMatch(path="/x"), action=forward()), host="web")["outcome"].startswith("404")
    answer = asked(host="other")
    assert "not known" in answer["outcome"]
    assert answer["known_destinations"] == ["10.0.0.1:80"]


def test_split_shows_shares() -> None:
    """Weights as people think of them."""
    split = Forward(targets=(Target(cluster="c", weight=9), Target(cluster="d", weight=1)))
    answer = asked(everything(split), host="web")

    assert [target["share"] for target in answer["targets"]] == [0.9, 0.1]
    assert answer["targets"][1]["problem"]
