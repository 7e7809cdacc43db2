"""The requests both proxies are given: a name, what is sent, and how to listen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
)

from tests.interop.backends import Pairs
from tests.interop.clients import HOSTILE_SECONDS, Heard, Http2Client, http1

Play = Callable[[int], Awaitable[Heard]]


@dataclass(frozen=True)
class Case:
    """One conversation; `own` means that the body the proxy makes itself is compared too."""

    name: str
    play: Play
    own: bool = False


def fill(text: str | bytes, name: str) -> bytes:
    """Put the case's name in place of `@` in an `x-case` header."""
    raw = text.encode("latin-1") if isinstance(text, str) else text
    return raw.replace(b"X-Case: @", b"X-Case: " + name.encode())


def raw(
    name: str,
    *parts: str | bytes,
    methods: tuple[str, ...] = ("GET",),
    half_close: bool = False,
    tail: bytes = b"",
    own: bool = False,
) -> Case:
    """A conversation in HTTP/1 bytes."""
    sent = [fill(part, name) for part in parts]
    return Case(name, lambda port: http1(port, sent, methods, half_close=half_close, tail=tail), own)


def one(  # noqa: PLR0913 - a request has that many parts
    name: str,
    start: str = "GET /a HTTP/1.1",
    do: str = "",
    more: str = "",
    body: str | bytes = "",
    *,
    methods: tuple[str, ...] = (),
    own: bool = False,
) -> Case:
    """One ordinary HTTP/1.1 request; `more` are header lines, each with its CR LF."""
    return raw(name, request(start, do, more, body), methods=methods or (start.partition(" ")[0],), own=own)


def request(start: str = "GET /a HTTP/1.1", do: str = "", more: str = "", body: str | bytes = "") -> bytes:
    behaviour = f"X-Do: {do}\r\n" if do else ""
    content = body.encode("latin-1") if isinstance(body, str) else body
    return f"{start}\r\nHost: web.example\r\nX-Case: @\r\n{behaviour}{more}\r\n".encode("latin-1") + content


_CHUNKS = "3\r\nabc\r\n5;ext=1\r\ndefgh\r\n0\r\n\r\n"
_CHUNKED = "Transfer-Encoding: chunked\r\n"
_UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

