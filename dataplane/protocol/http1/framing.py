"""What single fields mean for the framing of an HTTP/1 message, and whether they contradict each other (RFC 9112, section 6).

In: one field after the other, then the whole. Out: attributes of `HeadFields`, which `scan.HeadScanner` fills in.
Refuses every form two parsers could read differently: Content-Length with Transfer-Encoding, repeated or odd
Content-Length, codings other than chunked, a missing, repeated or invalid Host.
"""

from dataplane.protocol.chars import valid_authority
from dataplane.protocol.events import Headers
from dataplane.protocol.fields import content_length, split_tokens, strip_named


class HeadFields:
    """What the fields of one head say; after a refusal, `status`, `reason` and `counter` say what was wrong."""

    __slots__ = (
        "_connection",
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
        self._trailers = False
        self._upgrade = b""
        self._connection: list[bytes] | None = None

    def _fail(self, status: int, reason: str, counter: str) -> bool:
        self.status = status
        self.reason = reason
        self.counter = counter
        return False

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
