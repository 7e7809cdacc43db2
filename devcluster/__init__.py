"""An embedded Kubernetes for the demo and the tests: one process, no Docker, nothing left behind. It knows nothing of the mesh.

The map:

- `cluster`: `DevCluster`, the handle users hold; it starts `python -m devcluster` as a child and ends it.
- `__main__`: the composition root of the child: API server, controllers and pod runtime in namespaces of their own.
- `outages`: what a running cluster is made to go through when its starter says so.
- `api/`: the API server. `kinds` (what is served), `store` and `watch` (sans-io), `registry` (what every write goes
  through), `patches`, `apply`, `defaults`, `garbage`, `namespaces`, and the HTTP face in `server` and its neighbours.
- `schema/`: CRDs, OpenAPI, validation.  `access/`: who may do what, tokens, admission webhooks.
- `controllers/`: Deployments to Pods, Services to EndpointSlices.  `runtime/`: Pods to processes.
"""
