"""The admin port, spoken to over a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from dataplane import views
from dataplane.admin import UNREAD, Admin, Answer, Request, as_json, text
from dataplane.config import Secret, SidecarConfig
from dataplane.net.listen import ListenSocket, bind
from dataplane.net.poller import Poller
from dataplane.probes import Probes
from dataplane.settings import Probe


async def slow(request: Request) -> Answer:
    await asyncio.sleep(0)
    return text(f"slow {request.one('x')}")


def broken(request: Request) -> Answer:
    raise ValueError("on purpose")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    poller = Poller(asyncio.get_running_loop())
    admin = Admin(poller.timers)
    admin.routes = {
        ("GET", "/json"): lambda request: as_json({"peer": request.peer, "local": request.local}),
        ("GET", "/slow"): slow,
        ("GET", "/under/"): lambda request: text(request.path),
        ("GET", "/broken"): broken,
    }
    listener = ListenSocket(poller, bind("127.0.0.1", 0), admin.accept)
    yield listener.address[1]
    listener.close()
    poller.close()


@pytest.fixture
async def large() -> AsyncIterator[tuple[int, list[int]]]:
    """A port with a long answer, and a list: the turn it is now, then the turn each answer was made in."""
    poller = Poller(asyncio.get_running_loop())
    admin, made = Admin(poller.timers), [0]

    def answer(_: Request) -> Answer:
        made.append(made[0])
        return Answer(body=b"z" * 500_000)

    admin.routes = {("GET", "/large"): answer}
    listener = ListenSocket(poller, bind("127.0.0.1", 0), admin.accept)
    yield listener.address[1], made
    listener.close()
    poller.close()


async def ask(port: int, raw: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_json_is_answered_and_the_caller_is_known(port: int) -> None:
    """A local caller is told apart."""
    answer = await ask(port, b"GET /json HTTP/1.1\r\nhost: a\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(answer.split(b"\r\n\r\n")[1]) == {"peer": "127.0.0.1", "local": True}


async def test_pipelined_requests_are_answered_in_order(port: int) -> None:
    """A slow answer does not let a quick one overtake it."""
    answer = await ask(port, b"GET /slow?x=1 HTTP/1.1\r\nhost: a\r\n\r\nGET /under/b HTTP/1.1\r\nhost: a\r\n\r\n")

    assert answer.index(b"slow 1") < answer.index(b"/under/b")


async def test_answers_wait_for_a_peer_that_does_not_take_them(large: tuple[int, list[int]]) -> None:
    """A hundred documents asked for in one packet are made as they are read, and one a turn of the loop."""
    port, made = large
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=65536)
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            made[0] = turns
            await asyncio.sleep(0)

    turning = asyncio.ensure_future(turn())
    writer.write(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n" * 100)
    await asyncio.sleep(0.3)
    assert 1 < len(made) <= 1 + 30, "what sockets hold, and a high mark"

    got = 0
    while got < 100 * 500_000:
        got += len(await asyncio.wait_for(reader.read(1 << 20), 5))
    turning.cancel()
    writer.close()
    await writer.wait_closed()
    assert len(made) == 101
    assert len(set(made[1:])) == 100


async def test_large_answers_are_held_for_a_few_who_do_not_read(
    large: tuple[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a copy in the sidecar's memory. Who goes makes room, and so does time."""
    port, _ = large
    monkeypatch.setattr("dataplane.admin.IDLE_SECONDS", 1.0)
    request = b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n" * 30
    held = [await asyncio.open_connection("127.0.0.1", port, limit=4096) for _ in range(UNREAD)]
    for _, writer in held:
        writer.write(request)

    async def status() -> bytes:
        return (await ask(port, b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n"))[9:12]

    while (await status()) != b"503":
        continue
    while (await status()) != b"200":
        continue
    for _, writer in held:
        writer.close()


async def test_request_cut_in_the_middle_is_answered_after_one_sent_ahead(port: int) -> None:
    """The rest of a head that came with the request before it is waited for."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    one = b"GET /under/%d HTTP/1.1\r\nhost: a\r\n\r\n"
    writer.write(one % 1 + (one % 2)[:20])
    assert b"/under/1" in await asyncio.wait_for(reader.readuntil(b"/1\n"), 5)
    await asyncio.sleep(0.05)
    writer.write((one % 2)[20:])
    assert b"/under/2" in await asyncio.wait_for(reader.readuntil(b"/2\n"), 5)
    writer.close()
    await writer.wait_closed()


async def test_unknown_path_lists_what_there_is(port: int) -> None:
    """A person with curl finds the way."""
    answer = await ask(port, b"GET /nope HTTP/1.1\r\nhost: a\r\n\r\n")

    assert b" 404 " in answer.splitlines()[0]
    assert b"GET /json" in answer


async def test_broken_handler_and_broken_request_disturb_nobody(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """500 for our fault, 400 for theirs, and the next request is served."""
    assert b" 500 " in (await ask(port, b"GET /broken HTTP/1.1\r\nhost: a\r\n\r\n")).splitlines()[0]
    assert b" 400 " in (await ask(port, b"\x00\x01\x02\r\n\r\n")).splitlines()[0]
    assert b" 200 " in (await ask(port, b"GET /json HTTP/1.1\r\nhost: a\r\n\r\n")).splitlines()[0]


def request(path: str) -> Request:
    return Request(method="GET", path=path, query={}, headers={}, peer="10.0.0.1")


async def test_probe_is_passed_on_to_the_app() -> None:
    """Path and headers reach it, its status comes back, silence and refusal are told apart."""
    seen: list[bytes] = []

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        if b"/hang" not in seen[-1]:
            writer.write(b"HTTP/1.1 302 Found\r\n\r\n" if b"/ok" in seen[-1] else b"HTTP/1.1 503 No\r\n\r\n")
            await writer.drain()
        else:
            await reader.read()
        writer.close()

    served = await asyncio.start_server(app, "127.0.0.1", 0)
    async with served:
        port = served.sockets[0].getsockname()[1]
        table = {
            "/a": Probe(port=port, path="/ok", headers=(("Host", "me"), ("X-A", "b"))),
            "/b": Probe(port=port, path="/bad"),
            "/c": Probe(port=port, path="/hang", timeout=0.05),
            "/t": Probe(port=port, tcp=True),
            "/r": Probe(port=1, tcp=True),
        }
        probes = Probes(table, "127.0.0.1")
        found = {path: (await probes.answer(request(path))).status for path in [*table, "/none"]}

    assert found == {"/a": 200, "/b": 503, "/c": 504, "/t": 200, "/r": 502, "/none": 404}
    assert b"Host: me\r\n" in seen[0]
    assert b"X-A: b\r\n" in seen[0]


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 200),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 503 No\r\n\r\n", 503),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", 502),
        (b"HTTP/1.1 9999 What\r\n\r\n", 502),
        (b"HTTP/1.1 007 What\r\n\r\n", 502),
    ],
)
async def test_probe_is_answered_with_the_final_status(said: bytes, status: int) -> None:
    """As the kubelet reads it: hints come before, and what is no status is no answer. Passed on, it would wait for more until it kills the app."""
    seen: list[bytes] = []

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(said)
        await writer.drain()
        writer.close()

    served = await asyncio.start_server(app, "127.0.0.1", 0)
    async with served:
        port = served.sockets[0].getsockname()[1]
        answer = await Probes({"/a": Probe(port=port, path="/é b?c=%41")}, "127.0.0.1").answer(request("/a"))

    assert answer.status == status
    assert seen[0].startswith(b"GET /%C3%A9%20b?c=%41 HTTP/1.1\r\n")


def test_configuration_is_written_down_once_for_all_who_ask() -> None:
    """A thousand destinations take a tenth of a second or more, in which no traffic moves; whoever reaches the port may ask."""
    config = SidecarConfig(secrets={"trust": Secret(name="trust", roots=b"R")})
    tables = SimpleNamespace(config=config)
    let_go: list[Any] = []
    timers = SimpleNamespace(after=lambda _, callback: let_go.append(callback))
    shown = views.Configuration(SimpleNamespace(tables=tables, timers=timers))  # type: ignore[arg-type]
    first = shown.answer(request("/config"))

    assert b'"roots": "R"' in first.body
    assert shown.answer(request("/config")) is first
    tables.config = SidecarConfig()
    second = shown.answer(request("/config"))
    assert b'"R"' not in second.body
    assert len(let_go) == 2
    let_go[1]()

    assert shown.answer(request("/config")) is not second
