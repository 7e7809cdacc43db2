"""The node's agent: every pod bound to the node runs here, and logs, exec and port-forward find it.

In: the registry's pods, and what the API's streaming endpoints ask for. Out: running pods. Refuses with StatusError, in the real
server's words, before the first byte of a stream.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from devcluster.api.errors import StatusError, bad_request, not_found
from devcluster.api.registry import Registry
from devcluster.api.watch import WatchEvent
from devcluster.controllers.events import Recorder
from devcluster.runtime import dns, linux
from devcluster.runtime.container import Container
from devcluster.runtime.facilities import Changes, Facilities
from devcluster.runtime.images import Images
from devcluster.runtime.logs import LogOptions
from devcluster.runtime.network import NODE_ADDRESS, NODE_NAME, Network
from devcluster.runtime.pod import Pod
from devcluster.runtime.services import ServiceRules
from devcluster.runtime.spawner import Spawner, StartError
from devcluster.runtime.streams import Streams, execute
from devcluster.runtime.volumes import Tokens

_LOG = logging.getLogger(__name__)
Object = dict[str, Any]


class Kubelet:
    """Runs the node's pods."""

    def __init__(self, registry: Registry, network: Network, images: Path, root: Path, tokens: Tokens) -> None:
        self._registry = registry
        self._pods: dict[str, Pod] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._configs: dict[str, Changes] = {}
        self._ends: list[Any] = []
        self._helpers: list[asyncio.Task[None]] = []
        self._group: asyncio.TaskGroup | None = None
        self._node = Facilities(
            registry=registry,
            network=network,
            spawner=Spawner(),
            events=Recorder(registry, "kubelet", NODE_NAME),
            tokens=tokens,
            images=Images(images, root / "images"),
            root=root,
            one_user=linux.one_user_only(),
        )

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Start the node's programs and every pod bound to it; raises OSError."""
        self._group = group
        root = self._node.root
        root.mkdir(parents=True, exist_ok=True)
        linux.mount("tmpfs", str(root), "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=0755")
        (root / "stage").mkdir()
        if self._node.one_user:
            _LOG.warning(
                "only one user exists in this user namespace: every container runs as it, runAsUser has no effect"
            )
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # containers are not to inherit a desktop's limit
        self._node.spawner.start()
        for work in (
            self._node.events.run(),
            ServiceRules(self._registry).run(),
            dns.serve(self._registry, NODE_ADDRESS),
        ):
            self._helpers.append(group.create_task(work))
        for kind in ("configmaps", "secrets"):
            self._ends.append(self._registry.subscribe(kind, self._config_changed))
        self._ends.append(self._registry.subscribe("pods", self._pod_changed))
        for pod in self._registry.list("pods"):
            self._take(pod)

    async def stop(self) -> None:
        """End every pod at once and the node's programs."""
        for end in self._ends:
            end()
        for task in [*self._tasks.values(), *self._helpers]:
            task.cancel()
        await asyncio.gather(*self._tasks.values(), *self._helpers, return_exceptions=True)
        self._node.spawner.stop()
        self._node.network.stop()
        linux.detach(str(self._node.root))

    async def logs(self, namespace: str, name: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Give a container's log, chunk by chunk."""
        container = self._container(namespace, name, options.container)
        log = container.previous_log if options.previous else container.log
        if log is None:
            if options.previous:
                raise bad_request(f'previous terminated container "{container.name}" in pod "{name}" not found')
            reason = container.known.state.get("waiting", {}).get("reason", "ContainerCreating")
            raise bad_request(f'container "{container.name}" in pod "{name}" is waiting to start: {reason}')
        return log.read(options)

    async def exec(self, namespace: str, name: str, container: str, command: Sequence[str], streams: Streams) -> int:
        """Run a program in a container and return its exit code."""
        found = self._container(namespace, name, container)
        if found.process is None:
            raise bad_request(f'container not found ("{found.name}")')
        try:
            return await execute(found.process, command, streams)
        except StartError as failed:
            raise StatusError(500, "InternalError", f"Internal error occurred: {failed}") from None

    async def dial(self, namespace: str, name: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to 127.0.0.1:port inside a pod; raises OSError when nobody listens there."""
        pod = self._pod(namespace, name)
        if not any(container.process for container in pod.containers):
            raise bad_request(f"pod {name} is not running")
        connection = self._node.network.socket_in(pod.home.network)
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        except BaseException:
            connection.close()
            raise
        return await asyncio.open_connection(sock=connection)

    def _pod(self, namespace: str, name: str) -> Pod:
        found = self._registry.get("pods", namespace, name)
        pod = self._pods.get(found["metadata"]["uid"])
        if pod is None:
            if not found["spec"].get("nodeName"):
                raise bad_request(f"pod {name} does not have a host assigned")
            raise not_found("", "pods", name)
        return pod

    def _container(self, namespace: str, name: str, container: str) -> Container:
        pod = self._pod(namespace, name)
        names = [c.name for c in pod.apps]
        default = (pod.home.pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
        wanted = container or (default if default in names else "") or (names[0] if len(names) == 1 else "")
        if not wanted:
            raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]")
        found = next((c for c in pod.containers if c.name == wanted), None)
        if found is None:
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return found

    def _pod_changed(self, event: WatchEvent) -> None:
        if event.type == "DELETED":
            pod = self._pods.get(event.object["metadata"]["uid"])
            if pod is not None:
                pod.update(event.object, gone=True)
        else:
            self._take(event.object)

    def _take(self, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        if obj["spec"].get("nodeName") != NODE_NAME or self._group is None:
            return
        pod = self._pods.get(uid)
        if pod is None:
            namespace = obj["metadata"]["namespace"]
            pod = self._pods[uid] = Pod(self._node, obj, self._configs.setdefault(namespace, Changes()))
            task = self._tasks[uid] = self._group.create_task(pod.run())
            task.add_done_callback(lambda _: self._forget(uid))
        pod.update(obj)

    def _forget(self, uid: str) -> None:
        self._pods.pop(uid, None)
        self._tasks.pop(uid, None)

    def _config_changed(self, event: WatchEvent) -> None:
        changes = self._configs.get(event.object["metadata"]["namespace"])
        if changes is not None:
            changes.ring()
