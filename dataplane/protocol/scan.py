"""Read an HTTP/1 head in one pass: line, fields, and everything framing needs to know (RFC 9112).

In: bytes that hold a whole head, up to and with its empty line. Out: a `HeadScanner` whose attributes are the answer;
it is reused from head to head. Refuses every form two parsers could read differently (request smuggling): Content-Length
with Transfer-Encoding, repeated or odd Content-Length, folded lines, bare CR or LF, NUL, space before the colon.
Checks run left to right, so what arrived so far fails exactly as the whole would.
"""

from dataplane.protocol.chars import TARGET, TOKEN, VALUE, valid_authority
from dataplane.protocol.events import Headers
from dataplane.protocol.headers import content_length, split_tokens, strip_named
from dataplane.protocol.limits import Limits

_CR = 13
_LF = 10
_SP = 32
_TAB = 9
_COLON = 58


class HeadScanner:
    """One head, taken apart. After a call that returned False, `status`, `reason` and `counter` say what was wrong."""

    __slots__ = (
        "_connection",
        "_max_bytes",
        "_max_count",
        "_max_uri",
        "_te_count",
        "_trailers",
        "_upgrade",
        "authority",
        "chunked",
        "close",
        "counter",
        "headers",
        "host_count",
        "keep_alive",
        "length",
        "method",
        "path",
        "phrase",
        "protocol",
        "reason",
        "scheme",
        "status",
        "version",
    )

    def __init__(self, limits: Limits) -> None:
        self._max_bytes = limits.header_bytes
        self._max_count = limits.header_count
        self._max_uri = limits.uri_bytes
        self._trailers = False
        self.reset()

    def reset(self) -> None:
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
        self._upgrade = b""
        self._connection: list[bytes] | None = None

    def locate(self, data: bytes, pos: int, searched: int) -> int:
        """Find where the head that begins at `pos` ends: the index after its empty line, 0 for not yet, -1 for too long.

        `searched` is how far earlier calls looked. A bare LF is an end as well: reading up to it fails there at once,
        so garbage is answered without waiting for an empty line that never comes.
        """
        p = data
        n = len(data)
        most = pos + self._max_bytes
        start = searched - 3
        start = max(start, pos)
        at = data.find(b"\r\n\r\n", start, most)
        if at >= 0:
            return at + 4
        i = max(pos, searched)
        stop = min(most, n)
        while i < stop:
            if p[i] == _LF and (i == pos or p[i - 1] != _CR):
                return i + 1
            i += 1
        return -1 if n >= most else 0

    def request(self, data: bytes, pos: int) -> bool:
        """Read the request head that begins at `pos`, once `locate` found its end."""
        self.reset()
        self._trailers = False
        at = self._request_line(data, pos)
        if at < 0 or not self._fields(data, at):
            return False
        return self._finish_request()

    def response(self, data: bytes, pos: int) -> bool:
        """Read the response head that begins at `pos`; `status` is then the response's own."""
        self.reset()
        self._trailers = False
        at = self._status_line(data, pos)
        if at < 0:
            return False
        status = self.status
        self.status = 0
        if not self._fields(data, at) or not self._finish_framing():
            return False
        self.status = status
        return True

    def trailers(self, data: bytes, pos: int) -> bool:
        """Read the trailer fields that begin at `pos`; framing fields among them are dropped (RFC 9110, 6.5.1)."""
        self.reset()
        self._trailers = True
        return self._fields(data, pos)

    def _fail(self, status: int, reason: str, counter: str) -> bool:
        self.status = status
        self.reason = reason
        self.counter = counter
        return False

    def _request_line(self, data: bytes, pos: int) -> int:
        p = data
        tokens, targets = TOKEN, TARGET
        token = tokens
        target = targets
        i = pos
        while token[p[i]]:
            i += 1
        if i == pos or p[i] != _SP:
            self._fail(400, "the request does not begin with a method and one space", "http1_request_line")
            return -1
        self.method = p[pos:i]
        i += 1
        start = i
        while target[p[i]]:
            i += 1
        if i == start or p[i] != _SP:
            self._fail(400, "the request target is empty or holds a character no target may hold", "http1_request_line")
            return -1
        if i - start > self._max_uri:
            self._fail(414, f"the request target is longer than {self._max_uri} bytes", "http1_uri_bytes")
            return -1
        if not self._target(p[start:i]):
            return -1
        return self._version(data, i + 1, _CR)

    def _version(self, data: bytes, pos: int, stop: int) -> int:
        """Read `HTTP/1.x` and what ends it; return where the next part begins, or -1."""
        p = data
        name = b"HTTP/"
        for k in range(5):
            if p[pos + k] != name[k]:
                self._fail(400, "the HTTP version is missing or malformed", "http1_version")
                return -1
        i = pos + 5
        if not 48 <= p[i] <= 57 or p[i + 1] != 46 or not 48 <= p[i + 2] <= 57:
            self._fail(400, "the HTTP version is missing or malformed", "http1_version")
            return -1
        if p[i] != 49 or p[i + 2] > 49:
            self._fail(505, "only HTTP/1.1 and HTTP/1.0 are spoken here", "http1_version")
            return -1
        self.version = p[i + 2] - 38
        i += 3
        if p[i] != stop:
            if stop == _SP and p[i] == _CR:
                return i
            self._fail(400, "the first line does not end after its last part", "http1_request_line")
            return -1
        if stop == _SP:
            return i + 1
        if p[i + 1] != _LF:
            self._fail(400, "a CR stands without its LF", "http1_bare_cr")
            return -1
        return i + 2

    def _target(self, target: bytes) -> bool:
        """Take the target's form apart (RFC 9112, section 3.2)."""
        if self.method == b"CONNECT":
            if not valid_authority(target) or b":" not in target:
                return self._fail(400, "CONNECT wants host:port as its target", "http1_target")
            self.authority = target
            return True
        if target[0] == 47:
            self.path = target
            return True
        if target == b"*" and self.method == b"OPTIONS":
            self.path = target
            return True
        head = target[:8].lower()
        if head.startswith(b"http://"):
            self.scheme = b"http"
        elif head == b"https://":
            self.scheme = b"https"
        else:
            return self._fail(400, "the request target is neither a path nor an http URI", "http1_target")
        rest = target[len(self.scheme) + 3 :]
        cut = len(rest)
        for mark in (b"/", b"?"):
            at = rest.find(mark, 0, cut)
            if at >= 0:
                cut = at
        self.authority = rest[:cut]
        if not valid_authority(self.authority):
            return self._fail(400, "the request target names no valid host", "http1_target")
        path = rest[cut:]
        self.path = path if path.startswith(b"/") else b"/" + path
        return True

    def _status_line(self, data: bytes, pos: int) -> int:
        p = data
        values = VALUE
        value = values
        i = self._version(data, pos, _SP)
        if i < 0:
            self.status = 502
            return -1
        for k in range(3):
            if not 48 <= p[i + k] <= 57:
                self._fail(502, "the status is not three digits", "http1_status_line")
                return -1
        self.status = (p[i] - 48) * 100 + (p[i + 1] - 48) * 10 + p[i + 2] - 48
        i += 3
        if p[i] == _SP:
            i += 1
            start = i
            while value[p[i]]:
                i += 1
            self.phrase = b"OK" if i - start == 2 and p[start] == 79 and p[start + 1] == 75 else p[start:i]
        if self.status < 100 or p[i] != _CR or p[i + 1] != _LF:
            self._fail(502, "the status line is malformed", "http1_status_line")
            return -1
        return i + 2

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
                return self._fail(431, f"more than {self._max_count} fields", "http1_header_count")
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
