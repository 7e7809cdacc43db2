"""Questions to sidecars: over the stream, answered by a sidecar's own client, and by nobody else."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from controlplane.xds import asking
from controlplane.xds.asking import NotAnsweredError, Told
from dataplane import slices
from dataplane.admin import Admin, Answer, Request, as_json, own
from dataplane.net.dial import Dialer
from dataplane.net.poller import Poller
from dataplane.slices import Nobody
from dataplane.xds.asked import Asked
from dataplane.xds.channel import CallListener, Channel, GrpcCall
from dataplane.xds.session import Session
from meshapi import xds
from meshapi.records import replace
from meshapi.xds import Type
from tests.support.adsserver import DeltaClient, Served, connected, served

MUCH = 8 * 1024 * 1024
AUTHORIZED = ("authorization", "Bearer x")


class Sidecar(CallListener):
    """The parts of a sidecar that speak with the control plane, over a plain connection."""

    def __init__(self, poller: Poller, port: int) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.served: asyncio.Future[None] = loop.create_future()
        """The first response came."""
        self.gone: asyncio.Future[str] = loop.create_future()
        self.channel = Channel("here", lambda: self.opened.set_result(None), self.gone.set_result)
        self.channel.attach(Dialer(poller).dial("127.0.0.1", port, self.channel, timeout=5.0))
        self.session = Session("shop", "web-1", {xds.NODE_ANSWERS: "true", xds.NODE_CONTRACT: str(xds.CONTRACT)})
        self.admin = Admin(poller)
        self.answered: list[str] = []
        self.most_unsent = 0
        self.asked = Asked(self.admin, self._answer)
        self.call: GrpcCall | None = None

    def _answer(self, question: str, listener: CallListener) -> GrpcCall:
        self.answered.append(question)
        return self.channel.call(xds.ANSWER, [AUTHORIZED, (xds.ANSWER_TO, question)], listener)

    def message(self, data: bytes) -> None:
        assert self.call is not None
        if not self.served.done():
            self.served.set_result(None)
        for reply in [*self.session.receive(data), *self.session.pending()]:
            self.call.send(reply)
        while self.session.questions:
            self.asked.take(*self.session.questions.pop())

    def written(self) -> Iterator[bytes]:
        """Much, and how much of it waits for the control plane at any time."""
        for _ in range(MUCH // 32768):
            unsent = sum(self.channel._codec.pending(number) for number in self.channel._calls)
            self.most_unsent = max(self.most_unsent, unsent)
            yield b"x" * 32768


class Full(Nobody):
    """A client that tells of what it is sent."""

    def __init__(self) -> None:
        self.sent = asyncio.Event()

    def slice(self, data: bytes) -> bool:
        self.sent.set()
        return not data


@asynccontextmanager
async def sidecar(held: Served) -> AsyncIterator[Sidecar]:
    """A sidecar with a stream."""
    poller = Poller(asyncio.get_running_loop())
    made = Sidecar(poller, held.port)

    async def slow(request: Request) -> Answer:
        await asyncio.sleep(0)
        return as_json({"cluster": request.one("cluster")})

    made.admin.routes = {
        ("GET", "/config"): own(lambda _: Answer(slices=made.written(), kind="application/json")),
        ("GET", "/route"): own(lambda request: as_json({"host": request.one("host")}, 400)),
        ("GET", "/reach"): own(slow),
        ("POST", "/drain"): own(lambda _: as_json({})),
    }
    await made.opened
    made.call = made.channel.call(xds.ADS_DELTA, [AUTHORIZED], made)
    for message in made.session.connected():
        made.call.send(message)
    await made.served
    try:
        yield made
    finally:
        made.channel.close()
        await made.gone
        poller.close()


async def ask(held: Served, namespace: str, pod: str, asked: str) -> Told:
    """Ask, and keep what is said."""
    async with held.asking.ask(namespace, pod, asked) as told:
        return dataclasses.replace(told, body=bytes(told.body))


async def test_sidecar_answers_as_it_would_at_its_own_port() -> None:
    """Status, kind and body; a handler that takes time too."""
    async with served() as held, sidecar(held):
        route = await ask(held, "shop", "web-1", "/route?host=a%20b")
        reach = await ask(held, "shop", "web-1", "/reach?cluster=shop/web:80")

    assert (route.status, route.kind, json.loads(route.body)) == (400, "application/json", {"host": "a b"})
    assert json.loads(reach.body) == {"cluster": "shop/web:80"}


async def test_large_answer_is_made_as_it_is_taken() -> None:
    """Slices wait for the window of the control plane: little is held on the way."""
    async with served() as held, sidecar(held) as asked:
        told = await ask(held, "shop", "web-1", "/config")

        assert told == Told(status=200, kind="application/json", body=b"x" * MUCH)
        assert asked.most_unsent < MUCH // 16
        assert not asked.admin.turns.control.under_way


async def test_question_is_answered_while_others_hold_all_the_port_has() -> None:
    """Who reaches a sidecar's port and reads nothing does not keep its control plane out."""
    async with served() as held, sidecar(held) as asked:
        full = [Full() for _ in range(slices.MOST)]
        others = [asked.admin.turns.answer(asked.written(), one) for one in full]
        for one in full:
            await one.sent.wait()
        route = await ask(held, "shop", "web-1", "/route?host=a")
        for other in others:
            other.gone()

    assert json.loads(route.body) == {"host": "a"}


