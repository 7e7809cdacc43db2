"""Decode the Huffman code of HPACK (RFC 7541, section 5.2 and appendix B).

We never encode with it: in a mesh, bytes are cheaper than the cycles at both ends.

In: bytes and where the string stands in them. Out: the string, or None. Refuses padding that is longer than seven bits or
not all ones, and the end-of-string symbol.
"""

# The code is canonical: symbols by code length, ascending, are all there is to know. 256 is end-of-string.
_LENGTHS = (
    (5, "48-50 97 99 101 105 111 115-116"),
    (6, "32 37 45-47 51-57 61 65 95 98 100 102-104 108-110 112 114 117"),
    (7, "58 66-87 89 106-107 113 118-122"),
    (8, "38 42 44 59 88 90"),
    (10, "33-34 40-41 63"),
    (11, "39 43 124"),
    (12, "35 62"),
    (13, "0 36 64 91 93 126"),
    (14, "94 125"),
    (15, "60 96 123"),
    (19, "92 195 208"),
    (20, "128 130-131 162 184 194 224 226"),
    (21, "153 161 167 172 176-177 179 209 216-217 227 229-230"),
    (22, "129 132-134 136 146 154 156 160 163-164 169-170 173 178 181 185-187 189-190 196 198 228 232-233"),
    (23, "1 135 137-141 143 147 149-152 155 157-158 165-166 168 174-175 180 182-183 188 191 197 231 239"),
    (24, "9 142 144-145 148 159 171 206 215 225 236-237"),
    (25, "199 207 234-235"),
    (26, "192-193 200-202 205 210 213 218-219 238 240 242-243 255"),
    (27, "203-204 211-212 214 221-223 241 244-248 250-254"),
    (28, "2-8 11-12 14-21 23-31 127 220 249"),
    (30, "10 13 22 256"),
)


def _tables() -> tuple[bytes, bytes, tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Build the symbol and length of every code of up to eight bits, and first code, count, offset by longer length."""
    symbols = bytearray(256)
    lengths = bytearray(256)
    first = [0] * 31
    count = [0] * 31
    offset = [0] * 31
    ordered: list[int] = []
    code = 0
    before = 0
    for length, runs in _LENGTHS:
        code <<= length - before
        before = length
        first[length] = code
        offset[length] = len(ordered)
        for run in runs.split():
            low, _, high = run.partition("-")
            ordered.extend(range(int(low), int(high or low) + 1))
        count[length] = len(ordered) - offset[length]
        if length <= 8:
            for nth in range(count[length]):
                start = (code + nth) << (8 - length)
                for index in range(start, start + (1 << (8 - length))):
                    symbols[index] = ordered[offset[length] + nth]
                    lengths[index] = length
        code += count[length]
    return bytes(symbols), bytes(lengths), tuple(first), tuple(count), tuple(offset), tuple(ordered)


_SYMBOLS, _SIZES, _FIRST, _COUNT, _OFFSET, _ORDERED = _tables()


_KEPT = 0xFFFFFFFFFFFF
"""Bits held at most: a number so long is no C integer where it stands in the code."""


def decode(data: bytes, pos: int, end: int) -> bytes | None:
    """Decode the string standing in `data[pos:end]`; None if it is not one."""
    symbols, sizes = _SYMBOLS, _SIZES
    p = data
    symbol = symbols
    size = sizes
    room = bytearray(((end - pos) * 8) // 5 + 1)
    q = room
    written = 0
    held = 0
    bits = 0
    i = pos
    while True:
        while bits <= 40 and i < end:  # the longest code has 30 bits
            held = ((held << 8) | p[i]) & _KEPT
            bits += 8
            i += 1
        if bits == 0:
            break
        index = (held >> (bits - 8)) & 255 if bits >= 8 else ((held << (8 - bits)) | (255 >> bits)) & 255
        length = size[index]
        if length == 0:
            if bits < 10:
                break
            found = _long(held, bits)
            if found < 0:
                if bits < 30:
                    break
                return None
            length = found >> 8
            q[written] = found & 255
        else:
            if length > bits:
                break
            q[written] = symbol[index]
        written += 1
        bits -= length
    if bits > 7 or (held & ((1 << bits) - 1)) != (1 << bits) - 1:
        return None
    return bytes(q[:written])


def _long(held: int, bits: int) -> int:
    """Find a code of ten bits or more in the low `bits` bits held: its length times 256 plus its symbol, or -1."""
    first, count, offset = _FIRST, _COUNT, _OFFSET
    mask = 1  # shifted as the wide integer it is when compiled
    low = held & ((mask << bits) - 1)
    for length in range(10, 31):
        if length > bits:
            return -1
        ahead = (low >> (bits - length)) - first[length]
        if 0 <= ahead < count[length]:
            symbol = _ORDERED[offset[length] + ahead]
            return -1 if symbol == 256 else length * 256 + symbol
    return -1
