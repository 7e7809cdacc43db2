"""What a field section must look like to be a request, a response or trailers (RFC 9113, sections 8.2 and 8.3).

In: decoded fields. Out: a head event, or a `str`: the sentence that says why the message is malformed. Smuggling by
downgrade is stopped here: connection-specific fields, a Host that differs from `:authority`, lengths that contradict.
"""

from dataplane.protocol.chars import TARGET, TOKEN, valid_authority
from dataplane.protocol.events import Headers, RequestHead, ResponseHead
from dataplane.protocol.fields import content_length

_STATUSES = {b"%d" % status: status for status in range(100, 1000)}
_FORBIDDEN = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))


class Section:
    """Reads one field section after the other; `length` is the Content-Length of the last one, -1 for none."""

    __slots__ = (
        "_authority",
        "_cookies",
        "_host",
        "_method",
        "_path",
        "_protocol",
        "_scheme",
        "_seen",
        "_status",
        "length",
    )

    def __init__(self) -> None:
        self.length = -1
        self._reset()

    def _reset(self) -> None:
        self.length = -1
        self._authority = b""
        self._cookies = 0
        self._host = b""
        self._method = b""
        self._path = b""
        self._protocol = b""
        self._scheme = b""
        self._status = 0
        self._seen = 0

    def request(self, stream: int, fields: Headers, end: bool) -> RequestHead | str:
        """Read a request head."""
        self._reset()
        headers: Headers = []
        problem = self._read(fields, headers, True)
        if problem is None:
            problem = self._request_problem(end)
        if problem is not None:
            return problem
        if self._cookies > 1:
            headers = _joined_cookies(headers)
        return RequestHead(
            stream,
            self._method,
            self._scheme,
            self._authority or self._host,
            self._path,
            headers,
            end,
            20,
            self._protocol,
        )

    def response(self, stream: int, fields: Headers, end: bool) -> ResponseHead | str:
        """Read a response head, informational or final."""
        self._reset()
        headers: Headers = []
        problem = self._read(fields, headers, False)
        if problem is not None:
            return problem
        if self._status == 0:
            return "a response needs :status"
        if self._status == 101 or (self._status < 200 and end):
            return "a 1xx response must not end the stream, and 101 is not for HTTP/2"
        return ResponseHead(stream, self._status, b"", headers, end, 20)

    def trailers(self, fields: Headers) -> str | None:
        """Check trailers: no pseudo-fields, nothing connection-specific."""
        for field in fields:
            name = field[0]
            if name[0] == 58 or name in _FORBIDDEN:
                return f"{name.decode('latin-1')} must not stand in trailers"
        return None

    def _read(self, fields: Headers, headers: Headers, request: bool) -> str | None:
        """Take pseudo-fields apart from the others, and look at those that frame the message."""
        regular = False
        for field in fields:
            name = field[0]
            p = name
            if p[0] == 58:
                if regular:
                    return "a pseudo-field stands after a regular one"
                problem = self._pseudo_request(name, field[1]) if request else self._pseudo_response(name, field[1])
                if problem is not None:
                    return problem
                continue
            regular = True
            n = len(name)
            if n == 2:
                if name == b"te" and field[1] != b"trailers":
                    return "te may only say trailers"
            elif n == 4:
                if request and name == b"host":
                    if self._host and self._host != field[1]:
                        return "Host stands twice"
                    self._host = field[1]
                    continue
            elif n == 6:
                if request and name == b"cookie":
                    self._cookies += 1
            elif n == 14:
                if name == b"content-length":
                    length = content_length(field[1])
                    if length < 0 or (self.length >= 0 and self.length != length):
                        return "Content-Length is not one plain number"
                    if self.length >= 0:
                        continue
                    self.length = length
            elif (n == 7 or n == 10 or n == 16 or n == 17) and name in _FORBIDDEN:  # noqa: PLR1714 - plain C compares
                return f"{name.decode('latin-1')} does not exist in HTTP/2"
            headers.append(field)
        return None

    def _once(self, bit: int) -> bool:
        """Note that a pseudo-field came; False when it came before."""
        if self._seen & bit:
            return False
        self._seen |= bit
        return True

    def _pseudo_request(self, name: bytes, value: bytes) -> str | None:
        fresh = False
        if name == b":method":
            fresh = self._once(1)
            self._method = value
        elif name == b":path":
            fresh = self._once(2)
            self._path = value
        elif name == b":scheme":
            fresh = self._once(4)
            self._scheme = value
        elif name == b":authority":
            fresh = self._once(8)
            self._authority = value
        elif name == b":protocol":
            fresh = self._once(16)
            self._protocol = value.lower()
        else:
            return f"{name.decode('latin-1')} is no pseudo-field of a request"
        return None if fresh else f"{name.decode('latin-1')} stands twice"

    def _pseudo_response(self, name: bytes, value: bytes) -> str | None:
        if name != b":status":
            return f"{name.decode('latin-1')} is no pseudo-field of a response"
        if self._status:
            return ":status stands twice"
        status = _STATUSES.get(value)
        if status is None:
            return ":status is no number from 100 to 999"
        self._status = status
        return None

    def _request_problem(self, end: bool) -> str | None:
        """Check what RFC 9113, section 8.3.1, asks of the pseudo-fields together."""
        if not self._method or not _all_in(self._method, TOKEN):
            return ":method is missing or no token"
        if self._host and self._authority and self._host != self._authority:
            return "Host and :authority name different hosts"
        authority = self._authority or self._host
        if authority and not valid_authority(authority):
            return ":authority is no host with an optional port"
        if self._method == b"CONNECT" and self.length > 0:
            return "CONNECT has no body"
        if self._method == b"CONNECT" and not self._protocol:
            if self._path or self._scheme or not self._authority:
                return "CONNECT takes :authority and neither :path nor :scheme"
            if authority.rfind(b":") <= authority.rfind(b"]"):
                return "CONNECT wants host:port as its :authority"
            return None
        if self._protocol and (self._method != b"CONNECT" or not _all_in(self._protocol, TOKEN) or end):
            return ":protocol belongs to an open CONNECT"
        if self._scheme not in {b"http", b"https"}:
            return ":scheme is neither http nor https"
        if not authority:
            return ":authority is missing"
        p = self._path
        if len(p) == 0 or (p[0] != 47 and not (p == b"*" and self._method == b"OPTIONS")) or not _all_in(p, TARGET):
            return ":path does not start with / or has bytes a target may not have"
        return None


def _all_in(value: bytes, allowed: bytes) -> bool:
    """Tell whether every byte is one the table allows."""
    p = value
    table = allowed
    i = 0
    n = len(value)
    while i < n:
        if not table[p[i]]:
            return False
        i += 1
    return True


def _joined_cookies(headers: Headers) -> Headers:
    """Put cookie crumbs together again, since the next hop may speak HTTP/1 (RFC 9113, section 8.2.3)."""
    crumbs = [field[1] for field in headers if field[0] == b"cookie"]
    kept: Headers = []
    for field in headers:
        if field[0] != b"cookie":
            kept.append(field)
        elif crumbs:
            kept.append((b"cookie", b"; ".join(crumbs), b"cookie"))
            crumbs = []
    return kept
