"""Which byte may stand where (RFC 9110, section 5.6; RFC 9112; RFC 3986), as tables of 256 bytes to index into.

In: nothing. Out: constants, and `valid_authority`.
"""

from typing import Final

_TCHAR = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_HOST = b"!$%&'()*+,-.;=_~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ[]:"

TOKEN: Final = bytes(1 if c in _TCHAR else 0 for c in range(256))
"""1 for characters of a token: methods, field names."""

LOWER_TOKEN: Final = bytes(1 if c in _TCHAR and chr(c).lower() == chr(c) else 0 for c in range(256))
"""1 for characters of an HTTP/2 field name: no capitals (RFC 9113, section 8.2.1)."""

VALUE: Final = bytes(1 if c == 9 or (c >= 32 and c != 127) else 0 for c in range(256))
"""1 for characters of a field value: no controls but the tab."""

TARGET: Final = bytes(1 if c > 32 and c not in (127, 35) else 0 for c in range(256))
"""1 for characters of a request target: no space, no control, no fragment. Raw UTF-8 passes, as apps send it."""

HOST: Final = bytes(1 if c in _HOST else 0 for c in range(256))
"""1 for characters of host and port."""

HEX: Final = bytes(int(chr(c), 16) if chr(c) in "0123456789abcdefABCDEF" else 255 for c in range(256))
"""A hex digit's value; 255 for what is none."""


def valid_authority(value: bytes) -> bool:
    """Tell whether this is a host with an optional port, without user information (RFC 9110, section 4.2.4)."""
    p = value
    hosts = HOST
    table = hosts
    n = len(value)
    if n == 0 or n > 300:
        return False
    i = 0
    if p[0] == 91:  # an IPv6 literal, [::1]
        while i < n and p[i] != 93:
            if not table[p[i]]:
                return False
            i += 1
        if i >= n or i < 3:
            return False
        i += 1
    else:
        while i < n and p[i] != 58:
            if not table[p[i]] or p[i] == 91 or p[i] == 93:
                return False
            i += 1
        if i == 0:
            return False
    if i == n:
        return True
    if p[i] != 58 or n - i > 6:
        return False
    i += 1
    port = 0
    while i < n:
        if p[i] < 48 or p[i] > 57:
            return False
        port = port * 10 + p[i] - 48
        i += 1
    return port < 65536
