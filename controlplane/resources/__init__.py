"""Snapshot to xDS resources: one by name, exactly as docs/xds-contract.md says.

build.py        build(), names(): from a name to its builder, which gets only what that name is made of
envoy.py        Resource, and short ways to write Envoy's messages
listeners.py    inbound listeners of mesh pods
outbound.py     outbound listeners of Services and pods, API listeners for gRPC
routeconfig.py  route configurations
clusters.py     clusters, with mesh TLS where endpoints speak it
endpoints.py    load assignments
levels.py       what a sidecar of a level before reads of a route
tls.py          TLS contexts, and the trust bundle
"""
