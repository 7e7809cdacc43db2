"""HTTP/2 (RFC 9113): parts that know one thing each, and two codecs put together of them.

The map, in reading order:

- `frames`: numbers, and the bytes of single frames; `settings` of what either side tells of itself.
- `reader`: frames out of bytes. `writer`: bytes out of frames. `pieces`: bodies out of frames.
- `states`: the life of a stream as tables. `stream`: one of them. `streams`: those of a connection.
- `inflow`: the windows we give. `outflow`: those we are given, and what waits for them.
- `flood`: the credit of a peer that only costs us. `rules`: which fields make a message. `endings`: how streams and connections end.
- `connection`: all this together, for both ends. `server` and `client`: what is different, the codecs.
"""
