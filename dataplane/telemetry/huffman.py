"""Huffman codes as deflate has them (RFC 1951, 3.2.2): from how often symbols occur to their words.

In: counts. Out: lengths of words, and the words. Refuses nothing; what never occurred has a word as well.
"""

from __future__ import annotations

import heapq
from typing import Final

SYMBOLS: Final = 286
"""Literals, the end, and lengths of copies."""
CLASSES: Final = 30
"""Of distances."""
LONGEST: Final = 15
"""Bits of a word."""


def usual() -> list[int]:
    """Guess how often each symbol occurs in a thousand lines or so."""
    counts = [1] * SYMBOLS
    for symbols, count in (
        (b'abcdefghijklmnopqrstuvwxyz"=_,./-{} ', 30),
        (b"0123456789", 250),
        (b"\n", 600),
        (range(257, 285), 60),
        ((285,), 1600),
    ):
        for symbol in symbols:
            counts[symbol] = count
    return counts


def usual_distances() -> list[int]:
    """The same for the classes of distances: a line is some hundred bytes long, a pair of peers some thousand."""
    return [300 if 16 <= place <= 20 else 60 if 24 <= place <= 28 else 2 for place in range(CLASSES)]


def lengths(counts: list[int]) -> list[int]:
    """Compute how long the words of a Huffman code are, none longer than the format allows."""
    floor = 1
    while True:
        sizes = [0] * len(counts)
        ranks: list[tuple[int, int, tuple[int, ...]]] = [
            (max(count, floor), symbol, (symbol,)) for symbol, count in enumerate(counts)
        ]
        heapq.heapify(ranks)
        while len(ranks) > 1:
            one = heapq.heappop(ranks)
            other = ranks[0]
            both = one[2] + other[2]
            for symbol in both:
                sizes[symbol] += 1
            heapq.heapreplace(ranks, (one[0] + other[0], one[1], both))
        if max(sizes) <= LONGEST:
            return sizes
        floor = 2 * floor + sum(counts) // 65536


def words(sizes: list[int]) -> list[int]:
    """Give the words of a canonical code (RFC 1951, 3.2.2), first bit lowest."""
    code, found = 0, [0] * len(sizes)
    for size in range(1, max(sizes) + 1):
        code <<= 1
        for symbol, its in enumerate(sizes):
            if its == size:
                found[symbol] = int(f"{code:0{size}b}"[::-1], 2)
                code += 1
    return found
