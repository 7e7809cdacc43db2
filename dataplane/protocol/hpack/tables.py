"""The static table of HPACK (RFC 7541, appendix A), and how the encoder treats field names.

In: nothing. Out: constants.
"""

from typing import Final

from dataplane.protocol.events import Header

_FIELDS: Final = """
:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate
"""


def _static() -> tuple[Header, ...]:
    fields: list[Header] = [(b"", b"", b"")]
    names: dict[bytes, bytes] = {}
    for line in _FIELDS.strip().encode().split(b"\n"):
        name, _, value = line.partition(b" ")
        name = names.setdefault(name, name)
        fields.append((name, value, name))
    return tuple(fields)


STATIC: Final = _static()
"""Fields by index; index 0 is none."""

DYNAMIC_START: Final = len(STATIC)
"""The first index of the dynamic table, 62."""

PLAIN: Final = 0
NO_INDEX: Final = 1
NEVER: Final = 2
DROP: Final = 3
NAME: Final = 4

POLICIES: Final = {
    # Guessable secrets must not show in the size of what is sent (RFC 7541, section 7.1).
    b"authorization": NEVER,
    b"proxy-authorization": NEVER,
    b"cookie": NO_INDEX,
    b"set-cookie": NO_INDEX,
    # Never the same twice: the name alone is worth a place in the table, and no value is worth remembering.
    b"x-request-id": NAME,
    b"traceparent": NAME,
    # Connection-specific fields do not exist in HTTP/2 (RFC 9113, section 8.2.2); Host is :authority.
    b"connection": DROP,
    b"host": DROP,
    b"http2-settings": DROP,
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"transfer-encoding": DROP,
    b"upgrade": DROP,
}
"""Names the encoder treats apart; all others are PLAIN."""


class Sensitive(bytes):
    """The third part of a field the peer marked never-indexed: it must stay so on the next hop (RFC 7541, 6.2.3)."""

    __slots__ = ()
