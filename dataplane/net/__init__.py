"""The sidecar's way to the network: sockets in one epoll set, bytes to and from plain calls.

The map, in reading order:

- `system`: the kernel calls (`system.pyx` compiled, `system.py` its plain twin). `timers`: time-outs by the thousand.
- `poller`: one epoll set inside the event loop; one flush a turn. `stream`: a TCP connection with bounds both ways,
  `receiver` what it talks to, `lingering` its last second; `tls_stream`: the same through TLS. `splice`: bytes relayed inside the kernel.
- `tls`: TLS contexts from configuration and credentials, and who the peer is. `tls_engine`: the TLS of one connection (compiled, or its
  plain twin); `openssl`: what the compiled one calls.
- `listen` takes connections, `dial` makes them, `original` asks where a captured one was going,
  `hairpin` leads one to the own pod back through the front door.

Nothing here knows HTTP, routes or policy.
"""
