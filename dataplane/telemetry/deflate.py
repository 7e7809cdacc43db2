"""gzip for lines that are almost the line before (RFC 1951, 1952), without looking for what is known.

In: lines as a head, a block of labels, a mark and a rest. Out: the bytes of one gzip member, as far as they are there. zlib reads every byte of a scrape to find that the labels stand in the
line above, and again for the checksum: for a thousand pairs of peers that is 13 MB. Here labels are said again by their distance, and what they add to the checksum is
computed from what they added before, so a line costs what is new in it. The code is made of what was written so far, anew now and then; nothing is kept back to be counted first.
Refuses nothing; any bytes can be written.
"""

from __future__ import annotations

import zlib
from typing import Final

from dataplane.telemetry.huffman import CLASSES, SYMBOLS, lengths, usual, usual_distances, words

_FAR = 32768
"""The farthest a copy reaches back."""
_LONG = 258
"""The longest one."""
_END = 256
_SHORTEST = 3
_LEAST = 4
"""Bytes that can be a copy, and that are worth one."""
_MIDDLES = 4
"""New values of a block that are looked for in what follows of it: a name stands in a principal too."""
FIRST: Final = 2048
"""Symbols after which there is a code made of them, and again at four times as many, and so on: making one takes half a millisecond."""
_TIMES = 4
_POLYNOMIAL = 0xEDB88320
_ONE = 0x80000000
"""1 and x^8 as polynomials, lowest power first, as the checksum has them."""
_BYTE = 0x00800000
_QUOTE = 34


def product(a: int, b: int) -> int:
    """Multiply two polynomials modulo the checksum's."""
    found = 0
    bit = _ONE
    while bit:
        if a & bit:
            found ^= b
        b = (b >> 1) ^ (_POLYNOMIAL if b & 1 else 0)
        bit >>= 1
    return found


def power(size: int) -> int:
    """Return what a checksum is multiplied by where so many bytes follow."""
    found = _ONE
    square = _BYTE
    while size:
        if size & 1:
            found = product(found, square)
        square = product(square, square)
        size >>= 1
    return found


