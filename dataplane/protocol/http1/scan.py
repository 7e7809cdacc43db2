"""Read an HTTP/1 head in one pass: line, fields, and what they mean for the framing of the message (RFC 9112).

In: bytes as they come. Out: a `HeadScanner` whose attributes are the answer; it is reused from head to head. Refuses every form
two parsers could read differently (request smuggling): folded lines, bare CR or LF, NUL, space before the colon; Content-Length with
Transfer-Encoding, repeated or odd Content-Length, codings other than chunked, a missing, repeated or invalid Host; and what `line` does.
Checks run left to right, so what arrived so far fails exactly as the whole would.
"""

from dataplane.protocol.chars import TOKEN, VALUE, valid_authority
from dataplane.protocol.events import Headers
from dataplane.protocol.fields import content_length, split_tokens, strip_named
from dataplane.protocol.http1.line import FirstLine
from dataplane.protocol.limits import Limits

_CR = 13
_LF = 10
_SP = 32
_TAB = 9
_COLON = 58


class HeadScanner(FirstLine):
    """One head, taken apart.

    `request`, `response` and `trailers` read what begins at `pos` and return the index behind its empty line; 0 where that has not come;
    -1 where it is refused, and then `status`, `reason` and `counter` say why. `searched` is how far earlier calls looked for the end.
    """

    __slots__ = (
        "_connection",
        "_limits",
        "_max_bytes",
        "_max_count",
        "_te_count",
        "_trailers",
        "_upgrade",
        "chunked",
        "close",
        "headers",
        "host_count",
        "keep_alive",
        "length",
        "protocol",
    )

    def __init__(self, limits: Limits) -> None:
        self._max_bytes = limits.header_bytes
        self._max_count = limits.header_count
        self._limits = limits
        self._reset()

    def _reset(self) -> None:
        """Forget the last head."""
        self.method = b""
        self.scheme = b""
        self.authority = b""
        self.path = b""
        self.protocol = b""
        self.phrase = b""
        self.version = 0
        self.headers: Headers = []
        self.length = -1
        self.chunked = False
        self.close = False
        self.keep_alive = False
        self.host_count = 0
        self.status = 0
        self.reason = ""
        self.counter = ""
        self._te_count = 0
        self._trailers = False
        self._upgrade = b""
        self._connection: list[bytes] | None = None

    def request(self, data: bytes, pos: int, searched: int) -> int:
        """Read a request head."""
        end = self._end(data, pos, searched)
        if end <= 0:
            if end < 0:
                # Where not even the line has ended it is the target that is long (RFC 9112, section 3).
                status = 431 if data.find(b"\n", pos, pos + self._max_bytes) >= 0 else 414
                self._fail(status, self._limits.too_long("the request head"), "http1_header_bytes")
            return end
        self._reset()
        at = self._request_line(data, pos)
        return end if at > 0 and self._fields(data, at) and self._finish_request() else -1

    def response(self, data: bytes, pos: int, searched: int) -> int:
        """Read a response head; `status` is then the response's own."""
        end = self._end(data, pos, searched)
        if end <= 0:
            if end < 0:
                self._fail(502, self._limits.too_long("the response head"), "http1_header_bytes")
            return end
        self._reset()
        at = self._status_line(data, pos)
        if at < 0:
            return -1
        status = self.status
        self.status = 0
        if not self._fields(data, at) or not self._finish_framing():
            return -1
        self.status = status
        return end

    def trailers(self, data: bytes, pos: int, searched: int) -> int:
        """Read trailer fields; framing fields among them are dropped (RFC 9110, 6.5.1)."""
        end = self._end(data, pos, searched)
        if end <= 0:
            if end < 0:
                self._fail(431, self._limits.too_long("the trailer part"), "http1_header_bytes")
            return end
        self._reset()
        self._trailers = True
        return end if self._fields(data, pos) else -1

    def _end(self, data: bytes, pos: int, searched: int) -> int:
        """Find where the head that begins at `pos` ends: the index after its empty line, 0 for not yet, -1 for too long.

        A bare LF is an end as well: reading up to it fails there at once, so garbage is answered without waiting for an empty
        line that never comes.
        """
        p = data
        n = len(data)
        most = pos + self._max_bytes
        stop = min(most, n)
        start = searched - 3
        start = max(start, pos)
        # Of the four bytes that end a head every fourth place holds one: the others need no look.
        i = start + 3
        while i < stop:
            if p[i] == _CR:
                i += 1
            elif p[i] != _LF:
                i += 4
            elif p[i - 1] == _CR and p[i - 2] == _LF and p[i - 3] == _CR:
                return i + 1
            else:
                i += 2
        i = max(pos, searched)
        while i < stop:
            if p[i] == _LF and (i == pos or p[i - 1] != _CR):
                return i + 1
            i += 1
        return -1 if n >= most else 0

    def _fields(self, data: bytes, pos: int) -> bool:
        """Read field lines up to the empty line."""
        p = data
        tokens, values = TOKEN, VALUE
        token = tokens
        text = values
        headers = self.headers
        count = 0
        i = pos
        while p[i] != _CR or p[i + 1] != _LF:
            start = i
            capitals = False
            while token[p[i]]:
                if p[i] < 91 and p[i] > 64:
                    capitals = True
                i += 1
            if i == start or p[i] != _COLON:
                return self._bad_name(p[i], i == start)
            raw = p[start:i]
            name = raw.lower() if capitals else raw
            i += 1
            while p[i] == _SP or p[i] == _TAB:
                i += 1
            start = i
            while text[p[i]]:
                i += 1
            if p[i] != _CR or p[i + 1] != _LF:
                return self._fail(
                    400, "a field value holds a control character, a bare CR or a bare LF", "http1_field_value"
                )
            stop = i
            while stop > start and (p[stop - 1] == _SP or p[stop - 1] == _TAB):
                stop -= 1
            i += 2
            count += 1
            if count > self._max_count:
                return self._fail(431, self._limits.too_many(), "http1_header_count")
            value = p[start:stop]
            taken = self._special(name, value)
            if taken < 0:
                return False
            if taken == 0:
                headers.append((name, value, raw))
        return True

    def _bad_name(self, found: int, first: bool) -> bool:
        if first and found in (_SP, _TAB):
            return self._fail(400, "folded field lines are not taken", "http1_obs_fold")
        if found in (_SP, _TAB):
            return self._fail(400, "a space stands before the colon of a field", "http1_field_name")
        return self._fail(400, "a field name is empty or holds a character no token may hold", "http1_field_name")

    def _special(self, name: bytes, value: bytes) -> int:
        """Note a field that means something to the codec: 1 if it goes no further, 0 if it is passed on, -1 if refused."""
        n = len(name)
        if n == 4:
            if name == b"host":
                return self._host(value)
        elif n == 10:
            if name == b"connection":
                return self._connection_field(value)
            if name == b"keep-alive":
                return 1
        elif n == 14:
            if name == b"content-length":
                return self._length_field(value)
        elif n == 17:
            if name == b"transfer-encoding":
                return self._coding_field(value)
        elif n == 7:
            if name == b"upgrade":
                self._upgrade = value.lower()
                return 1
        elif n == 2:
            if name == b"te" and value.lower() != b"trailers":
                return 1
        elif n == 16 and name == b"proxy-connection":
            return 1
        return 0

    def _host(self, value: bytes) -> int:
        self.host_count += 1
        if self._trailers:
            return 1
        if self.host_count > 1:
            self._fail(400, "Host is there more than once", "http1_host")
            return -1
        if not valid_authority(value):
            self._fail(400, "Host is not a valid host and port", "http1_host")
            return -1
        if not self.authority:
            self.authority = value
        return 1

    def _connection_field(self, value: bytes) -> int:
        lower = value.lower()
        if lower == b"close":
            self.close = True
        elif lower == b"keep-alive":
            self.keep_alive = True
        else:
            if self._connection is None:
                self._connection = []
            self._connection.extend(split_tokens(lower))
        return 1

    def _length_field(self, value: bytes) -> int:
        if self._trailers:
            return 1
        if self.length >= 0:
            self._fail(400, "Content-Length is there more than once", "http1_content_length")
            return -1
        self.length = content_length(value)
        if self.length < 0:
            self._fail(400, "Content-Length is not a plain number", "http1_content_length")
            return -1
        return 0

    def _coding_field(self, value: bytes) -> int:
        if self._trailers:
            return 1
        self._te_count += 1
        if self._te_count > 1:
            self._fail(400, "Transfer-Encoding is there more than once", "http1_transfer_encoding")
            return -1
        if value.lower() != b"chunked":
            known = split_tokens(value)
            status = 501 if known and b"chunked" not in known[:-1] and known[-1] == b"chunked" else 400
            self._fail(status, "the only transfer coding taken is 'chunked'", "http1_transfer_encoding")
            return -1
        self.chunked = True
        return 1

    def _finish_framing(self) -> bool:
        """Judge the fields together, and take out what `Connection` names."""
        if self.chunked:
            if self.length >= 0:
                return self._fail(400, "Content-Length and Transfer-Encoding contradict each other", "http1_smuggling")
            if self.version < 11:
                return self._fail(400, "HTTP/1.0 has no transfer codings", "http1_transfer_encoding")
        named = self._connection
        if named is not None:
            if b"close" in named:
                self.close = True
            if b"keep-alive" in named:
                self.keep_alive = True
            if b"upgrade" in named and self._upgrade and self.version == 11:
                self.protocol = split_tokens(self._upgrade)[0] if split_tokens(self._upgrade) else b""
            strip_named(self.headers, named)
        return True

    def _finish_request(self) -> bool:
        if not self._finish_framing():
            return False
        if self.host_count == 0 and self.version == 11:
            return self._fail(400, "Host is missing", "http1_host")
        # An upgrade may be ignored (RFC 9110, 7.8): with a body it would have to wait, and h2c is not offered.
        if self.protocol and (self.length > 0 or self.chunked or self.protocol == b"h2c" or self.method == b"CONNECT"):
            self.protocol = b""
        if self.method == b"CONNECT" and (self.length > 0 or self.chunked):
            return self._fail(400, "CONNECT has no body", "http1_connect")
        return True
