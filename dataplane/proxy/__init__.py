"""Traffic: what happens to a connection and a request between the client's socket and the server's.

The map:

- `runtime`: what every connection is handed: tables, dialler, timers, metrics.
- `accept`: a captured connection until it is known what it speaks. `opaque`: bytes relayed without looking.
- `connection`: what both sides of HTTP share. `downstream`: a client's connection. `upstream`, `pool`: servers'; `conduct`
  takes note of how those behave.
- `stages`: what is done to a request between its head and its server, a file each.
- `exchange`: one request from head to last byte. `routing`, `headers`, `redirect`, `errors`, `tunnel`, `retry`, `mirror`:
  its parts; `life` has the tables of its two sides, `replay` keeps what may be sent again, `deadlines` has all of its time-outs.
- `explain`: what would be done with a request, for people who ask.
"""
