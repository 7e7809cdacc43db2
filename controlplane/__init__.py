"""The control plane: what is written in Kubernetes, told to every sidecar. One way, arrow by arrow.

watch/      Kubernetes -> raw objects (and the only writer back: status, rolls, webhook bundles)
ingest/     raw objects -> model/, the frozen nouns; user mistakes become problems in sentences
compiler/   model -> MeshSnapshot: who serves what where, how requests are routed, which mTLS mode holds
resources/  snapshot -> xDS resources, one by name, as docs/xds-contract.md says
xds/        resources -> gRPC streams (delta and state of the world), ACK and NACK
ca/         certificate requests -> certificates, under service-account tokens
inject/     admission webhooks: the sidecar into pods, bad input refused
app.py constructs, settings.py reads the environment, admin.py answers health, metrics and dumps
"""
