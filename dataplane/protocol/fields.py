"""The header list, and what a proxy does to it on the way through.

In: a plain list of `(name in lower case, value, name as received)`; names asked for are lower case.
Out: the same list, changed in place, in the order it came (order and case are the peer's to see).
Refuses nothing: fields were checked where they were read.
"""

from dataplane.protocol.events import Headers

# RFC 9110, section 7.6.1, and what history left behind. `te` goes unless it says "trailers", which gRPC needs.
_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"http2-settings")
)
# What a Connection field may not take away: framing is the codec's, and a missing one of these changes the meaning.
_KEPT = frozenset((b"host", b"content-length", b"authorization", b"cookie", b"te"))


def get(headers: Headers, name: bytes) -> bytes | None:
    """Return the first value of `name`, or None."""
    for field in headers:
        if field[0] == name:
            return field[1]
    return None


def set_value(headers: Headers, name: bytes, value: bytes) -> None:
    """Make `value` the only value of `name`, in place of the first one, else at the end."""
    at = -1
    count = 0
    for index, field in enumerate(headers):
        if field[0] == name:
            count += 1
            if at < 0:
                at = index
    if at < 0:
        headers.append((name, value, name))
        return
    raw = headers[at][2]
    if count > 1:
        headers[:] = headers[: at + 1] + [kept for kept in headers[at + 1 :] if kept[0] != name]
    headers[at] = (name, value, raw)


def split_tokens(value: bytes) -> list[bytes]:
    """Split one list value into members in lower case, empty ones left out."""
    return [member for part in value.lower().split(b",") if (member := part.strip(b" \t"))]


def strip_named(headers: Headers, named: list[bytes]) -> None:
    """Take out hop-by-hop fields and `named` ones."""
    kept: Headers = []
    those = set(named)  # a head may name thousands, and have a thousand fields
    for field in headers:
        name = field[0]
        if name in _HOP_BY_HOP or (name in those and name not in _KEPT):
            continue
        if name == b"te" and field[1].lower() != b"trailers":
            continue
        kept.append(field)
    if len(kept) != len(headers):
        headers[:] = kept


def strip_continue(headers: Headers) -> bool:
    """Take out that the client waits for 100 (Continue) before its body; whether it did (RFC 9110, section 10.1.1)."""
    size = len(headers)
    headers[:] = [field for field in headers if field[0] != b"expect" or field[1].lower() != b"100-continue"]
    return len(headers) != size


def add_forwarded_for(headers: Headers, address: bytes) -> None:
    """Append the peer's address to `x-forwarded-for`, making it if it is missing."""
    # Several lines are one list (RFC 9110, section 5.2).
    known = b", ".join([field[1] for field in headers if field[0] == b"x-forwarded-for"])
    set_value(headers, b"x-forwarded-for", known + b", " + address if known else address)


def content_length(value: bytes) -> int:
    """Read a Content-Length value: its number, or -1 if it is not plain digits (RFC 9110, section 8.6).

    More than 18 digits are refused too: no body is that long, and the number must fit 64 bits.
    """
    p = value
    n = len(value)
    if n == 0 or n > 18:
        return -1
    total = 0
    for i in range(n):
        digit = p[i] - 48
        if digit < 0 or digit > 9:
            return -1
        total = total * 10 + digit
    return total
