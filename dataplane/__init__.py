"""The sidecar: what an application's connections pass through on their way out of and into a pod.

The flow, arrow by arrow (docs/xds-contract.md says what the first one carries):

- `xds/` takes configuration from the control plane by gRPC, or from a file, and gives a frozen `config.SidecarConfig`.
- `tables/` compiles that into what the hot path reads; a change is one reference assignment.
- `proxy/` decides what happens to a connection and a request; `protocol/` speaks HTTP without touching a socket.
- `net/` moves bytes: sockets, TLS, timers. `capture/` sends a pod's traffic here (the init container).
- `telemetry/` counts; `admin` shows, `reach` tries a handshake when asked; `credentials` holds the identity; `drain` ends gracefully.
- `settings` reads the environment, `app` is the only place where all of it is put together: an `engine` a worker, `workers`
  and `worker` on the two ends of `workerlink` where there are several. `later` keeps out of memory what is never touched, `chance` throws dice.
"""
