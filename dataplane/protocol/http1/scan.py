"""Read an HTTP/1 head in one pass: line, fields, and everything framing needs to know (RFC 9112).

In: bytes that hold a whole head, up to and with its empty line. Out: a `HeadScanner` whose attributes are the answer;
it is reused from head to head. Refuses every form two parsers could read differently (request smuggling): folded lines,
bare CR or LF, NUL, space before the colon; and, by `framing`, what contradicts itself.
Checks run left to right, so what arrived so far fails exactly as the whole would.
"""

from dataplane.protocol.chars import TARGET, TOKEN, VALUE, valid_authority
from dataplane.protocol.http1.framing import HeadFields
from dataplane.protocol.limits import Limits

_CR = 13
_LF = 10
_SP = 32
_TAB = 9
_COLON = 58


class HeadScanner(HeadFields):
    """One head, taken apart. After a call that returned False, `status`, `reason` and `counter` say what was wrong."""

    __slots__ = ("_limits", "_max_bytes", "_max_count")

    def __init__(self, limits: Limits) -> None:
        self._max_bytes = limits.header_bytes
        self._max_count = limits.header_count
        self._limits = limits
        self.reset()

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

    def too_long(self, what: str) -> str:
        """Say that `locate` found no end."""
        return self._limits.too_long(what)

    def request(self, data: bytes, pos: int) -> bool:
        """Read the request head that begins at `pos`, once `locate` found its end."""
        self.reset()
        at = self._request_line(data, pos)
        if at < 0 or not self._fields(data, at):
            return False
        return self._finish_request()

    def response(self, data: bytes, pos: int) -> bool:
        """Read the response head that begins at `pos`; `status` is then the response's own."""
        self.reset()
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
            if not valid_authority(target) or target.rfind(b":") <= target.rfind(b"]"):
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
        if not path and self.method == b"OPTIONS":  # RFC 9112, section 3.2.4
            self.path = b"*"
        else:
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