class Deflate:
    """One gzip member under way."""

    __slots__ = (
        "_before",
        "_bits",
        "_block",
        "_block_sum",
        "_common",
        "_counts",
        "_distance",
        "_due",
        "_far_counts",
        "_far_sizes",
        "_far_words",
        "_head",
        "_head_power",
        "_head_sum",
        "_held",
        "_lead",
        "_length",
        "_mark",
        "_middles",
        "_out",
        "_places",
        "_power",
        "_powers",
        "_rest",
        "_size",
        "_sizes",
        "_sum",
        "_symbols",
        "_total",
        "_words",
    )

    def __init__(self) -> None:
        self._counts = usual()
        self._far_counts = usual_distances()
        self._symbols = 0
        self._due = FIRST
        self._out = bytearray(b"\x1f\x8b\x08\0\0\0\0\0\0\xff")
        self._bits = 0
        self._held = 0
        """Bits that are no byte yet, and how many."""
        self._distance = 0
        self._length = 0
        """A copy that may go on."""
        self._sum = 0
        self._total = 0
        self._head = self._block = self._mark = self._rest = b""
        """The line before."""
        self._size = 0
        """Its length; 0 for none."""
        self._before = b""
        """The block before this one."""
        self._lead = self._common = 0
        """How the two begin and end alike."""
        self._places: dict[tuple[bytes, bytes], tuple[int, bytes]] = {}
        """By head and mark, where the last such line began, and its block."""
        self._block_sum, self._power = 0, _ONE
        """What the block, or head and block, add to a checksum, and the power for them."""
        self._head_sum = self._head_power = 0
        self._powers: dict[int, int] = {}
        """By length; heads are few, and blocks of many lengths are rare."""
        self._middles: list[tuple[int, int]] = []
        self._recode()

    @property
    def size(self) -> int:
        """Bytes that can be taken."""
        return len(self._out)

    def take(self) -> bytes:
        """Return the bytes that are there."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def text(self, data: bytes) -> None:
        """Write bytes of any kind."""
        self._literal(data, 0, len(data))
        self._sum = zlib.crc32(data, self._sum)
        self._total += len(data)
        self._size = 0

    def line(self, head: bytes, block: bytes, mark: bytes, rest: bytes) -> None:
        """Write a line; a head or block that is the same object as in the line before is known to be the same, a mark is one of a few."""
        ahead = len(head) + len(block)
        size = ahead + len(mark) + len(rest)
        before = self._size
        near = 0 < before <= _FAR - size
        known = near and block is self._block
        again = near and head is self._head
        if not known:
            self._change(block)
        key = (head, mark)
        far = 0
        old = b""
        place = self._places.get(key)
        if place is not None:
            old = place[1]
            far = self._total - place[0]
            if far > _FAR - size or old is not self._before:
                far = 0
        self._labels(head, block, far, again, known)
        self._marked(mark, far + len(block) - len(old) if far else 0, size - len(rest), near)
        if near and len(rest) >= _SHORTEST and rest == self._rest:
            self._copy(size, len(rest))
        else:
            self._literal(rest, 0, len(rest))
        self._check(head, block, mark, rest, known and again)
        self._places[key] = (self._total, block)
        self._total += size
        self._head, self._block, self._mark, self._rest, self._size = head, block, mark, rest, size
        if self._symbols >= self._due:
            self._due *= _TIMES
            self._settle()
            self._word(_END)
            self._recode()

    def finish(self) -> None:
        """Write the end."""
        self._settle()
        self._word(_END)
        self._put(0b011, 3)  # the last block, which is empty
        self._put(0, 7)
        self._put(0, -self._held & 7)
        self._out += self._sum.to_bytes(4, "little") + (self._total & 0xFFFFFFFF).to_bytes(4, "little")

    # --- what stands in lines before ----------------------------------------------------------------------------------

    def _change(self, block: bytes) -> None:
        """Compare a new block with the one before."""
        if block is self._block:
            return
        held = self._before = self._block
        old = held
        new = block
        least = min(len(held), len(block))
        lead = common = 0
        while lead < least and old[lead] == new[lead]:
            lead += 1
        m = len(held) - 1
        n = len(block) - 1
        while common < least and old[m - common] == new[n - common]:
            common += 1
        self._lead = lead
        self._common = common

    def _labels(self, head: bytes, block: bytes, far: int, again: bool, known: bool) -> None:
        """Write head and block; `far` is how far back a line with this head, this mark and the block before this one begins."""
        before = self._size
        begin = 0
        if again and len(head) >= _LEAST:
            self._copy(before, len(head))
        elif far and len(head) + self._lead >= _LEAST:
            begin = self._lead
            self._copy(far, len(head) + begin)
        else:
            self._literal(head, 0, len(head))
        shift = before - len(self._head) + len(head)
        if known:
            if len(block) - begin >= _LEAST:
                self._copy(shift, len(block) - begin)
            else:
                self._literal(block, begin, len(block))
        else:
            self._fresh(block, begin, shift if before else 0)

    def _marked(self, mark: bytes, far: int, ahead: int, near: bool) -> None:
        """Write a mark, together with the end of the block where that saves a word; `far` is how far back a line with this mark ends alike, `ahead` where the mark ends in the line."""
        if near and mark is self._mark and self._distance == ahead + len(self._rest) and self._length:
            self._length += len(mark)
            return
        if not far:
            self._literal(mark, 0, len(mark))
            return
        over = self._length % _LONG
        if over > self._common or over == self._length:
            over = 0
        if over + len(mark) < _LEAST:
            self._literal(mark, 0, len(mark))
            return
        self._length -= over
        self._copy(far, over + len(mark))

    def _fresh(self, block: bytes, begin: int, distance: int) -> None:
        """Write a block from `begin` on by what is new in it; `distance` is how far back the block before begins, 0 for none."""
        held = self._before if distance else b""
        old = held
        new = block
        m = len(held)
        n = len(block)
        i = j = begin
        self._middles.clear()
        while j < n:
            run = 0
            while i + run < m and j + run < n and old[i + run] == new[j + run]:
                run += 1
            if run >= _LEAST:
                self._copy(distance + j - i, run)
            else:
                self._literal(block, j, j + run)
            i += run
            j += run
            until = j
            while until < n and new[until] != _QUOTE:
                until += 1
            while i < m and old[i] != _QUOTE:
                i += 1
            if i >= m:
                until = n
            self._middle(block, j, until)
            j = until

    def _middle(self, block: bytes, begin: int, end: int) -> None:
        """Write a value, by its distance where it stood before in this block."""
        if end - begin >= _LEAST:
            value = block[begin:end]
            for at, size in self._middles:
                if size == end - begin and block[at : at + size] == value:
                    self._copy(begin - at, size)
                    return
            if len(self._middles) < _MIDDLES:
                self._middles.append((begin, end - begin))
        self._literal(block, begin, end)

    def _check(self, head: bytes, block: bytes, mark: bytes, rest: bytes, known: bool) -> None:
        """Add a line to the checksum; `known` if head and block are those of the line before."""
        if not known:
            if block is not self._block:
                self._block_sum = zlib.crc32(block)
                self._power = self._power_of(len(block))
            self._head_sum = product(self._power, zlib.crc32(head)) ^ self._block_sum
            self._head_power = product(self._power, self._power_of(len(head)))
        told = product(self._head_power, self._sum) ^ self._head_sum
        self._sum = zlib.crc32(mark + rest, told)

    def _power_of(self, size: int) -> int:
        found = self._powers.get(size)
        if found is None:
            found = self._powers[size] = power(size)
        return found

    # --- symbols ------------------------------------------------------------------------------------------------------

    def _copy(self, distance: int, length: int) -> None:
        """Say again what stood so far back; at least three bytes, or more of what is being said again."""
        if self._length and distance == self._distance:
            self._length += length
        else:
            self._settle()
            self._distance = distance
            self._length = length

    def _literal(self, data: bytes, begin: int, end: int) -> None:
        if begin < end:
            self._settle()
            p = data
            at = begin
            while at < end:
                self._word(p[at])
                at += 1

    def _settle(self) -> None:
        """Write the copy that waits."""
        left = self._length
        if not left:
            return
        self._length = 0
        far = self._distance - 1
        symbol = far
        extra = 0
        if far >= 4:
            extra = _top(far) - 1
            symbol = 2 * extra + (far >> extra)
            far &= (1 << extra) - 1
        else:
            far = 0
        word = self._far_words[symbol] | far << self._far_sizes[symbol]
        bits = self._far_sizes[symbol] + extra
        while left:
            piece = min(_LONG, left)
            if 0 < left - piece < 3:
                piece = left - 3
            left -= piece
            self._far_counts[symbol] += 1
            self._size_word(piece)
            self._put(word, bits)

    def _size_word(self, length: int) -> None:
        if length == _LONG:
            self._word(285)
        elif length < 11:
            self._word(254 + length)
        else:
            past = length - 3
            extra = _top(past) - 2
            self._word(257 + 4 * (extra + 1) + ((past >> extra) & 3))
            self._put(past & ((1 << extra) - 1), extra)

    def _word(self, symbol: int) -> None:
        self._counts[symbol] += 1
        self._symbols += 1
        self._put(self._words[symbol], self._sizes[symbol])

    def _put(self, bits: int, count: int) -> None:
        held = self._held + count
        waiting = self._bits | bits << self._held
        while held >= 8:
            self._out.append(waiting & 255)
            waiting >>= 8
            held -= 8
        self._bits = waiting
        self._held = held

    def _recode(self) -> None:
        """Begin a block with a code of its own, every length of a word in four bits (RFC 1951, 3.2.7)."""
        sizes, far_sizes = lengths(list(self._counts)), lengths(list(self._far_counts))
        self._sizes = sizes
        self._words = words(sizes)
        self._far_sizes = far_sizes
        self._far_words = words(far_sizes)
        self._put(0b100, 3)
        self._put(SYMBOLS - 257, 5)
        self._put(CLASSES - 1, 5)
        self._put(19 - 4, 4)
        for place in range(19):
            self._put(0 if place < 3 else 4, 3)  # the first three are repetitions
        for size in sizes + far_sizes:
            self._put(int(f"{size:04b}"[::-1], 2), 4)


def _top(value: int) -> int:
    """Return the place of the highest bit."""
    place = 0
    while value > 1:
        value >>= 1
        place += 1
    return place
