"""Kubernetes in and out: raw objects come in through here, and what the mesh writes back leaves through here.

objects.py     ObjectStore: raw objects by kind and key, and what changed since somebody last looked
debounce.py    when a burst of changes is worth acting on, decided on a given clock
cluster.py     the thin client: get, list, watch, create, patch; `connect.py` finds the server and its credentials
shapes.py      which fields of Pods, Services, EndpointSlices, Nodes and Namespaces are kept
reflector.py   list and watch one kind into the store
handlers.py    kopf: routes, policies, workloads, webhook configurations, two lines a handler
sweep.py       lists what kopf feeds once before serving, then now and then, so that nothing stays that is gone
versions.py    whether API server and kubelets know native sidecars
leader.py      the Lease that says which replica writes;  writer.py does what is to be written, while leading
namespaces.py  what a namespace says of its pods, from the store, else from the API server;  events.py  what kubectl describe should show
rolls.py  webhooks.py  status.py   decide what is to be written: opt-ins, CA bundles, conditions
"""
