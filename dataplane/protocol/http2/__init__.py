"""HTTP/2 (RFC 9113).

The map, in reading order:

- `frames`: the numbers, and bytes for what goes out. `stream`: what is known of one. `rules`: which fields make a message.
  `flood`: what a peer that only costs us may do.
- `sending`, `control` and `connection`, each upon the one before, are what both ends share. `server` and `client` are the codecs.
"""
