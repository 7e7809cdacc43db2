"""HTTP/1.1 and HTTP/1.0 (RFC 9112).

The map, in reading order:

- `framing`: what single fields mean for where a message ends. `scan`: a head out of bytes. `body`: a body out of bytes.
- `writer`: a message into bytes. `connection`: how the two messages of an exchange follow one another. `server` and `client` are the codecs.
"""
