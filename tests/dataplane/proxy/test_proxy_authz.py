"""What happens to a request or connection that the rules do not let in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dataplane.config import Authorization, Condition, Listener, Policy, Rules, SidecarConfig, StringMatch
from dataplane.proxy.request.explain import Question, explain
from dataplane.tables.compile import compile_tables
from dataplane.telemetry import flags
from meshapi.records import replace
from tests.dataplane.proxy.rig import Rig, config
from tests.dataplane.proxy.test_proxy_accept import hear, is_reset, say
from tests.support.net import Echo, Heard
from tests.support.relays import chain, listener, proxy, tcp

MakeRig = Callable[..., Rig]
GET = b"GET /x HTTP/1.1\r\nHost: web\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
ALICE, BOB = "spiffe://t/ns/n/sa/alice", "spiffe://t/ns/n/sa/bob"
EVERYTHING = Condition()


def rules(permission: Condition = EVERYTHING, principal: Condition = EVERYTHING, *, deny: bool = False) -> Rules:
    return Rules(deny=deny, policies=(Policy(name="p", permissions=(permission,), principals=(principal,)),))


BY_ALICE = rules(EVERYTHING, Condition(identity=StringMatch(exact=ALICE)))
NO_ADMIN = rules(Condition(path=StringMatch(prefix="/admin")), deny=True)


def guarded(enforced: Rules | None = None, shadow: Rules | None = None, **more: Any) -> SidecarConfig:
    return config(http={"authorization": (Authorization(rules=enforced, shadow=shadow),)}, inbound=True, **more)


def counted(r: Rig, kind: str) -> int:
    return r.runtime.metrics.events.of(kind).value


def test_denied_request_is_answered_403_and_the_connection_goes_on(rig: MakeRig) -> None:
    """No server hears of it."""
    r = rig(guarded(NO_ADMIN))
    client = r.client(mesh=BOB)
    answer = client.send(b"POST /x/../admin HTTP/1.1\r\nHost: web\r\ncontent-length: 2\r\n\r\nhi").read()

    assert answer.startswith(b"HTTP/1.1 403")
    assert b"x-tulle-error: rbac_denied" in answer
    assert b"RBAC: access denied" in answer
    assert not r.servers
    client.send(GET)
    r.servers[0].send(OK)
    assert client.read() == OK
    assert (counted(r, "rbac_allowed"), counted(r, "rbac_denied")) == (1, 1)
    assert r.runtime.metrics.errors.of("rbac_denied").value == r.counted(403, flags.DENIED) == 1


def test_denied_grpc_call_is_told_in_its_own_words(rig: MakeRig) -> None:
    """PERMISSION_DENIED is 7."""
    r = rig(guarded(BY_ALICE))
    answer = r.client(mesh=BOB).send(GET.replace(b"\r\n\r\n", b"\r\ncontent-type: application/grpc\r\n\r\n")).read()

    assert answer.startswith(b"HTTP/1.1 200")
    assert b"grpc-status: 7\r\n" in answer


def test_denied_comes_before_not_found(rig: MakeRig) -> None:
    """Strangers do not learn what routes there are."""
    noun = guarded(BY_ALICE)
    r = rig(replace(noun, routes={}))

    assert r.client(mesh=BOB).send(GET).read().startswith(b"HTTP/1.1 403")
    assert r.client(mesh=ALICE).send(GET).read().startswith(b"HTTP/1.1 503")


def test_rules_reach_connections_that_are_open(rig: MakeRig) -> None:
    """Taking a right away does not wait for the client to come again."""
    r = rig(guarded(BY_ALICE))
    client = r.client(mesh=ALICE).send(GET)
    r.servers[0].send(OK)
    assert client.read() == OK
    r.runtime.install(compile_tables(guarded(rules(deny=True)), r.runtime.tables))

    assert client.send(GET).read().startswith(b"HTTP/1.1 403")


def test_shadow_rules_are_counted_only(rig: MakeRig) -> None:
    """To learn what they would do."""
    r = rig(guarded(shadow=BY_ALICE))
    for who in (ALICE, BOB):
        client = r.client(mesh=who).send(GET)
        r.servers[-1].send(OK)
        assert client.read() == OK

    assert (counted(r, "rbac_shadow_allowed"), counted(r, "rbac_shadow_denied")) == (1, 1)


def test_client_in_forwarded_for_is_believed_of_sidecars_only(rig: MakeRig) -> None:
    """What a plaintext client writes there is followed by where it really comes from."""
    noun = guarded(rules(EVERYTHING, Condition(source="10.1.0.0/16")), metadata=(("mode", "strict"),))
    r = rig(noun)
    request = GET.replace(b"\r\n\r\n", b"\r\nx-forwarded-for: 10.1.0.1\r\n\r\n")

    assert r.client().send(request).read().startswith(b"HTTP/1.1 403")
    client = r.client(mesh=BOB).send(request)
    r.servers[0].send(OK)
    assert client.read() == OK


def bound(*authorization: Authorization, **more: Any) -> Listener:
    return listener("l", replace(chain("tcp", tcp()), authorization=authorization), **more)


async def test_denied_connection_is_reset_and_counted_once() -> None:
    """And no server hears of it."""
    async with proxy() as p:
        p.install(bound(Authorization(rules=rules(deny=True))), app=p.net.serve(Echo))
        client = await say(p, b"hello", "l")

        assert await is_reset(client)
        assert p.refused == {"rbac_denied": 1}
        assert not p.net.accepted
        await p.quiet()


async def test_allowed_connection_is_relayed() -> None:
    """Rules that let it in leave no other trace than a count."""
    async with proxy() as p:
        p.install(bound(Authorization(rules=rules(), shadow=Rules(deny=False, policies=()))), app=p.net.serve(Echo))
        client = await say(p, b"hello", "l")

        assert await hear(client, 5) == b"hello"
        events = p.runtime.metrics.events
        assert (events.of("rbac_allowed").value, events.of("rbac_shadow_denied").value) == (1, 1)


async def test_silent_client_that_may_not_reach_the_server_does_not() -> None:
    """A server that speaks first is not even asked."""
    async with proxy() as p:
        refusing = replace(
            chain("raw", tcp(), transport="raw_buffer"), authorization=(Authorization(rules=rules(deny=True)),)
        )
        noun = listener("l", refusing, chain("tls", tcp(), transport="tls"), detect=True, detect_timeout=0.2)
        p.install(noun, app=p.net.serve(Heard))
        client = await say(p, b"", "l")

        assert await is_reset(client)
        assert not p.net.accepted


def test_question_is_told_what_the_rules_say() -> None:
    """Before anybody reads policies."""
    noun = guarded(BY_ALICE, metadata=(("service", "web"),))
    tables = compile_tables(replace(noun, listeners={"outbound/10.0.0.1:80": noun.listeners["l"]}))
    denied = explain(tables, Question(address="10.0.0.1:80", identity=BOB))
    allowed = explain(tables, Question(address="10.0.0.1:80", identity=ALICE))

    assert denied["outcome"] == "403 rbac_denied: no policy allows it"
    assert allowed["authorization"] == "policy p allows it"
    assert allowed["outcome"].startswith("forwarded")