HTTP1 = [
    one("get"),
    raw("keep-alive", request(), methods=("GET",)),
    raw("pipeline", request("GET /a/1 HTTP/1.1") + request("GET /a/2 HTTP/1.1", "chunked") + request("GET /a/3 HTTP/1.1"),
        methods=("GET",) * 3),
    raw("pipeline-posts", request("POST /a/1 HTTP/1.1", "echo", "Content-Length: 3\r\n", "one")
        + request("POST /a/2 HTTP/1.1", "echo", _CHUNKED, _CHUNKS), methods=("POST",) * 2),
    one("connection-close", more="Connection: close\r\n"),
    one("http10", "GET /a HTTP/1.0"),
    one("http10-keep-alive", "GET /a HTTP/1.0", more="Connection: keep-alive\r\n"),
    one("http10-chunked-answer", "GET /a HTTP/1.0", "chunked"),
    raw("http10-no-host", "GET /a HTTP/1.0\r\nX-Case: @\r\n\r\n"),
    one("post-length", "POST /a HTTP/1.1", "echo", "Content-Length: 5\r\n", "hello"),
    one("post-chunked", "POST /a HTTP/1.1", "echo", _CHUNKED, _CHUNKS),
    one("post-trailers", "POST /a HTTP/1.1", "echo", "Trailer: X-Sum\r\n" + _CHUNKED, "3\r\nabc\r\n0\r\nX-Sum: 3\r\nX-Two: b\r\n\r\n"),
    one("post-empty", "POST /a HTTP/1.1", "echo", "Content-Length: 0\r\n"),
    one("post-without-length", "POST /a HTTP/1.1", "echo"),
    one("get-with-body", "GET /a HTTP/1.1", "echo", "Content-Length: 2\r\n", "hi"),
    one("delete-with-body", "DELETE /a HTTP/1.1", "echo", "Content-Length: 2\r\n", "hi"),
    one("answer-chunked", do="chunked"),
    one("answer-trailers", do="trailers", more="TE: trailers\r\n"),
    one("answer-trailers-unasked", do="trailers"),
    one("answer-until-close", do="close-delimited"),
    one("answer-then-close", do="close"),
    one("answer-http10", do="http10"),
    one("answer-500", do="500"),
    one("answer-599", do="599"),
    raw("expect-100", request("POST /a HTTP/1.1", "100", "Content-Length: 5\r\nExpect: 100-continue\r\n"), "hello", methods=("POST",)),
    raw("expect-417", request("POST /a HTTP/1.1", "417", "Content-Length: 5\r\nExpect: 100-continue\r\n"), "", methods=("POST",)),
    one("early-hints", do="103"),
    one("head", "HEAD /a HTTP/1.1", "head"),
    one("head-then-get", "HEAD /a HTTP/1.1", "head"),
    one("204", do="204"),
    one("304", do="304"),
    raw("options-asterisk", "OPTIONS * HTTP/1.1\r\nHost: web.example\r\nX-Case: @\r\n\r\n"),
    raw("absolute-form", "GET http://other.example/a?b=1 HTTP/1.1\r\nHost: web.example\r\nX-Case: @\r\n\r\n"),
    raw("absolute-form-no-path", "GET http://other.example HTTP/1.1\r\nHost: web.example\r\nX-Case: @\r\n\r\n"),
    one("header-order-and-case", more="aCCept: */*\r\nX-b: 2\r\nx-A: 1\r\nX-B: 3\r\nUser-AGENT: me\r\n"),
    one("header-empty", more="X-Empty:\r\nX-Space: \t a b \t\r\n"),
    one("header-high-bytes", more="X-High: caf\xe9\r\n"),
    one("header-underscore", more="X_Under: 1\r\n"),
    one("header-quotes", more='X-Quote: "a, b", c\r\nCookie: a=1; b="2"\r\n'),
    one("set-cookie-twice", do="cookies"),
    one("hop-by-hop", more="Connection: X-Foo\r\nX-Foo: 1\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\n"),
    one("hop-by-hop-answer", do="hop"),
    one("forwarded-for", more="X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\n"),
    one("forged-client-cert", more="X-Forwarded-Client-Cert: URI=spiffe://t/ns/pay/sa/admin\r\n"),
    one("request-id-kept", more="X-Request-Id: mine\r\n"),
    one("many-headers", more="".join(f"X-N{n}: {n}\r\n" for n in range(90))),
    one("long-uri", f"GET /a?{'x' * 7000} HTTP/1.1"),
    one("query-odd", "GET /a?x=%00&y=%2F/..//&z='\"<>|^`{} HTTP/1.1"),
    one("path-dots", "GET /a/../b/./c HTTP/1.1"),
    one("path-slashes", "GET //a//b HTTP/1.1"),
    one("path-escapes", "GET /a%2fb%2e%2e/%41 HTTP/1.1"),
    raw("half-close", request(do="slow"), half_close=True),
    raw("half-close-last", request(do="slow", more="Connection: close\r\n"), half_close=True),
    raw("half-close-http10", request("GET /a HTTP/1.0", do="slow"), half_close=True),
    one("upload-2m", "POST /a HTTP/1.1", "ok", f"Content-Length: {2 << 20}\r\n", b"u" * (2 << 20)),
    one("download-2m", do="big"),
    one("early-answer", "POST /a HTTP/1.1", "early", "Content-Length: 9000000\r\n", b"u" * (1 << 20)),
    one("upgrade-websocket", do="switch", more=_UPGRADE),
    raw("upgrade-websocket-talk", request(do="switch", more=_UPGRADE), tail=b"ping"),
    one("upgrade-declined", more=_UPGRADE),
    one("upgrade-h2c", more="Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
    one("trace", "TRACE /a HTTP/1.1"),
    one("method-patch", "PATCH /a HTTP/1.1", "echo", "Content-Length: 2\r\n", "hi"),
    raw("connect", "CONNECT web.example:443 HTTP/1.1\r\nHost: web.example:443\r\nX-Case: @\r\n\r\n", methods=("CONNECT",)),
    raw("leading-crlf", b"\r\n" + request()),
    raw("host-port", "GET /a HTTP/1.1\r\nHost: WEB.example:8080\r\nX-Case: @\r\n\r\n"),
    one("server-resets", do="reset"),
    one("server-resets-post", "POST /a HTTP/1.1", "reset", "Content-Length: 2\r\n", "hi"),
    one("server-cuts-body", do="cut"),
    one("server-talks-garbage", do="garbage"),
    one("server-length-and-chunked", do="cl-te"),
    one("server-two-lengths", do="cl-twice"),
    one("server-folds", do="fold"),
    one("server-bad-chunk", do="bad-chunk"),
    one("server-120-headers", do="many"),
]  # fmt: skip

ROUTES = [
    one("route-exact", "GET /exact HTTP/1.1", own=True),
    one("route-exact-query", "GET /exact?q=1 HTTP/1.1", own=True),
    one("route-exact-miss", "GET /exact/ HTTP/1.1", own=True),
    one("route-prefix", "GET /prefix-more HTTP/1.1", own=True),
    one("route-separated", "GET /sep/x HTTP/1.1", own=True),
    one("route-separated-self", "GET /sep?x HTTP/1.1", own=True),
    one("route-separated-miss", "GET /separate HTTP/1.1", own=True),
    one("route-regex", "GET /regex/12 HTTP/1.1", own=True),
    one("route-regex-query", "GET /regex/12?x=/a HTTP/1.1", own=True),
    one("route-regex-miss", "GET /regex/12/x HTTP/1.1", own=True),
    one("route-case", "GET /EXACT HTTP/1.1", own=True),
    one("route-encoded", "GET /%65xact HTTP/1.1", own=True),
    one("route-method", "PUT /method HTTP/1.1", more="Content-Length: 0\r\n", own=True),
    one("route-method-miss", "GET /method HTTP/1.1", own=True),
    one("route-header-exact", "GET /header HTTP/1.1", more="X-Pick: one\r\n", own=True),
    one("route-header-regex", "GET /header HTTP/1.1", more="X-Pick: abc7\r\n", own=True),
    one("route-header-present", "GET /header HTTP/1.1", more="X-There:\r\n", own=True),
    one("route-header-twice", "GET /header HTTP/1.1", more="X-Pick: one\r\nX-Pick: two\r\n", own=True),
    one("route-header-inverted", "GET /inverted HTTP/1.1", more="X-Not: other\r\n", own=True),
    one("route-header-inverted-absent", "GET /inverted HTTP/1.1", own=True),
    one("route-header-inverted-miss", "GET /inverted HTTP/1.1", more="X-Not: this\r\n", own=True),
    one("route-query-exact", "GET /query?a=1&b=2 HTTP/1.1", own=True),
    one("route-query-second", "GET /query?b=2&a=1 HTTP/1.1", own=True),
    one("route-query-repeated", "GET /query?a=2&a=1 HTTP/1.1", own=True),
    one("route-query-encoded", "GET /query?a=%31 HTTP/1.1", own=True),
    one("route-query-present", "GET /query?flag HTTP/1.1", own=True),
    one("route-weighted", "GET /weighted HTTP/1.1"),
    one("redirect-path", "GET /redirect/path?q=1 HTTP/1.1", own=True),
    one("redirect-prefix", "GET /redirect/prefix/x?q=1 HTTP/1.1", own=True),
    one("redirect-host-port", "GET /redirect/host?q=1 HTTP/1.1", own=True),
    one("redirect-https", "GET /redirect/https HTTP/1.1", own=True),
    one("redirect-head", "HEAD /redirect/https HTTP/1.1", own=True),
    one("redirect-post", "POST /redirect/https HTTP/1.1", more="Content-Length: 2\r\n", body="hi", own=True),
    one("direct", "GET /direct HTTP/1.1", own=True),
    one("direct-head", "HEAD /direct HTTP/1.1", own=True),
    one("direct-post", "POST /direct HTTP/1.1", more="Content-Length: 2\r\n", body="hi", own=True),
    one("direct-empty", "GET /direct-empty HTTP/1.1", own=True),
    one("rewrite-prefix", "GET /rewrite/prefix/x?q=1 HTTP/1.1"),
    one("rewrite-prefix-self", "GET /rewrite/prefix?q=1 HTTP/1.1"),
    one("rewrite-prefix-slash", "GET /rewrite/root/x HTTP/1.1"),
    one("rewrite-regex", "GET /rewrite/regex/a/b?q=/a HTTP/1.1"),
    one("rewrite-host", "GET /rewrite/host HTTP/1.1"),
    one("modify-request", "GET /modify/request HTTP/1.1", more="X-Set: old\r\nX-Set: older\r\nX-Add: old\r\nX-Gone: 1\r\nX-GONE: 2\r\n"),
    one("modify-request-absent", "GET /modify/request HTTP/1.1"),
    one("modify-response", "GET /modify/response HTTP/1.1", "cookies"),
    one("modify-direct", "GET /modify/direct HTTP/1.1", own=True),
    one("modify-weighted", "GET /modify/weighted HTTP/1.1"),
    one("timeout", "GET /timeout HTTP/1.1", "slow"),
    one("timeout-not-reached", "GET /timeout HTTP/1.1"),
    one("retry-503", "GET /retry HTTP/1.1", "flaky"),
    one("retry-503-post", "POST /retry HTTP/1.1", "flaky", "Content-Length: 5\r\n", "again"),
    one("retry-503-exhausted", "GET /retry HTTP/1.1", "503"),
    one("retry-reset", "GET /retry HTTP/1.1", "reset"),
    one("no-retry-unless-configured", do="flaky"),
    one("no-endpoints", "GET /empty HTTP/1.1"),
    one("connection-refused", "GET /dead HTTP/1.1"),
    one("cluster-unknown", "GET /unknown HTTP/1.1"),
    one("no-route", more="X-No-Route: 1\r\n"),
    one("no-route-post", "POST /a HTTP/1.1", more="X-No-Route: 1\r\nContent-Length: 5\r\n", body="hello"),
    one("bridge-1-2", "GET /h2/a?x=1 HTTP/1.1"),
    one("bridge-1-2-post", "POST /h2/a HTTP/1.1", "echo", "Content-Length: 5\r\n", "hello"),
    one("bridge-1-2-chunked", "POST /h2/a HTTP/1.1", "echo", _CHUNKED, _CHUNKS),
    one("bridge-1-2-request-trailers", "POST /h2/a HTTP/1.1", "echo", _CHUNKED, "3\r\nabc\r\n0\r\nX-Sum: 3\r\n\r\n"),
    one("bridge-1-2-answer-trailers", "GET /h2/a HTTP/1.1", "trailers", "TE: trailers\r\n"),
    one("bridge-1-2-head", "HEAD /h2/a HTTP/1.1"),
    one("bridge-1-2-204", "GET /h2/a HTTP/1.1", "204"),
    one("bridge-1-2-103", "GET /h2/a HTTP/1.1", "103"),
    one("bridge-1-2-reset", "GET /h2/a HTTP/1.1", "reset"),
    one("bridge-1-2-cut", "GET /h2/a HTTP/1.1", "cut"),
    one("bridge-1-2-cookies", "GET /h2/a HTTP/1.1", "cookies", "Cookie: a=1; b=2\r\n"),
    one("bridge-1-2-hop", "GET /h2/a HTTP/1.1", more="Connection: X-Foo\r\nX-Foo: 1\r\nKeep-Alive: 5\r\nTE: trailers, gzip\r\n"),
    one("bridge-1-2-http10", "GET /h2/a HTTP/1.0"),
    one("bridge-1-2-big", "GET /h2/a HTTP/1.1", "big"),
    one("bridge-1-2-goaway", "GET /leaving-1/a HTTP/1.1", "goaway"),
    one("bridge-1-2-options", "OPTIONS /h2/a HTTP/1.1"),
]  # fmt: skip

_POST = "POST /a HTTP/1.1"
_AFTER = "GET /smuggled HTTP/1.1\r\nHost: web.example\r\nX-Case: smuggled\r\n\r\n"


def bad(name: str, text: str | bytes) -> Case:
    """Bytes that ought to be refused; two answers are waited for, should the proxy see two requests."""
    sent = [fill(text, name)]
    return Case(name, lambda port: http1(port, sent, ("GET", "GET"), impatient=True))


HOSTILE = [
    bad("bad-length-and-chunked", request(_POST, "", "Content-Length: 5\r\n" + _CHUNKED, "0\r\n\r\n" + _AFTER)),
    bad("bad-chunked-and-length", request(_POST, "", _CHUNKED + "Content-Length: 5\r\n", "0\r\n\r\n" + _AFTER)),
    bad("bad-length-twice-same", request(_POST, "", "Content-Length: 2\r\nContent-Length: 2\r\n", "hi")),
    bad("bad-length-twice-other", request(_POST, "", "Content-Length: 2\r\nContent-Length: 9\r\n", "hi" + _AFTER)),
    bad("bad-length-list", request(_POST, "", "Content-Length: 2, 2\r\n", "hi")),
    bad("bad-length-plus", request(_POST, "", "Content-Length: +2\r\n", "hi")),
    bad("bad-length-minus", request(_POST, "", "Content-Length: -2\r\n", "hi")),
    bad("bad-length-hex", request(_POST, "", "Content-Length: 0x2\r\n", "hi")),
    bad("bad-length-empty", request(_POST, "", "Content-Length:\r\n", "hi")),
    bad("bad-length-huge", request(_POST, "", "Content-Length: 99999999999999999999999\r\n", "hi")),
    bad("bad-encoding-xchunked", request(_POST, "", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
    bad("bad-encoding-gzip-chunked", request(_POST, "", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")),
    bad("bad-encoding-chunked-identity", request(_POST, "", "Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n")),
    bad("bad-encoding-twice", request(_POST, "", _CHUNKED + _CHUNKED, "0\r\n\r\n")),
    bad("bad-encoding-space", request(_POST, "", "Transfer-Encoding : chunked\r\n", "0\r\n\r\n")),
    bad("bad-encoding-case", request(_POST, "", "Transfer-Encoding: CHUNKED\r\n", "0\r\n\r\n")),
    bad("bad-encoding-http10", request("POST /a HTTP/1.0", "", _CHUNKED, "0\r\n\r\n")),
    bad("bad-nul", request(more="X-Bad: a\0b\r\n")),
    bad("bad-vt", request(more="X-Bad: a\x0bb\r\n")),
    bad("bad-fold", request(more="X-Bad: a\r\n b\r\n")),
    bad("bad-lf", request().replace(b"\r\n", b"\n")),
    bad("bad-cr", request(more="X-Bad: a\rb\r\n")),
    bad("bad-hosts", request(more="Host: other.example\r\n")),
    bad("bad-no-host", "GET /a HTTP/1.1\r\nX-Case: @\r\n\r\n"),
    bad("bad-empty-host", "GET /a HTTP/1.1\r\nHost:\r\nX-Case: @\r\n\r\n"),
    bad("bad-host-space", "GET /a HTTP/1.1\r\nHost: a b\r\nX-Case: @\r\n\r\n"),
    bad("bad-host-slash", "GET /a HTTP/1.1\r\nHost: a/b\r\nX-Case: @\r\n\r\n"),
    bad("bad-host-user", "GET /a HTTP/1.1\r\nHost: u@a\r\nX-Case: @\r\n\r\n"),
    bad("bad-chunk-extension-cr", request(_POST, "", _CHUNKED, "3;a\rb\r\nabc\r\n0\r\n\r\n")),
    bad("bad-chunk-hex", request(_POST, "", _CHUNKED, "0x3\r\nabc\r\n0\r\n\r\n")),
    bad("bad-chunk-lf", request(_POST, "", _CHUNKED, "3\nabc\n0\n\n")),
    bad("bad-chunk-minus", request(_POST, "", _CHUNKED, "-3\r\nabc\r\n0\r\n\r\n")),
    bad("bad-chunk-space", request(_POST, "", _CHUNKED, "3 \r\nabc\r\n0\r\n\r\n")),
    bad("bad-chunk-huge", request(_POST, "", _CHUNKED, "fffffffffffffffff\r\nabc\r\n0\r\n\r\n")),
    bad("bad-chunk-end", request(_POST, "", _CHUNKED, "3\r\nabcXX0\r\n\r\n")),
    bad("bad-trailer", request(_POST, "", _CHUNKED, "0\r\nContent-Length: 5\r\nHost: x\r\n\r\n")),
    bad("bad-name-space", request(more="X Bad: 1\r\n")),
    bad("bad-name-empty", request(more=": 1\r\n")),
    bad("bad-no-colon", request(more="XBad\r\n")),
    bad("bad-name-high", request(more="X-\xe9: 1\r\n")),
    bad("bad-first-line-space", "GET /a HTTP/1.1\r\n Host: web.example\r\nX-Case: @\r\n\r\n"),
    bad("bad-method-unknown", request("FROB /a HTTP/1.1")),
    bad("bad-method-lower", request("get /a HTTP/1.1")),
    bad("bad-method-char", request("G@T /a HTTP/1.1")),
    bad("bad-fragment", request("GET /a#b HTTP/1.1")),
    bad("bad-space-in-path", request("GET /a b HTTP/1.1")),
    bad("bad-two-spaces", request("GET  /a HTTP/1.1")),
    bad("bad-tab", request("GET\t/a\tHTTP/1.1")),
    bad("bad-path-relative", request("GET a HTTP/1.1")),
    bad("bad-path-high", request("GET /\xe9 HTTP/1.1")),
    bad("bad-path-control", request("GET /a\x01 HTTP/1.1")),
    bad("bad-scheme", "GET ftp://web.example/a HTTP/1.1\r\nHost: web.example\r\nX-Case: @\r\n\r\n"),
    bad("bad-version-2", request("GET /a HTTP/2.0")),
    bad("bad-version-12", request("GET /a HTTP/1.2")),
    bad("bad-version-lower", request("GET /a http/1.1")),
    bad("bad-version-none", "GET /a\r\n\r\n"),
    bad("bad-101-headers", request(more="".join(f"X-N{n}: {n}\r\n" for n in range(110)))),
    bad("bad-headers-64k", request(more=f"X-Long: {'x' * 64000}\r\n")),
    bad("bad-uri-9k", request(f"GET /a?{'x' * 9000} HTTP/1.1")),
    bad("bad-upgrade-post-body", request("POST /a HTTP/1.1", "", _UPGRADE + "Content-Length: 2\r\n", "hi")),
    bad("bad-preface-on-http1", request() + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    bad("bad-bytes", b"\x00\x01\x02\x03\r\n\r\n"),
    bad("forged-tulle-header", request(more="X-Tulle-Original-Protocol: HTTP/1.1\r\nX-Tulle-Peer: a\r\n")),
]  # fmt: skip


# --- HTTP/2 -----------------------------------------------------------------------------------------------------------


def h2(name: str, *streams: tuple[Pairs, bytes | None, Pairs | None]) -> Case:
    """Requests side by side on one connection."""

    async def play(port: int) -> Heard:
        client = await Http2Client.connect(port)
        numbers = []
        for index, (headers, body, trailers) in enumerate(streams):
            numbers.append(2 * index + 1)
            client.request(numbers[-1], [*headers, ("x-case", name)], body, trailers)
        await client.until(*numbers)
        return await client.ending()

    return Case(name, play)


def head(path: str = "/h2/a", do: str = "", method: str = "GET", *more: tuple[str, str]) -> Pairs:
    fields = [(":method", method), (":scheme", "http"), (":authority", "web.example"), (":path", path)]
    return [*fields, *([("x-do", do)] if do else []), *more]


def simple(name: str, *arguments: object, body: bytes | None = None, trailers: Pairs | None = None) -> Case:
    return h2(name, (head(*arguments), body, trailers))  # type: ignore[arg-type]


def frames(name: str, act: Callable[[Http2Client, Pairs], object], *, wait: tuple[int, ...] = (1,)) -> Case:
    """Whatever frames `act` sends, given the headers of an ordinary request."""

    async def play(port: int) -> Heard:
        client = await Http2Client.connect(port)
        act(client, [*head(), ("x-case", name)])
        await client.until(*wait, seconds=HOSTILE_SECONDS)
        return await client.ending()

    return Case(name, play)


def headed(name: str, *pairs: tuple[str, str], body: bytes | None = None, drop: str = "", before: bool = False) -> Case:
    """An ordinary request with more fields, or without one."""

    def act(client: Http2Client, headers: Pairs) -> None:
        kept = [pair for pair in headers if pair[0] != drop]
        client.request(1, [*pairs, *kept] if before else [*kept, *pairs], body)

    return frames(name, act)


async def _upload(port: int, name: str, path: str) -> Heard:
    client = await Http2Client.connect(port)
    client.send(client.head(1, [*head(path, "ok", "POST"), ("x-case", name)]))
    await client.upload(1, b"u" * (2 << 20))
    await client.until(1)
    return await client.ending()


async def _cancel(port: int, name: str) -> Heard:
    """Cancel a request the server sits on; another goes on."""
    client = await Http2Client.connect(port)
    client.request(1, [*head("/h2/a", "hold"), ("x-case", name)])
    client.request(3, [*head(), ("x-case", name)])
    await client.until(3)
    client.send(RstStreamFrame(1, 8))
    client.request(5, [*head(), ("x-case", name)])
    await client.until(5)
    return await client.ending()


async def _ping(port: int, name: str) -> Heard:
    client = await Http2Client.connect(port)
    client.send(PingFrame(0, b"12345678"))
    client.request(1, [*head(), ("x-case", name)])
    await client.until(1)
    heard = await client.ending()
    heard.extra = f"pings answered {client.pings}, settings acknowledged {client.acknowledged}".encode()
    return heard


async def _goaway(port: int, name: str) -> Heard:
    """A client that says goodbye still gets its answer."""
    client = await Http2Client.connect(port)
    client.request(1, [*head("/h2/a", "slow"), ("x-case", name)])
    client.send(GoAwayFrame(0, 0))
    await client.until(1)
    return await client.ending()


async def _websocket(port: int, name: str) -> Heard:
    """Extended CONNECT to a server that speaks HTTP/1."""
    client = await Http2Client.connect(port)
    fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "web.example")]
    more = [(":path", "/a"), ("sec-websocket-version", "13"), ("x-do", "switch"), ("x-case", name)]
    client.send(client.head(1, fields + more))
    client.send(DataFrame(1, b"ping"))

    def enough() -> bool:
        return client.closed or 1 in client.over or (1 in client.streams and len(client.streams[1].body) >= 11)

    async with client.changed:
        await client.changed.wait_for(enough)
    return await client.ending()


def _padded(client: Http2Client, headers: Pairs) -> None:
    kept = [("x-do", "echo") if pair[0] == "x-do" else pair for pair in [*headers, ("x-do", "echo")]]
    made = client.head(1, kept, "PADDED")
    made.pad_length = 20
    client.send(made, DataFrame(1, b"padded", flags=["PADDED", "END_STREAM"], pad_length=30))


def _continued(client: Http2Client, headers: Pairs) -> None:
    from hyperframe.frame import ContinuationFrame

    block = client.head(1, headers).data
    client.send(
        HeadersFrame(1, block[:10], flags=["END_STREAM"]), ContinuationFrame(1, block[10:], flags=["END_HEADERS"])
    )


def _priority(client: Http2Client, headers: Pairs) -> None:
    client.send(PriorityFrame(1, stream_weight=5, depends_on=0), PriorityFrame(7, stream_weight=5, depends_on=1))
    client.request(1, headers)


def _unknown_frame(client: Http2Client, headers: Pairs) -> None:
    client.send(b"\x00\x00\x03\xbb\x00\x00\x00\x00\x00abc")
    client.request(1, headers)


def _then(frame: bytes, *, also: bool = False) -> Callable[[Http2Client, Pairs], None]:
    """Send raw bytes, after the head of a request where `also`."""

    def act(client: Http2Client, headers: Pairs) -> None:
        if also:
            client.send(client.head(1, headers))
        client.send(frame)

    return act


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


HTTP2 = [
    simple("h2-get"),
    simple("h2-post", "/h2/a", "echo", "POST", body=b"hello"),
    simple("h2-post-empty", "/h2/a", "echo", "POST", body=b""),
    simple("h2-request-trailers", "/h2/a", "echo", "POST", body=b"abc", trailers=[("x-sum", "3")]),
    simple("h2-answer-trailers", "/h2/a", "trailers"),
    simple("h2-head", "/h2/a", "", "HEAD"),
    simple("h2-204", "/h2/a", "204"),
    simple("h2-500", "/h2/a", "500"),
    simple("h2-103", "/h2/a", "103"),
    simple("h2-expect", "/h2/a", "100", "POST", ("expect", "100-continue"), body=b"hello"),
    simple("h2-early", "/h2/a", "early", "POST", body=b"u" * 60000),
    simple("h2-download-2m", "/h2/a", "big"),
    simple("h2-cookies", "/h2/a", "cookies", "GET", ("cookie", "a=1"), ("cookie", "b=2")),
    simple("h2-te-trailers", "/h2/a", "", "GET", ("te", "trailers")),
    simple("h2-server-reset", "/h2/a", "reset"),
    simple("h2-server-refused", "/h2/a", "refused"),
    simple("h2-server-cut", "/h2/a", "cut"),
    simple("h2-server-goaway", "/leaving-2/a", "goaway"),
    simple("h2-grpc-headers-only", "/h2/a", "grpc-only", "POST", ("content-type", "application/grpc"), body=b""),
    simple("h2-grpc-no-endpoints", "/empty", "", "POST", ("content-type", "application/grpc"), ("te", "trailers"), body=b""),
    simple("h2-grpc-no-route", "/a", "", "POST", ("content-type", "application/grpc"), ("x-no-route", "1"), body=b""),
    h2("h2-50-streams", *[(head(f"/h2/{n}", "echo", "POST"), b"x" * n, None) for n in range(50)]),
    Case("h2-upload-2m", lambda port: _upload(port, "h2-upload-2m", "/h2/a")),
    Case("h2-cancel", lambda port: _cancel(port, "h2-cancel")),
    Case("h2-ping", lambda port: _ping(port, "h2-ping")),
    Case("h2-client-goaway", lambda port: _goaway(port, "h2-client-goaway")),
    simple("h2-no-route", "/a", "", "GET", ("x-no-route", "1")),
    simple("h2-no-endpoints", "/empty"),
    simple("h2-timeout", "/timeout", "slow"),
    simple("h2-direct", "/direct"),
    simple("h2-redirect", "/redirect/prefix/x?q=1"),
    simple("h2-rewrite", "/rewrite/prefix/x?q=1"),
    simple("bridge-2-1", "/a?x=1"),
    simple("bridge-2-1-post", "/a", "echo", "POST", body=b"hello"),
    simple("bridge-2-1-post-length", "/a", "echo", "POST", ("content-length", "5"), body=b"hello"),
    simple("bridge-2-1-request-trailers", "/a", "echo", "POST", body=b"abc", trailers=[("x-sum", "3")]),
    simple("bridge-2-1-answer-trailers", "/a", "trailers"),
    simple("bridge-2-1-answer-until-close", "/a", "close-delimited"),
    simple("bridge-2-1-head", "/a", "head", "HEAD"),
    simple("bridge-2-1-204", "/a", "204"),
    simple("bridge-2-1-304", "/a", "304"),
    simple("bridge-2-1-103", "/a", "103"),
    simple("bridge-2-1-hop-answer", "/a", "hop"),
    simple("bridge-2-1-reset", "/a", "reset"),
    simple("bridge-2-1-cut", "/a", "cut"),
    simple("bridge-2-1-cookies", "/a", "cookies", "GET", ("cookie", "a=1"), ("cookie", "b=2")),
    simple("bridge-2-1-big", "/a", "big"),
    Case("bridge-2-1-upload-2m", lambda port: _upload(port, "bridge-2-1-upload-2m", "/a")),
    simple("bridge-2-1-delete", "/a", "", "DELETE"),
    simple("bridge-2-1-options", "/a", "", "OPTIONS"),
    Case("h2-websocket", lambda port: _websocket(port, "h2-websocket")),
    frames("h2-padding", _padded),
    frames("h2-continuation", _continued),
    frames("h2-priority", _priority),
    frames("h2-unknown-frame", _unknown_frame),
]  # fmt: skip

HOSTILE2 = [
    headed("bad2-uppercase", ("X-Upper", "1")),
    headed("bad2-connection", ("connection", "close")),
    headed("bad2-transfer-encoding", ("transfer-encoding", "chunked")),
    headed("bad2-upgrade", ("upgrade", "websocket")),
    headed("bad2-keep-alive", ("keep-alive", "5")),
    headed("bad2-proxy-connection", ("proxy-connection", "keep-alive")),
    headed("bad2-te-gzip", ("te", "gzip")),
    headed("bad2-crlf", ("x-bad", "a\r\nx-injected: 1")),
    headed("bad2-nul", ("x-bad", "a\0b")),
    headed("bad2-name-space", ("x bad", "1")),
    headed("bad2-name-empty", ("", "1")),
    headed("bad2-name-colon", ("x:bad", "1")),
    headed("bad2-value-space", ("x-bad", " a ")),
    headed("bad2-no-path", drop=":path"),
    headed("bad2-no-method", drop=":method"),
    headed("bad2-no-scheme", drop=":scheme"),
    headed("bad2-no-authority", drop=":authority"),
    headed("bad2-host-instead", ("host", "web.example"), drop=":authority"),
    headed("bad2-host-other", ("host", "other.example")),
    headed("bad2-host-same", ("host", "web.example")),
    headed("bad2-two-paths", (":path", "/b"), before=True),
    headed("bad2-pseudo-late", (":path", "/h2/a"), drop=":path"),
    headed("bad2-pseudo-unknown", (":odd", "1"), before=True),
    headed("bad2-status", (":status", "200"), before=True),
    headed("bad2-path-empty", (":path", ""), drop=":path", before=True),
    headed("bad2-path-relative", (":path", "h2/a"), drop=":path", before=True),
    headed("bad2-path-asterisk", (":path", "*"), drop=":path", before=True),
    headed("bad2-path-space", (":path", "/h2/a b"), drop=":path", before=True),
    headed("bad2-path-fragment", (":path", "/h2/a#b"), drop=":path", before=True),
    headed("bad2-path-crlf", (":path", "/h2/a HTTP/1.1\r\nx: y"), drop=":path", before=True),
    headed("bad2-method-odd", (":method", "GE T"), drop=":method", before=True),
    headed("bad2-method-unknown", (":method", "FROB"), drop=":method", before=True),
    headed("bad2-scheme-odd", (":scheme", "http://x/?"), drop=":scheme", before=True),
    headed("bad2-scheme-https", (":scheme", "https"), drop=":scheme", before=True),
    headed("bad2-authority-user", (":authority", "u@web.example"), drop=":authority", before=True),
    headed("bad2-length-short", ("content-length", "2"), body=b"hello"),
    headed("bad2-length-long", ("content-length", "9"), body=b"hello"),
    headed("bad2-length-odd", ("content-length", "+5"), body=b"hello"),
    headed("bad2-connect", (":method", "CONNECT"), drop=":method", before=True),
    headed("bad2-110-headers", *[(f"x-n{n}", str(n)) for n in range(110)]),
    headed("bad2-big-header", ("x-long", "x" * 12000)),
    frames("bad2-trailers-pseudo", lambda c, h: c.request(1, h, b"a", [(":path", "/b")])),
    frames("bad2-trailers-not-last", lambda c, h: c.send(c.head(1, h), DataFrame(1, b"a"), c.head(1, [("x-sum", "1")]))),
    frames("bad2-even-stream", lambda c, h: c.request(2, h)),
    frames("bad2-stream-backwards", lambda c, h: (c.request(5, h), c.request(3, h)), wait=(3, 5)),
    frames("bad2-data-idle", _then(_frame(0, 1, 1, b"abc"))),
    frames("bad2-data-zero", _then(_frame(0, 0, 0, b"abc"))),
    frames("bad2-reset-idle", _then(_frame(3, 0, 1, b"\0\0\0\x08"))),
    frames("bad2-window-zero", _then(_frame(8, 0, 0, b"\0\0\0\0"))),
    frames("bad2-window-stream-zero", _then(_frame(8, 0, 1, b"\0\0\0\0"), also=True)),
    frames("bad2-window-overflow", _then(_frame(8, 0, 0, b"\x7f\xff\xff\xff"))),
    frames("bad2-ping-size", _then(_frame(6, 0, 0, b"1234"))),
    frames("bad2-settings-size", _then(_frame(4, 0, 0, b"12345"))),
    frames("bad2-settings-ack-payload", _then(_frame(4, 1, 0, b"\0\1\0\0\0\0"))),
    frames("bad2-settings-window", lambda c, _: c.send(SettingsFrame(0, {4: 0x80000000}))),
    frames("bad2-settings-frame-size", lambda c, _: c.send(SettingsFrame(0, {5: 100}))),
    frames("bad2-frame-too-big", _then(_frame(0, 0, 1, b"x" * 17000))),
    frames("bad2-continuation-alone", _then(_frame(9, 4, 1, b"abc"))),
    frames("bad2-hpack", _then(_frame(1, 5, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff"))),
    frames("bad2-push", _then(_frame(5, 4, 1, b"\0\0\0\2abc"), also=True)),
    frames("bad2-pad-too-long", _then(_frame(0, 9, 1, b"\xffab"))),
    frames("bad2-priority-self", _then(_frame(2, 0, 1, b"\0\0\0\1\x10"), also=True)),
    Case("bad2-no-preface", lambda port: http1(port, [b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"])),
]  # fmt: skip

ALL = [*HTTP1, *ROUTES, *HOSTILE, *HTTP2, *HOSTILE2]
