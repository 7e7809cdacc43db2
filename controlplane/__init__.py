"""The control plane: what is written in Kubernetes, told to every sidecar. One way, arrow by arrow.

feed/       Kubernetes -> objects as far as they are read, one store
ingest/     objects -> model/, the frozen nouns; user mistakes become problems in sentences
compiler/   model -> MeshSnapshot: who serves what where, how requests are routed, which mTLS mode holds
resources/  snapshot -> xDS resources, one by name, as docs/xds-contract.md says
xds/        resources -> gRPC streams (delta and state of the world), ACK and NACK
ca/         certificate requests -> certificates, under service-account tokens
inject/     admission webhooks: the sidecar into pods, bad input refused
write/      back to Kubernetes, by the leader alone: status, rolls, webhook bundles
operator/   kopf: its handlers are triggers, and what they lead to is decided by the store
kube/       the client of the API server

app.py        constructs all of it;  settings.py reads the environment
admin.py      answers health, metrics and dumps, by what reports.py gathers;  httplog.py keeps its log to a line
listening.py  sockets of both families
timing.py     how long things take that nobody may wait for
bounds.py     what one pod and one node may cost;  places.py on which node who is
replicas.py   what replicas hear of each other;  telling.py what this one says
"""
