"""The control plane: what is written in Kubernetes, told to every sidecar. One way, arrow by arrow.

feed/       Kubernetes -> raw objects, one store
ingest/     raw objects -> model/, the frozen nouns; user mistakes become problems in sentences
compiler/   model -> MeshSnapshot: who serves what where, how requests are routed, which mTLS mode holds
resources/  snapshot -> xDS resources, one by name, as docs/xds-contract.md says
xds/        resources -> gRPC streams (delta and state of the world), ACK and NACK
ca/         certificate requests -> certificates, under service-account tokens
inject/     admission webhooks: the sidecar into pods, bad input refused
write/      back to Kubernetes, by the leader alone: status, rolls, webhook bundles
operator/   kopf, its handlers and their thread
kube/       the client of the API server
app.py constructs, settings.py reads the environment, admin.py answers health, metrics and dumps
"""
