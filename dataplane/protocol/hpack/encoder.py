"""Write HPACK field sections (RFC 7541), spending as few cycles as possible at both ends.

In: names and values, already checked. Out: one section as bytes, with room for a frame header before it.
A value goes into the dynamic table when it is seen the second time, so ids, dates and lengths never push out what
repeats; the name of ids goes in with the first. Strings are never Huffman coded.
Secrets are not indexed, connection-specific fields are left out.
"""

from dataplane.protocol.events import Headers
from dataplane.protocol.hpack import tables
from dataplane.protocol.hpack.tables import POLICIES, STATIC, Sensitive
from dataplane.protocol.limits import Limits

# Plain C integers when compiled.
_DYNAMIC_START = tables.DYNAMIC_START
_PLAIN = tables.PLAIN
_DROP = tables.DROP
_NEVER = tables.NEVER
_NAME = tables.NAME

_DEFAULT_TABLE = 4096
_SEEN = 16
_NAMES = 300
_LONG_NAME = 128
_ALL_SEEN = 512
_NO_RESIZE = -1


class _Name:
    """What is known of one field name: its index, its values in the tables, values seen once."""

    __slots__ = ("index", "last", "policy", "seen", "values")

    def __init__(self, index: int, policy: int) -> None:
        self.index = index
        self.policy = policy
        self.last = -1
        # Value to index: below 62 the static one, else 62 plus the number of insertions before it.
        self.values: dict[bytes, int] = {}
        self.seen: dict[bytes, bool] = {}


class _Entry:
    """One field of the dynamic table."""

    __slots__ = ("name", "size", "value")

    def __init__(self, name: _Name, value: bytes, size: int) -> None:
        self.name = name
        self.value = value
        self.size = size


