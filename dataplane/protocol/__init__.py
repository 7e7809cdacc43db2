"""Sans-io codecs: network bytes in, typed events out; commands in, network bytes out.

The map, in reading order:

- `events`: what a codec tells its driver. `codes`: HTTP/2 error codes. `limits`: what a peer may cost us.
- `interface`: the one shape all four codecs have, and the contract between codec and driver.
- `headers`: the header list and the rules of forwarding it.
- `detect`, `client_hello`: which protocol the first bytes of a connection speak.
- `chars`: which byte may stand where. `http1_fields` and `scan` read an HTTP/1 head, `body` a body; `http1` is what both
  ends share; `http1_server` and `http1_client` are the codecs.
- `huffman`, `hpack_tables`, `hpack_decoder`, `hpack_encoder` are RFC 7541; `http2_frames`, `http2_stream`, `http2_rules`,
  `http2_flood` the pieces; `http2_sending`, `http2_control` and `http2`, each upon the one before, what both ends share;
  `http2_server` and `http2_client` are the codecs.
- `grpcframe`: the five-byte message frame of gRPC.

Every `.py` with a `.pxd` beside it is compiled as it is; uncompiled it behaves the same. Locals the `.pxd` types as
`unsigned char*` are plain `bytes` here, so one source reads bytes at pointer speed and, uncompiled, bounds-checks
every read. Nothing here knows a clock, a socket, an event loop or a dice.
"""
