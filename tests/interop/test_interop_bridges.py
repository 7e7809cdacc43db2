"""Both HTTP versions to both, through one sidecar, through the pair with mutual TLS, and with Envoy on either side of us."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import pytest
from hyperframe.frame import DataFrame

from tests.interop.backends import BIG, Book, Pairs, http1_backend, http2_backend
from tests.interop.cases import head, request
from tests.interop.clients import Heard, Http2Client, http1
from tests.interop.mesh import MeshPair, mesh_pair
from tests.support.sidecar import Sidecar

Backend = Callable[[int, Book], AbstractAsyncContextManager[object]]
BACKENDS: dict[str, Backend] = {"1": http1_backend, "2": http2_backend}
FOUR = [("1", "1"), ("1", "2"), ("2", "1"), ("2", "2")]
POST = request("POST /a?x=1 HTTP/1.1", "echo", "Content-Length: 5\r\n", "hello").replace(b"X-Case: @", b"X-Case: c")


async def ask(  # noqa: PLR0913 - one request
    client: str, port: int, path: str, do: str, *, body: bytes | None = None, trailers: Pairs | None = None
) -> Heard:
    """Ask once, in HTTP/1 (chunked) or HTTP/2."""
    method = "GET" if body is None else "POST"
    if client == "2":
        made = await Http2Client.connect(port)
        made.send(made.head(1, [*head(path, do, method), ("x-case", "c")], *(["END_STREAM"] if body is None else [])))
        if body is not None and trailers is None:
            await made.upload(1, body)
        elif body is not None and trailers is not None:
            made.send(DataFrame(1, body), made.head(1, trailers, "END_STREAM"))
        await made.until(1)
        return await made.ending(0)
    more, sent = "", b""
    if body is not None:
        more = "Transfer-Encoding: chunked\r\n"
        ending = "".join(f"{name}: {value}\r\n" for name, value in trailers or [])
        sent = b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, ending.encode())
    return await http1(
        port, [request(f"{method} {path} HTTP/1.1", do, more, sent).replace(b": @", b": c")], (method,), watch=False
    )


@pytest.mark.parametrize(("client", "server"), FOUR)
class TestOneSidecar:
    """Through one sidecar, without TLS."""

    @asynccontextmanager
    async def serving(self, proxy: tuple[Sidecar, dict[str, int]], server: str) -> AsyncIterator[tuple[int, Book]]:
        _, ports = proxy
        book = Book()
        async with BACKENDS[server](ports["app"], book):
            yield ports[{"1": "one", "2": "two"}[server]], book

    async def test_request_and_answer_pass(
        self, proxy: tuple[Sidecar, dict[str, int]], client: str, server: str
    ) -> None:
        """Method, path, headers, body, and the answer."""
        async with self.serving(proxy, server) as (port, book):
            heard = await ask(client, port, "/a?x=%2f", "echo", body=b"hello")
        seen = book.seen["c"][0]

        assert (heard.replies[0].status, heard.replies[0].body) == (200, b"hello")
        assert seen.line == f"POST /a?x=%2f HTTP/{'1.1' if server == '1' else '2'}"
        assert (seen.one("host"), bytes(seen.body), seen.end) == ("web.example", b"hello", "complete")

    async def test_trailers_pass_both_ways(
        self, proxy: tuple[Sidecar, dict[str, int]], client: str, server: str
    ) -> None:
        """Fields after the body, of the request and of the answer."""
        async with self.serving(proxy, server) as (port, book):
            heard = await ask(client, port, "/a", "trailers", body=b"abc", trailers=[("x-end", "1")])
        sent = [(name.lower(), value) for name, value in book.seen["c"][0].trailers]
        got = [(name.lower(), value) for name, value in heard.replies[0].trailers]

        assert sent == [("x-end", "1")]
        assert got == [("x-sum", "7"), ("x-two", "b")]

    async def test_large_bodies_pass_both_ways(
        self, proxy: tuple[Sidecar, dict[str, int]], client: str, server: str
    ) -> None:
        """Two megabytes up and down again, unchanged."""
        async with self.serving(proxy, server) as (port, book):
            heard = await ask(client, port, "/a", "echo", body=BIG)

        assert heard.replies[0].body == BIG
        assert bytes(book.seen["c"][0].body) == BIG

    async def test_broken_answer_is_told_to_the_client(
        self, proxy: tuple[Sidecar, dict[str, int]], client: str, server: str
    ) -> None:
        """An answer the server breaks off does not look complete."""
        async with self.serving(proxy, server) as (port, _):
            heard = await ask(client, port, "/a", "cut")
        reply = heard.replies[0]

        assert (reply.status, reply.body) == (200, b"half")
        assert reply.reset if client == "2" else reply.reset == -1


@pytest.fixture(scope="module", params=["tulle-tulle", "envoy-tulle", "tulle-envoy"])
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, MeshPair]]:
    """Pairs with mutual TLS: client's proxy and server's proxy. Envoy cannot tell which HTTP the app spoke, so it sends HTTP/1."""
    client, _, server = request.param.partition("-")
    directory = tmp_path_factory.mktemp(request.param)
    with mesh_pair(directory, client=client, server=server, app="http1" if "envoy" in request.param else "any") as made:
        yield request.param, made


async def test_http1_comes_out_as_it_went_in(two: tuple[str, MeshPair]) -> None:
    """Request line, headers in order and case, body and framing; between the two it rode on HTTP/2."""
    kind, pair = two
    book = Book()
    more = "aCCept: */*\r\nX-B: 1\r\nx-b: 2\r\nCookie: a=1; b=2\r\n"
    sent = POST.replace(b"Content-Length", more.encode() + b"Content-Length")
    async with http1_backend(pair.ports["app"], book):
        heard = await http1(pair.ports["any"], [sent], ("POST",), watch=False)
    seen = book.seen["c"][0]
    names = [name.lower() for name, _ in seen.headers if not name.lower().startswith("x-forwarded")]

    assert (seen.line, bytes(seen.body), heard.replies[0].body) == ("POST /a?x=1 HTTP/1.1", b"hello", b"hello")
    assert [value for name, value in seen.headers if name.lower() == "x-b"] == ["1", "2"]
    assert names[:3] == ["host", "x-case", "x-do"]
    if kind.endswith("-tulle"):
        assert not any(name.startswith("x-tulle") for name in names)
    if kind == "tulle-tulle":
        assert "content-length" in names
        assert "transfer-encoding" not in names


async def test_http2_comes_out_as_http2(pair: MeshPair) -> None:
    """What the client spoke is what the server hears, on the same port as HTTP/1 before."""
    book = Book()
    async with http2_backend(pair.ports["app"], book):
        heard = await ask("2", pair.ports["any"], "/a", "trailers", body=b"abc", trailers=[("x-end", "1")])
    seen = book.seen["c"][0]

    assert (seen.line, seen.trailers) == ("POST /a HTTP/2", [("x-end", "1")])
    assert heard.replies[0].trailers == [("x-sum", "7"), ("x-two", "b")]
    assert not any(name.startswith("x-tulle") for name, _ in seen.headers)


async def test_many_requests_share_connections(pair: MeshPair) -> None:
    """Forty clients of HTTP/1 ride on few connections between the sidecars, and all are answered with their own."""
    book = Book()
    assert pair.outbound is not None
    before = pair.outbound.total("tulle_proxy_events_total", "upstream_dials")
    async with http1_backend(pair.ports["app"], book):
        results = await asyncio.gather(
            *(ask("1", pair.ports["any"], f"/{n}", "echo", body=b"x" * n) for n in range(1, 41)),
        )
    after = pair.outbound.total("tulle_proxy_events_total", "upstream_dials")

    assert [len(heard.replies[0].body) for heard in results] == list(range(1, 41))
    assert after - before <= 2


@pytest.mark.parametrize(
    "do", ["chunked", "trailers", "head", "204", "304", "103", "close-delimited", "cookies", "big", "500"]
)
async def test_answers_come_back_as_from_the_server(two: tuple[str, MeshPair], do: str) -> None:
    """Each kind of answer, through HTTP/2 between the two, reads as if the server had been asked itself."""
    kind, pair = two
    method = "HEAD" if do == "head" else "GET"
    sent = request(f"{method} /a HTTP/1.1", do).replace(b": @", b": c")
    async with http1_backend(pair.ports["app"], Book()):
        direct = await http1(pair.ports["app"], [sent], (method,), watch=False)
        heard = await http1(pair.ports["any"], [sent], (method,), watch=False)
    wanted, got = direct.replies[0], heard.replies[0]

    assert (got.status, got.body, [(n.lower(), v) for n, v in got.trailers]) == (
        wanted.status, wanted.body, [(n.lower(), v) for n, v in wanted.trailers],
    )  # fmt: skip
    assert values(got.headers) == values(wanted.headers)
    if kind == "tulle-tulle":
        assert [one.status for one in heard.interim] == [one.status for one in direct.interim]


def values(headers: Pairs) -> Pairs:
    """What is the server's own: framing and what Envoy adds are left out."""
    framing = {"connection", "transfer-encoding", "server", "date", "content-length", "trailer"}
    return [(name.lower(), value) for name, value in headers if name.lower() not in framing]


async def test_broken_connection_of_the_client_reaches_the_server(pair: MeshPair) -> None:
    """A client that hangs up in the middle of its body does not leave the server with half a request that looks whole."""
    book = Book()
    async with http1_backend(pair.ports["app"], book):
        reader, writer = await asyncio.open_connection("127.0.0.1", pair.ports["any"])
        writer.write(request("POST /a HTTP/1.1", "echo", "Content-Length: 100\r\n", "half").replace(b": @", b": c"))
        async with asyncio.timeout(10):
            while "c" not in book.seen or bytes(book.seen["c"][0].body):  # noqa: ASYNC110 - the book tells of nothing
                await asyncio.sleep(0.01)
        writer.transport.abort()
        del reader

    assert book.seen["c"][0].end == "incomplete"


async def test_client_without_certificate_is_refused(pair: MeshPair) -> None:
    """Whoever shows no certificate of the mesh gets no byte through."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["tulle-h2"])
    book = Book()
    async with http1_backend(pair.ports["app"], book):
        got = b""
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", pair.ports["http-in"], ssl=context)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            got = await reader.read()

    assert (got, book.seen) == (b"", {})