class Encoder:
    """One direction's compression state."""

    __slots__ = (
        "_buffer",
        "_capacity",
        "_dropped",
        "_entries",
        "_inserted",
        "_limit",
        "_names",
        "_recent",
        "_resize",
        "_size",
        "written",
    )

    def __init__(self, limits: Limits) -> None:
        self._buffer = bytearray(512)
        self.written = 0
        """Bytes of the section so far, the room before included."""
        self._limit = limits.hpack_table_bytes
        self._capacity = min(_DEFAULT_TABLE, self._limit)
        self._resize = self._capacity if self._capacity != _DEFAULT_TABLE else _NO_RESIZE
        self._entries: list[_Entry] = []
        self._dropped = 0
        self._inserted = 0
        self._names: dict[bytes, _Name] = {}
        self._recent = 0
        self._size = 0

    def resize(self, capacity: int) -> None:
        """Keep to the table size the peer allows; said at the start of the next section (section 4.2)."""
        capacity = min(capacity, self._limit)
        if capacity == self._capacity and self._resize == _NO_RESIZE:
            return
        self._resize = capacity if self._resize == _NO_RESIZE else min(self._resize, capacity)
        self._capacity = capacity
        self._evict(capacity)

    def begin(self, room: int) -> None:
        """Start a section after `room` bytes left for a frame header."""
        self.written = room
        if self._resize != _NO_RESIZE:
            self._integer(0x20, 0x1F, self._resize)
            if self._resize != self._capacity:
                self._integer(0x20, 0x1F, self._capacity)
            self._resize = _NO_RESIZE

    def finish(self) -> bytearray:
        """Return the buffer; the section ends at `written`."""
        return self._buffer

    def fields(self, headers: Headers) -> None:
        """Write a header list."""
        for field in headers:
            self.field(field[0], field[1], type(field[2]) is Sensitive)

    def field(self, name: bytes, value: bytes, sensitive: bool) -> None:
        """Write one field."""
        known = self._names.get(name)
        if known is None:
            if len(name) > _LONG_NAME:
                self._integer(0x10 if sensitive else 0, 0x0F, 0)
                self._string(name)
                self._string(value)
                return
            known = self._learn(name)
        if known.policy == _PLAIN and not sensitive:
            index = known.values.get(value)
            if index is not None:
                position: int = index
                if position >= _DYNAMIC_START:
                    position = _DYNAMIC_START + self._inserted - 1 - (position - _DYNAMIC_START)
                self._integer(0x80, 0x7F, position)
                return
            size = len(name) + len(value) + 32
            if size * 4 <= self._capacity:  # a long value is not worth the table, nor our memory
                if value in known.seen:
                    self._literal(0x40, 0x3F, known, name, value)
                    del known.seen[value]
                    self._recent -= 1
                    self._insert(_Entry(known, value, size))
                    return
                self._remember(known, value)
            self._literal(0, 0x0F, known, name, value)
        elif known.policy == _NAME and not sensitive and known.last < self._dropped:
            size = len(name) + len(value) + 32
            if size * 4 <= self._capacity:
                self._literal(0x40, 0x3F, known, name, value)
                self._insert(_Entry(known, value, size))
            else:
                self._literal(0, 0x0F, known, name, value)
        elif known.policy != _DROP:
            self._literal(0x10 if sensitive or known.policy == _NEVER else 0, 0x0F, known, name, value)

    def _remember(self, known: _Name, value: bytes) -> None:
        """Note a value seen once, within what all names together may keep."""
        if self._recent >= _ALL_SEEN:
            for other in self._names.values():
                other.seen.clear()
            self._recent = 0
        elif len(known.seen) >= _SEEN:
            self._recent -= len(known.seen)
            known.seen.clear()
        known.seen[value] = True
        self._recent += 1

    def _learn(self, name: bytes) -> _Name:
        """Meet a name for the first time."""
        if len(self._names) >= _NAMES:
            self._names = {key: kept for key, kept in self._names.items() if kept.values}
            self._recent = 0
            for kept in self._names.values():
                kept.seen.clear()
        known = _Name(0, POLICIES.get(name, _PLAIN))
        for index in range(1, _DYNAMIC_START):
            if STATIC[index][0] == name:
                known.index = known.index or index
                if STATIC[index][1]:
                    known.values[STATIC[index][1]] = index
        self._names[name] = known
        return known

    def _literal(self, pattern: int, mask: int, known: _Name, name: bytes, value: bytes) -> None:
        if known.index:
            self._integer(pattern, mask, known.index)
        elif known.last >= self._dropped:
            self._integer(pattern, mask, _DYNAMIC_START + self._inserted - 1 - known.last)
        else:
            self._integer(pattern, mask, 0)
            self._string(name)
        self._string(value)

    def _integer(self, pattern: int, mask: int, value: int) -> None:
        """Write a prefixed integer (section 5.1)."""
        if len(self._buffer) - self.written < 16:
            self._buffer.extend(bytes(512))
        p = self._buffer
        i = self.written
        if value < mask:
            p[i] = pattern | value
        else:
            p[i] = pattern | mask
            value -= mask
            i += 1
            while value >= 128:
                p[i] = (value & 127) | 128
                value >>= 7
                i += 1
            p[i] = value
        self.written = i + 1

    def _string(self, value: bytes) -> None:
        """Write a string as it is (section 5.2)."""
        n = len(value)
        self._integer(0, 0x7F, n)
        if len(self._buffer) - self.written < n:
            self._buffer.extend(bytes(n + 512))
        p = self._buffer
        q = value
        at = self.written
        for i in range(n):
            p[at + i] = q[i]
        self.written = at + n

    def _insert(self, entry: _Entry) -> None:
        self._evict(self._capacity - entry.size)
        self._entries.append(entry)
        self._size += entry.size
        entry.name.values[entry.value] = _DYNAMIC_START + self._inserted
        entry.name.last = self._inserted
        self._inserted += 1

    def _evict(self, room: int) -> None:
        """Drop the oldest entries until at most `room` bytes are used."""
        entries = self._entries
        gone = 0
        while self._size > room and gone < len(entries):
            entry = entries[gone]
            self._size -= entry.size
            entry.name.values.pop(entry.value, None)
            gone += 1
        if gone:
            self._dropped += gone
            del entries[:gone]
