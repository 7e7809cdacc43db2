"""Starting every loop: the one place that makes them."""

from __future__ import annotations

import asyncio

from devcluster.api.registry import Registry
from devcluster.controllers.accounts import Accounts
from devcluster.controllers.daemonsets import DaemonSets
from devcluster.controllers.deployments import Deployments
from devcluster.controllers.disruption import Disruption
from devcluster.controllers.endpointslices import EndpointSlices
from devcluster.controllers.events import Recorder
from devcluster.controllers.jobs import Jobs
from devcluster.controllers.node import keep_node
from devcluster.controllers.replicasets import ReplicaSets
from devcluster.controllers.scheduler import Scheduler
from devcluster.controllers.statefulsets import StatefulSets


def run_all(registry: Registry, group: asyncio.TaskGroup, certificate: str = "") -> None:
    """Start every loop in the group; `certificate` is the cluster's root, shown in every namespace."""
    recorders = {
        name: Recorder(registry, f"{name}-controller" if name != "scheduler" else "default-scheduler")
        for name in ("deployment", "replicaset", "statefulset", "daemonset", "job", "scheduler")
    }
    loops = [
        Deployments(registry, recorders["deployment"]).loop,
        ReplicaSets(registry, recorders["replicaset"]).loop,
        StatefulSets(registry, recorders["statefulset"]).loop,
        DaemonSets(registry, recorders["daemonset"]).loop,
        Jobs(registry, recorders["job"]).loop,
        Scheduler(registry, recorders["scheduler"]).loop,
        EndpointSlices(registry).loop,
        Disruption(registry).loop,
        Accounts(registry, certificate).loop,
    ]
    for loop in loops:
        group.create_task(loop.run())
    for recorder in recorders.values():
        group.create_task(recorder.run())
    group.create_task(keep_node(registry))
