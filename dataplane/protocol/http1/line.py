"""The first line of an HTTP/1 head: a request's method, target and version, or a response's version and status (RFC 9112, sections 3 and 4).

In: bytes that hold a whole head. Out: attributes of `FirstLine`, and where the fields begin. Refuses every form two parsers could
read differently: other white space than one space, targets of another form than the method's, versions other than 1.0 and 1.1.
"""

from dataplane.protocol.chars import TARGET, TOKEN, VALUE, valid_authority

_CR = 13
_LF = 10
_SP = 32


class FirstLine:
    """What it says; after a refusal `status`, `reason` and `counter` say what was wrong."""

    __slots__ = ("authority", "counter", "method", "path", "phrase", "reason", "scheme", "status", "version")

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
