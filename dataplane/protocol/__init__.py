"""Sans-io codecs: network bytes in, typed events out; commands in, network bytes out.

The map, in reading order:

- `events`: what a codec tells its driver. `codes`: HTTP/2 error codes. `limits`: what a peer may cost us.
- `interface`: the one shape all four codecs have, and the contract between codec and driver.
- `fields`: the header list and the rules of forwarding it.
- `detect`, `client_hello`: which protocol the first bytes of a connection speak.
- `chars`: which byte may stand where.
- `http1/` and `http2/`: the codecs, `server` and `client` in each. `hpack/`: HTTP/2's header compression.
- `grpcframe`: the five-byte message frame of gRPC.
- `carrier`: the frames between sidecars that let one connection carry opaque ones, one after another.

Every `.py` with a `.pxd` beside it is compiled as it is; uncompiled it behaves the same. Locals the `.pxd` types as
`unsigned char*` are plain `bytes` here, so one source reads bytes at pointer speed and, uncompiled, bounds-checks
every read. Nothing here knows a clock, a socket, an event loop or a dice.
"""
