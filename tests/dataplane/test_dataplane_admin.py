"""The admin port, spoken to over a real socket."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator

import pytest

from dataplane import dump, slices
from dataplane.admin import Admin, Answer, Request, as_json, own, text
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


def failing() -> Iterator[bytes]:
    yield b"a" * 10
    raise ValueError("on purpose")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    poller = Poller(asyncio.get_running_loop())
    admin = Admin(poller)
    admin.routes = {
        ("GET", "/json"): lambda request: as_json({"peer": request.peer, "local": request.local}),
        ("GET", "/slow"): slow,
        ("GET", "/under/"): lambda request: text(request.path),
        ("GET", "/broken"): broken,
        ("GET", "/long"): lambda _: Answer(slices=iter([b"a" * 10, b"b" * 20]), encoding="gzip"),
        ("GET", "/cut"): lambda _: Answer(slices=failing()),
    }
    listener = ListenSocket(poller, bind("127.0.0.1", 0), admin.accept)
    yield listener.address[1]
    listener.close()
    poller.close()


@pytest.fixture
async def large() -> AsyncIterator[tuple[int, list[int]]]:
    """A port with a long answer, and a list: the turn it is now, then the turn each slice was made in."""
    poller = Poller(asyncio.get_running_loop())
    admin, made = Admin(poller), [0]

    def written() -> Iterator[bytes]:
        for _ in range(10):
            made.append(made[0])
            yield b"z" * 50_000

    def answer(_: Request) -> Answer:
        return Answer(slices=written())

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


async def test_slices_wait_for_a_peer_that_does_not_take_them(large: tuple[int, list[int]]) -> None:
    """A hundred documents asked for in one packet are made as they are read, and one slice a turn of the loop."""
    port, made = large
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=65536)

    async def turn() -> None:
        while True:
            made[0] += 1
            await asyncio.sleep(0)

    turning = asyncio.ensure_future(turn())
    writer.write(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n" * 100)
    await asyncio.sleep(0.3)
    assert 1 < len(made) <= 1 + 200, "what sockets hold, and a high mark"

    got = 0
    while got < 100 * 500_000:
        got += len(await asyncio.wait_for(reader.read(1 << 20), 5))
    turning.cancel()
    writer.close()
    await writer.wait_closed()
    assert len(made) == 1001


async def test_long_answers_are_written_for_a_few_who_do_not_read(
    large: tuple[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others wait a while and are told. Who goes makes room, and so does time."""
    port, _ = large
    monkeypatch.setattr(slices, "SECONDS", 1.0)
    monkeypatch.setattr(slices, "WAIT_SECONDS", 0.1)
    request = b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n" * 30
    held = [await asyncio.open_connection("127.0.0.1", port, limit=4096) for _ in range(slices.MOST)]
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


async def test_client_that_does_not_read_makes_room_for_one_that_waits(
    large: tuple[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as may be under way ask and take nothing: no scrape is refused for them."""
    port, made = large
    monkeypatch.setattr(slices, "HELD_SECONDS", 0.2)
    raw = b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n"
    held = [await asyncio.open_connection("127.0.0.1", port, limit=4096) for _ in range(slices.MOST)]
    for _, writer in held:
        writer.write(raw * 30)
    while await _more(made):
        pass
    for _ in range(3):
        answer = await ask(port, raw.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        assert answer[9:12] == b"200"
        assert answer.endswith(b"0\r\n\r\n")
    for _, writer in held:
        writer.close()


async def _more(made: list[int]) -> bool:
    """Whether slices are still made."""
    before = len(made)
    await asyncio.sleep(0.1)
    return len(made) > before


async def test_long_answer_has_no_length_and_says_how_it_is_encoded(port: int) -> None:
    """Chunked for who speaks HTTP/1.1, to the end of the connection for others; nothing for HEAD."""
    chunked = await ask(port, b"GET /long HTTP/1.1\r\nhost: a\r\n\r\n")
    old = await ask(port, b"GET /long HTTP/1.0\r\n\r\n")
    bare = await ask(port, b"HEAD /long HTTP/1.1\r\nhost: a\r\n\r\n")

    assert b"content-encoding: gzip\r\n" in chunked
    assert chunked.partition(b"\r\n\r\n")[2] == b"a\r\naaaaaaaaaa\r\n14\r\n" + b"b" * 20 + b"\r\n0\r\n\r\n"
    assert old.partition(b"\r\n\r\n")[2] == b"a" * 10 + b"b" * 20
    assert bare.startswith(b"HTTP/1.1 200")
    assert bare.endswith(b"\r\n\r\n")


async def test_answers_after_a_long_one_come_after_its_end(port: int) -> None:
    """On one connection, asked for at once."""
    both = b"GET /long HTTP/1.1\r\nhost: a\r\n\r\nGET /under/b HTTP/1.1\r\nhost: a\r\n\r\n"
    answer = await ask(port, both)

    assert answer.index(b"0\r\n\r\nHTTP/1.1 200") < answer.index(b"/under/b")


async def test_broken_long_answer_is_cut(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """Its client must not take what came for the whole; nobody else is disturbed."""
    with pytest.raises(ConnectionResetError):
        await ask(port, b"GET /cut HTTP/1.1\r\nhost: a\r\n\r\n")
    assert b" 200 " in (await ask(port, b"GET /json HTTP/1.1\r\nhost: a\r\n\r\n")).splitlines()[0]


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


@pytest.mark.parametrize("path", [b"/json", b"/long", b"/slow", b"/nope"])
@pytest.mark.parametrize(
    "body", [b"content-length: 5\r\n\r\n", b"content-length: 5\r\n\r\nab", b"transfer-encoding: chunked\r\n\r\n"]
)
async def test_connection_ends_after_an_answer_that_came_before_the_body(port: int, path: bytes, body: bytes) -> None:
    """Nobody would read the rest, nor see that the client is gone."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET " + path + b" HTTP/1.1\r\nhost: a\r\n" + body)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 404" if path == b"/nope" else b"HTTP/1.1 200")
    assert b"connection: close\r\n" in answer


async def test_connection_goes_on_after_a_body_that_came_with_its_request(port: int) -> None:
    """It is thrown away."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(b"GET /under/b HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello")
        assert b"connection: close" not in await asyncio.wait_for(reader.readuntil(b"/b\n"), 5)
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


def test_configuration_is_written_as_far_as_it_is_read() -> None:
    """A thousand destinations take a tenth of a second or more: they are walked a slice at a time, of what was in force at the beginning. No key is shown."""
    config = SidecarConfig(
        secrets={f"s{number}": Secret(name=f"s{number}", roots=b"R" * 100, key=b"KEY") for number in range(2000)}
    )
    clock = itertools.count(step=dump.SECONDS / 4)
    written = list(dump.slices(config, lambda: next(clock)))
    shown = json.loads(b"".join(written))

    assert shown["secrets"]["s1999"]["roots"] == "R" * 100
    assert "key" not in shown["secrets"]["s0"]
    assert shown["clusters"] == {}
    assert len(written) > 200
    assert max(map(len, written)) < dump.BYTES


def test_paths_that_are_the_pods_own_are_refused_to_others() -> None:
    """With a sentence that says where to ask."""
    handler = own(lambda _: text("here"))
    inside = Request(method="GET", path="/config", query={}, headers={}, peer="::1")
    answers = [handler(request("/config")), handler(inside)]

    assert [answer.status for answer in answers if isinstance(answer, Answer)] == [403, 200]
    assert isinstance(answers[0], Answer)
    assert b"only this pod itself" in answers[0].body
    assert b"by its loopback" in answers[0].body