@pytest.mark.parametrize(
    ("pod", "asked", "status"),
    [
        ("web-1", "/metrics", 404),
        ("web-1", "/drain", 404),
        ("web-1", "/route?host=" + "x" * asking.LONGEST, 404),
        ("web-2", "/config", 421),
    ],
)
async def test_what_cannot_be_asked_is_refused_in_a_sentence(pod: str, asked: str, status: int) -> None:
    """Nothing that changes anything."""
    async with served() as held, sidecar(held):
        with pytest.raises(NotAnsweredError, match="sidecar") as told:
            await ask(held, "shop", pod, asked)

    assert told.value.status == status


async def test_path_this_sidecar_does_not_have_is_its_own_to_refuse() -> None:
    """As at its port."""
    async with served() as held, sidecar(held):
        told = await ask(held, "shop", "web-1", "/control-plane")

    assert told.status == 404


async def test_older_sidecar_is_told_to_be_made_anew() -> None:
    """It would take the question for a response to nothing, and its log would say so."""
    async with served() as held, connected(held) as channel:
        await DeltaClient(channel).ask(Type.LISTENER, "inbound/shop/web-1")
        with pytest.raises(NotAnsweredError, match="cannot be asked by the control plane; make the pod anew") as told:
            await ask(held, "shop", "web-1", "/config")

    assert told.value.status == 501


@asynccontextmanager
async def mute(held: Served) -> AsyncIterator[tuple[grpc.aio.Channel, DeltaClient]]:
    """A sidecar that says it can be asked, played by the test."""
    async with connected(held) as channel:
        client = DeltaClient(channel, answers="true")
        await client.ask(Type.LISTENER, "inbound/shop/web-1")
        yield channel, client


async def asked_for(client: DeltaClient) -> str:
    """Take the question that comes; its name."""
    while (response := await client.receive()).type_url != xds.QUESTION:
        pass
    name: str = response.resources[0].name
    return name


async def answered(channel: grpc.aio.Channel, name: str, *messages: bytes) -> grpc.StatusCode:
    """Answer; the status the control plane gives that."""
    call = channel.stream_unary(xds.ANSWER)(metadata=(AUTHORIZED, (xds.ANSWER_TO, name)))
    try:
        for message in messages:
            await call.write(message)
        await call.done_writing()
    except (grpc.aio.UsageError, asyncio.InvalidStateError, grpc.RpcError):
        pass
    return await call.code()


HEAD = b'{"status": 200, "kind": "text/plain"}'


async def test_answer_of_anybody_else_is_refused() -> None:
    """The name of the question is a secret; who knows it all the same must be that very pod."""
    async with served() as held, mute(held) as (channel, client):
        question = asyncio.ensure_future(ask(held, "shop", "web-1", "/config"))
        name = await asked_for(client)
        true = held.caller
        found = [await answered(channel, "0" * 32, HEAD, b"lies")]
        for wrong in (
            dataclasses.replace(true, pod="web-2"),
            dataclasses.replace(true, identity=replace(true.identity, account="other")),
        ):
            held.caller = wrong
            found.append(await answered(channel, name, HEAD, b"lies"))
        held.caller = true
        assert not question.done()
        assert grpc.StatusCode.OK not in found
        assert await answered(channel, name, HEAD, b"truth") is grpc.StatusCode.OK
        assert (await question).body == b"truth"


async def test_one_question_at_a_time() -> None:
    """To a sidecar; another is told to try again."""
    async with served() as held, mute(held) as (channel, client):
        question = asyncio.ensure_future(ask(held, "shop", "web-1", "/config"))
        name = await asked_for(client)
        with pytest.raises(NotAnsweredError, match="try again"):
            await ask(held, "shop", "web-1", "/config")
        await answered(channel, name, HEAD)

        assert (await question).body == b""


@pytest.mark.parametrize(
    "messages",
    [
        (),
        (b"no head",),
        (b'{"status": 99, "kind": "a"}',),
        (b'{"status": 200, "kind": "a\\nb: c"}',),
        (b'{"status": 200, "kind": "text/html"}', b"<script>"),
        (b'{"status": 204, "kind": "text/plain"}', b"HTTP/1.1 200 OK\r\n\r\n"),
        (b'{"status": 1e400, "kind": "text/plain"}',),
        (b"[" * 1020,),
        (HEAD, b"x" * 600, b"x" * 600),
    ],
)
async def test_answer_that_is_none_ends_the_question(
    messages: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for another, and nothing large is kept."""
    monkeypatch.setattr(asking, "BYTES", 1000)
    async with served() as held, mute(held) as (channel, client):
        question = asyncio.ensure_future(ask(held, "shop", "web-1", "/config"))
        refused = await answered(channel, await asked_for(client), *messages)
        with pytest.raises(NotAnsweredError) as told:
            await question

    assert refused is not grpc.StatusCode.OK
    assert told.value.status == 502


async def test_silence_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next question may be put."""
    monkeypatch.setattr(asking, "SECONDS", 0.2)
    async with served() as held, mute(held) as (_, client):
        for _ in range(2):
            with pytest.raises(NotAnsweredError, match="did not answer") as told:
                await ask(held, "shop", "web-1", "/config")
            await asked_for(client)

    assert told.value.status == 504
