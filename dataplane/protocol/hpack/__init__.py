"""Header compression for HTTP/2 (RFC 7541).

The map, in reading order:

- `tables`: the static table, and which fields are never compressed. `huffman`: the code for strings.
- `decoder` and `encoder`: one direction of one connection each.
"""
