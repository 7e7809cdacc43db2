"""Read HPACK field sections (RFC 7541).

In: one whole field section. Out: its fields as `(name, value, name)` tuples; a field of the table is the same tuple each
time, so a repeated field costs a list append. Refuses, by returning None, what breaks the compression state; `malformed`
marks fields no HTTP/2 message may have, `too_large` a section beyond the limits (its rest is read, but not kept).
"""

from dataplane.protocol.chars import LOWER_TOKEN, VALUE
from dataplane.protocol.events import Headers
from dataplane.protocol.hpack import huffman, tables
from dataplane.protocol.hpack.tables import STATIC, Sensitive
from dataplane.protocol.limits import Limits

_DYNAMIC_START = tables.DYNAMIC_START  # a plain C integer when compiled
_DEFAULT_TABLE = 4096


class Decoder:
    """One direction's decompression state."""

    __slots__ = (
        "_allowed",
        "_capacity",
        "_entries",
        "_first",
        "_max_bytes",
        "_max_count",
        "_pos",
        "_size",
        "malformed",
        "too_large",
    )

    def __init__(self, limits: Limits) -> None:
        # Until it has read our SETTINGS the peer may use the default table, so that is the least to allow.
        self._allowed = max(limits.hpack_table_bytes, _DEFAULT_TABLE)
        self._capacity = _DEFAULT_TABLE
        self._entries: Headers = []
        self._first = 0
        self._max_bytes = limits.header_bytes
        self._max_count = limits.header_count + 5  # pseudo-fields are not counted against the peer
        self._pos = 0
        self._size = 0
        self.malformed = False
        self.too_large = False

    def decode(self, data: bytes, pos: int, end: int) -> Headers | None:
        """Read the section standing in `data[pos:end]`; None if the compression state is lost."""
        p = data
        fields: Headers = []
        static = STATIC
        total = 0
        self.malformed = False
        self.too_large = False
        self._pos = pos
        while self._pos < end:
            first = p[self._pos]
            if first & 0x80:
                index = self._integer(data, end, 0x7F)
                if index <= 0:
                    return None
                if index < 62:
                    field = static[index]
                else:
                    index = len(self._entries) - 1 - (index - 62)
                    if index < self._first:
                        return None
                    field = self._entries[index]
            elif first & 0x60 == 0x20:
                if fields or self.too_large or not self._resize(self._integer(data, end, 0x1F)):
                    return None
                continue
            else:
                literal = self._literal(data, end, first)
                if literal is None:
                    return None
                field = literal
            raw: object = field[2]
            if raw is None:
                self.malformed = True
            total += len(field[0]) + len(field[1]) + 4  # what an HTTP/1 line has beside them
            if total > self._max_bytes or len(fields) >= self._max_count:
                self.too_large = True
            else:
                fields.append(field)
        return fields

    def _integer(self, data: bytes, end: int, mask: int) -> int:
        """Read a prefixed integer (section 5.1) at the cursor; -1 if it is cut or beyond 2^28."""
        p = data
        i = self._pos
        if i >= end:
            return -1
        value = p[i] & mask
        i += 1
        if value == mask:
            shift = 0
            while True:
                if i >= end or shift > 21:
                    return -1
                byte = p[i]
                i += 1
                value += (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
        self._pos = i
        return value

    def _string(self, data: bytes, end: int) -> bytes | None:
        """Read a string (section 5.2) at the cursor."""
        p = data
        if self._pos >= end:
            return None
        coded = p[self._pos] & 0x80
        size = self._integer(data, end, 0x7F)
        start = self._pos
        if size < 0 or size > end - start:
            return None
        self._pos = start + size
        if coded:
            return huffman.decode(data, start, start + size)
        return p[start : start + size]

    def _literal(self, data: bytes, end: int, first: int) -> tuple[bytes, bytes, bytes] | None:
        """Read a literal field (section 6.2), and keep it if it says so."""
        keep = first & 0x40
        index = self._integer(data, end, 0x3F if keep else 0x0F)
        if index < 0:
            return None
        raw: bytes | None
        if index == 0:
            read = self._string(data, end)
            if read is None:
                return None
            name = read
            raw = read if _good_name(read) else None
        else:
            known = self._lookup(index)
            if known is None:
                return None
            name = known[0]
            raw = None if known[2] is None else name
        value = self._string(data, end)
        if value is None:
            return None
        if not _good_value(value):
            raw = None
        elif raw is not None and not keep and first & 0x10:
            return (name, value, Sensitive(name))
        field: tuple[bytes, bytes, bytes] = (name, value, raw)  # type: ignore[assignment]  # None marks it malformed
        if keep:
            self._insert(field)
        return field

    def _lookup(self, index: int) -> tuple[bytes, bytes, bytes] | None:
        if index < _DYNAMIC_START:
            return STATIC[index]
        index = len(self._entries) - 1 - (index - _DYNAMIC_START)
        return self._entries[index] if index >= self._first else None

    def _insert(self, field: tuple[bytes, bytes, bytes]) -> None:
        """Add a field to the dynamic table, evicting from its old end (section 4.4)."""
        size = len(field[0]) + len(field[1]) + 32
        self._evict(self._capacity - size)
        if size <= self._capacity:
            self._entries.append(field)
            self._size += size

    def _evict(self, room: int) -> None:
        """Drop the oldest entries until at most `room` bytes are used."""
        entries = self._entries
        while self._size > room and self._first < len(entries):
            field = entries[self._first]
            self._size -= len(field[0]) + len(field[1]) + 32
            entries[self._first] = STATIC[0]
            self._first += 1
        if self._first > 64 and self._first * 2 > len(entries):
            del entries[: self._first]
            self._first = 0

    def _resize(self, capacity: int) -> bool:
        """Take a size update (section 6.3)."""
        if capacity < 0 or capacity > self._allowed:
            return False
        self._capacity = capacity
        self._evict(capacity)
        return True


def _good_name(name: bytes) -> bool:
    """Tell whether this is a lower-case token, or a pseudo-field's name (RFC 9113, section 8.2.1)."""
    tokens = LOWER_TOKEN
    p = name
    table = tokens
    n = len(name)
    i = 1 if n > 1 and p[0] == 58 else 0
    if n == 0:
        return False
    while i < n:
        if not table[p[i]]:
            return False
        i += 1
    return True


def _good_value(value: bytes) -> bool:
    """Tell whether no control character is inside, and no white space around."""
    values = VALUE
    p = value
    table = values
    n = len(value)
    if n == 0:
        return True
    if p[0] == 32 or p[0] == 9 or p[n - 1] == 32 or p[n - 1] == 9:
        return False
    i = 0
    while i < n:
        if not table[p[i]]:
            return False
        i += 1
    return True
