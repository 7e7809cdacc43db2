"""The form of a path that routes are matched against, and what else a server may take the path for.

In: a path as it came. Out: the path in other forms; what is forwarded stays as it came. Refuses nothing. Each form is one pass over the
bytes: of a path that is nothing but escapes as cheap as of any other.
"""

from __future__ import annotations

from dataplane.protocol.chars import HEX

_PLAIN = bytes(chr(c) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~" for c in range(256))
"""Unreserved characters (RFC 3986, section 2.3): escaped or not they are the same."""


def without_query(path: bytes) -> bytes:
    """Cut the query and fragment off."""
    at = path.find(b"?")
    if at >= 0:
        path = path[:at]
    at = path.find(b"#")
    return path[:at] if at >= 0 else path


def normal_path(path: bytes) -> bytes:
    """Return the path as routes see it: no query, unreserved bytes decoded, dot segments resolved, slashes single and forward.

    What is forwarded stays as it came. `/a/%2e%2e/admin` and `/a//../admin` must not slip past a rule for `/admin`.
    `%2F` stays what it is, as in Envoy: a part of a segment.
    """
    path = without_query(path)
    return _resolved(_unescaped(path)) if odd(path) else path


def other_readings(path: bytes) -> list[bytes]:
    """Return what else than `normal_path` a server may take a path for, which gets it as it came.

    Some resolve nothing and read `/admin/../public` as something of `/admin`; some decode slashes, some know path parameters
    (`/admin;x`, RFC 3986, section 3.3) and take them off, before decoding or after. A rule has to hold for all of them, or
    it can be walked around.
    """
    bare = without_query(path)
    if not odd(bare):
        return []
    decoded = _unescaped(bare)
    bared = _bared(decoded)
    slashed = _slashed(decoded)
    late = _bared(slashed.replace(b"%3B", b";").replace(b"%3b", b";"))
    found = {decoded, bared, slashed, late, _slashed(bared)}
    found |= {_resolved(one) for one in found}
    found.discard(_resolved(decoded))
    return sorted(found)


def odd(path: bytes) -> bool:
    """Tell whether servers may take a path for different things."""
    return b"%" in path or b"//" in path or b"/." in path or b";" in path or b"\\" in path


def _unescaped(path: bytes) -> bytes:
    """Decode escapes of unreserved bytes, and write the others with capitals."""
    if b"%" not in path:
        return path
    out = bytearray(path)
    digits, unreserved = HEX, _PLAIN
    p = path
    o = out
    hexes = digits
    plain = unreserved
    n = len(path)
    i = at = 0
    while i < n:
        if p[i] != 37 or i + 2 >= n or hexes[p[i + 1]] == 255 or hexes[p[i + 2]] == 255:
            o[at] = p[i]
            at += 1
            i += 1
            continue
        byte = hexes[p[i + 1]] * 16 + hexes[p[i + 2]]
        if plain[byte]:
            o[at] = byte
            at += 1
        else:
            o[at] = 37
            o[at + 1] = p[i + 1] - 32 if p[i + 1] >= 97 else p[i + 1]
            o[at + 2] = p[i + 2] - 32 if p[i + 2] >= 97 else p[i + 2]
            at += 3
        i += 3
    return bytes(out[:at])


def _bared(path: bytes) -> bytes:
    """Take the parameters off each segment: what is between a semicolon and the next slash."""
    if b";" not in path:
        return path
    out = bytearray(path)
    p = path
    o = out
    n = len(path)
    i = at = 0
    while i < n:
        if p[i] == 59:
            while i < n and p[i] != 47:
                i += 1
        else:
            o[at] = p[i]
            at += 1
            i += 1
    return bytes(out[:at])


def _slashed(path: bytes) -> bytes:
    """Decode escaped slashes, of either kind."""
    if b"%" in path:
        for escape in (b"%2F", b"%5C", b"%2f", b"%5c"):
            path = path.replace(escape, b"/")
    return path.replace(b"\\", b"/")


def _resolved(path: bytes) -> bytes:
    """Follow dot segments, make slashes single and forward; only an absolute path comes out."""
    path = path.replace(b"\\", b"/")
    if b"//" not in path and b"/." not in path:
        return path
    out = bytearray(path)
    p = path
    o = out
    n = len(path)
    at = 0
    dots = False
    start = path.find(b"/") + 1
    while start <= n:
        i = start
        while i < n and p[i] != 47:
            i += 1
        size = i - start
        dots = size == 0 or (size == 1 and p[start] == 46)
        if size == 2 and p[start] == 46 and p[start + 1] == 46:
            dots = True
            while at > 0:
                at -= 1
                if o[at] == 47:
                    break
        elif not dots:
            o[at] = 47
            at += 1
            while start < i:
                o[at] = p[start]
                at += 1
                start += 1
        start = i + 1
    if (dots and at > 0) or at == 0:
        o[at] = 47
        at += 1
    return bytes(out[:at])
