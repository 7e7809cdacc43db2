"""Reconcile loops: from what objects ask for to the objects that make it so.

Each loop is level-triggered: it reads the state from the registry, decides, acts, and forgets. The registry lives in the same
process, so what was just written is read back at once and no loop needs expectations against a stale cache; a key is never
worked on twice at the same time.

    run_all(registry, group, certificate)    # starts every loop in the TaskGroup; makes the namespaces a cluster has, the Node,
                                             # default/kubernetes (10.96.0.1 to NODE_ADDRESS:API_PORT), kube-system/kube-dns;
                                             # certificate: PEM of the cluster's root, for kube-root-ca.crt in every namespace

- `starting`       makes and starts all of them
- `reconcile`      the queue and the workers every loop shares
- `events`         the Events users look for
- `objects`        owners, selectors, readiness, pods from templates
- `deployments`, `rollouts`, `replicasets`, `statefulsets`, `daemonsets`, `revisions`, `jobs`   workloads
- `endpointslices`  Services and Pods to EndpointSlices and Endpoints
- `accounts`        the default ServiceAccount and the root certificate in every namespace
- `scheduler`, `node`, `disruption`   the one node, binding to it, PodDisruptionBudgets' status
"""

from devcluster.controllers.starting import run_all

__all__ = ["run_all"]
