"""Routes with a Service as parent: splits, matches, precedence, and what is wrong with one told by status."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.cluster import Kube
from tests.support.mesh import ON, Mesh, ask
from tests.support.objects import container, deployment, pod, service


def version(name: str) -> dict[str, Any]:
    return deployment(
        name,
        annotations=ON,
        containers=[container(env=[{"name": "SAY", "value": name}], ports=[{"containerPort": 8080}])],
    )


def route(name: str, *rules: dict[str, Any], parent: str = "web") -> dict[str, Any]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": parent, "port": 80}], "rules": list(rules)},
    }


def to(name: str, weight: int = 1) -> dict[str, Any]:
    return {"name": name, "port": 80, "weight": weight}


@pytest.fixture(scope="module", autouse=True)
def versions(shop: Kube) -> None:
    """Two versions behind Services of their own, one Service as the parent, and a client."""
    web = service("web")
    web["spec"]["selector"] = {"app": "v1"}
    shop.apply(version("v1"), version("v2"), service("v1"), service("v2"), web, pod("client", annotations=ON))
    for name in ("v1", "v2"):
        shop("rollout", "status", f"deployment/{name}", "--timeout=60s")
    shop("wait", "--for=condition=Ready", "pod/client", "--timeout=60s")


@pytest.fixture(autouse=True)
def no_routes_left(shop: Kube) -> Iterator[None]:
    """Each test starts from plain Kubernetes."""
    yield
    shop("delete", "httproutes", "--all")
    shop.until(lambda: ask(shop, "client", "http://web/x/y") == [(200, "v1")], 20, "the way back")


def condition(shop: Kube, name: str, kind: str) -> dict[str, Any]:
    """A condition of the route's own parent status, once it is there."""

    def look() -> dict[str, Any] | None:
        parents = shop.get("httproute", name).get("status", {}).get("parents", [])
        found = [c for p in parents for c in p["conditions"] if c["type"] == kind]
        return found[0] if found else None

    found: dict[str, Any] = shop.until(look, 20, f"condition {kind}")
    return found


def test_weights_split_the_traffic(shop: Kube) -> None:
    """Ninety to ten, within three points."""
    shop.apply(route("split", {"backendRefs": [to("v1", 90), to("v2", 10)]}))
    shop.until(lambda: "v2" in {b for _, b in ask(shop, "client", "http://web/", count=40)}, 20, "the split")
    seen = Counter(body for _, body in ask(shop, "client", "http://web/", count=1000))

    assert abs(seen["v2"] / 1000 - 0.1) <= 0.03, seen


def test_matches_decide_by_path_header_and_method(shop: Kube) -> None:
    """The more specific match wins and what matches nothing is 404."""
    shop.apply(
        route(
            "match",
            {"matches": [{"path": {"type": "PathPrefix", "value": "/two"}}], "backendRefs": [to("v2")]},
            {"matches": [{"path": {"type": "Exact", "value": "/two/one"}}], "backendRefs": [to("v1")]},
            {
                "matches": [
                    {"path": {"type": "PathPrefix", "value": "/h"}, "headers": [{"name": "X-V", "value": "2"}]}
                ],
                "backendRefs": [to("v2")],
            },
            {"matches": [{"path": {"type": "PathPrefix", "value": "/h"}}], "backendRefs": [to("v1")]},
        )
    )
    shop.until(lambda: ask(shop, "client", "http://web/nowhere")[0][0] == 404, 20, "the route")

    assert ask(shop, "client", "http://web/two") == [(200, "v2")]
    assert ask(shop, "client", "http://web/two/one") == [(200, "v1")]
    assert ask(shop, "client", "http://web/twofold")[0][0] == 404
    assert ask(shop, "client", "http://web/h/x") == [(200, "v1")]
    assert ask(shop, "client", "http://web/h/x", headers={"x-v": "2"}) == [(200, "v2")]


def test_good_route_is_accepted_in_status_and_table(shop: Kube) -> None:
    """State is seen at a glance."""
    shop.apply(route("good", {"backendRefs": [to("v1")]}))

    assert condition(shop, "good", "Accepted")["status"] == "True"
    assert condition(shop, "good", "ResolvedRefs")["status"] == "True"
    assert "good" in shop("get", "httproutes")


def test_pattern_no_sidecar_could_use_is_refused_at_admission(shop: Kube) -> None:
    """RE2 has no look-ahead; a gateway's route is its controller's business."""
    look = {"matches": [{"path": {"type": "RegularExpression", "value": "/(?=a)"}}], "backendRefs": [to("v1")]}
    gateway = route("gateway", look)
    gateway["spec"]["parentRefs"] = [{"name": "gate"}]
    shop.apply(gateway)

    said = shop.fails("apply", "-f", "-", stdin=json.dumps(route("look", look)))

    assert "spec.rules[0].matches[0].path.value: '/(?=a)' is no regular expression as RE2 reads them" in said


def test_route_to_a_missing_service_answers_500_and_says_so(shop: Kube, mesh: Mesh) -> None:
    """Only the share that points nowhere fails, and status names it."""
    shop.apply(
        route(
            "dangling",
            {"matches": [{"path": {"type": "PathPrefix", "value": "/bad"}}], "backendRefs": [to("nobody")]},
            {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": [to("v1")]},
        )
    )
    shop.until(lambda: ask(shop, "client", "http://web/bad")[0][0] == 500, 20, "the dangling route")
    found = condition(shop, "dangling", "ResolvedRefs")

    assert (found["status"], found["reason"]) == ("False", "BackendNotFound")
    assert "nobody" in found["message"]
    assert condition(shop, "dangling", "Accepted")["status"] == "True"
    assert ask(shop, "client", "http://web/fine") == [(200, "v1")]
    assert "Traceback" not in mesh.control_plane_log()


def test_routes_command_tells_what_the_sidecar_would_do(shop: Kube, mesh: Mesh) -> None:
    """`tulle routes` answers from the sidecar's live config."""
    shop.apply(route("told", {"backendRefs": [to("v2")]}))
    shop.until(lambda: ask(shop, "client", "http://web/") == [(200, "v2")], 20, "the route")
    said = mesh.tulle("routes", "pod/client", "-n", shop.namespace, "--host", "web:80", "--path", "/x").stdout

    assert "told" in said
    assert "v2" in said
