"""Sidecars made to greet each other by `tulle check`: who is chosen, and what is said of it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from tests.support.fakeapi import fake_api
from tulle import greeting
from tulle.greeting import Greeting
from tulle.kube import Kube
from tulle.looks import Look, Said
from tulle.output import FAILED, OK

Object = dict[str, Any]
PAIR = (("shop", "cart-1"), "shop/web:80")


def look(*, protocol: str = "http", mesh: bool = True) -> Look:
    """A sidecar that knows one Service."""
    facts = [["kind", "service"], ["service", "web"], ["namespace", "shop"], ["port", 80.0], ["protocol", protocol]]
    config = {
        "listeners": {"outbound/10.96.0.1:80": {"inbound": False, "metadata": facts}},
        "clusters": {"shop/web:80": {"mesh_tls": {"alpn": []}}},
        "endpoints": {"shop/web:80": {"endpoints": [{"address": "10.0.0.1", "port": 8080, "mesh": mesh}]}},
    }
    return Look(sidecars={PAIR[0]: Said(config=config), ("shop", "idle"): Said()})


def test_who_uses_an_http_service_of_the_mesh_greets_it() -> None:
    """Bytes nobody looks into are left alone, for their app would notice; a callee without a sidecar cannot greet."""
    assert greeting.pairs(look()) == [PAIR]
    assert greeting.pairs(look(protocol="tcp")) == []
    assert greeting.pairs(look(mesh=False)) == []


def test_greeting_that_fails_twice_is_a_finding_with_both_ends() -> None:
    """Once alone, an endpoint was on its way out."""
    refused = Greeting(failed="certificate expired", endpoint="10.0.0.1:8080")
    found = greeting.of_greetings(look(), {PAIR: refused}, {PAIR: refused})
    passing = greeting.of_greetings(look(), {PAIR: refused}, {PAIR: Greeting()})
    nothing = greeting.of_greetings(look(), {}, {})

    assert (found.status, found.detail) == (
        FAILED,
        "shop/cart-1 to shop/web:80 at 10.0.0.1:8080: certificate expired",
    )
    assert passing.status == OK
    assert (nothing.status, "nothing was proved" in nothing.detail) == (OK, True)


def test_greetings_that_could_not_be_had_are_told_of() -> None:
    """What was not proved does not pass for what was."""
    other = (("shop", "old"), "shop/web:80")
    some = greeting.of_greetings(look(), {PAIR: Greeting(), other: Greeting(proved=False)}, {})
    none = greeting.of_greetings(look(), {other: Greeting(proved=False)}, {})

    assert some.detail == "1 tried, 1 could not be asked"
    assert (", 1 could not be asked" in none.detail, "nothing was proved" in none.detail) == (True, True)


def test_sidecar_is_asked_by_the_control_plane(tmp_path: Path) -> None:
    """One that does not know the question proves nothing and accuses nobody."""
    with fake_api(tmp_path) as api:
        system = "/api/v1/namespaces/tulle-system/pods"
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        api.answers[system] = {"items": [{"metadata": {"namespace": "tulle-system", "name": "a"}, "status": ready}]}
        path = f"{system}/a/portforward:15014/sidecars/shop/cart-1/reach"
        api.answers[path] = {"endpoint": "10.0.0.1:8080", "identity": "", "failed": "reset"}
        found = greeting.greet(Kube.load(str(api.kubeconfig)), "tulle-system", [PAIR, (("shop", "old"), "shop/web:80")])

    assert found[PAIR] == Greeting(failed="reset", endpoint="10.0.0.1:8080")
    assert found[("shop", "old"), "shop/web:80"] == Greeting(proved=False)
    assert ("GET", path, {"cluster": ["shop/web:80"]}) in api.asked


def test_replica_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    """Twenty who greet are more than a replica asks at once; none of them counts as not proved for that."""
    chosen = [(("shop", f"p{number}"), "shop/web:80") for number in range(greeting.MOST)]
    busy = set(chosen)
    under_way = most = 0
    counting = threading.Lock()
    everybody = threading.Event()

    def reach(pair: greeting.Pair) -> Any:
        nonlocal under_way, most
        with counting:
            under_way += 1
            most = max(most, under_way)
            if under_way == 8:
                everybody.set()
        everybody.wait(5.0)
        with counting:
            under_way -= 1
        if pair in busy:
            busy.discard(pair)
            return 503, b"16 others are being asked; try again"
        return {"endpoint": "10.0.0.1:8080", "failed": ""}

    with fake_api(tmp_path) as api:
        system = "/api/v1/namespaces/tulle-system/pods"
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        api.answers[system] = {"items": [{"metadata": {"namespace": "tulle-system", "name": "a"}, "status": ready}]}
        for pair in chosen:
            path = f"{system}/a/portforward:15014/sidecars/shop/{pair[0][1]}/reach"
            api.answers[path] = lambda _, pair=pair: reach(pair)
        found = greeting.greet(Kube.load(str(api.kubeconfig)), "tulle-system", chosen)

    assert set(found.values()) == {Greeting(endpoint="10.0.0.1:8080")}
    assert 1 < most <= 16 // 2
