"""One pod's life: network and volumes, init containers in order, sidecars that stay, the apps, and a graceful end.

In: a pod bound to this node, and each later version of it. Out: processes, and the pod's status. When the pod is to be deleted and
all in it has ended, the object goes. An unexpected error ends this pod only: it is logged with its traceback and told as failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import shutil
import time
from typing import Any, Final

from devcluster.api.errors import StatusError
from devcluster.runtime.container import Container
from devcluster.runtime.environment import ConfigError
from devcluster.runtime.facilities import Changes, Facilities
from devcluster.runtime.home import Home
from devcluster.runtime.hostfiles import write_host_files
from devcluster.runtime.network import NOWHERE, PodNetwork
from devcluster.runtime.status import PodState, now, pod_status
from devcluster.runtime.volumes import Volumes

Object = dict[str, Any]
_LOG = logging.getLogger(__name__)
_GRACE: Final = 30
_RETRY: Final = 10.0


class Pod:
    """A pod of this node."""

    def __init__(self, node: Facilities, pod: Object, configs: Changes) -> None:
        directory = node.root / "pods" / pod["metadata"]["uid"]
        self.home = Home(
            node=node,
            pod=pod,
            volumes=Volumes(directory / "volumes", node.registry, node.tokens),
            network=NOWHERE,
            directory=directory,
            changed=asyncio.Event(),
            configs=configs,
        )
        spec = pod["spec"]
        self.inits = [Container(self.home, c, init=True) for c in spec.get("initContainers") or []]
        self.apps = [Container(self.home, c) for c in spec["containers"]]
        self._ending = asyncio.Event()
        self._started_at = now()
        self._failure = ("", "")
        self._prepared = asyncio.Event()
        self._gone = False
        self._over = False

    @property
    def containers(self) -> list[Container]:
        """All containers, in the order they start."""
        return [*self.inits, *self.apps]

    def update(self, pod: Object, *, gone: bool = False) -> None:
        """Take a newer version; `gone` when the object has been taken away under a pod that runs."""
        before, self.home.pod = self.home.pod["metadata"], pod
        if any(before.get(key) != pod["metadata"].get(key) for key in ("labels", "annotations")):
            self.home.configs.ring()  # a volume may show them
        self._gone = self._gone or gone
        if gone or "deletionTimestamp" in pod["metadata"]:
            self._ending.set()

    async def run(self) -> None:
        """Live from creation to removal. This is the supervisor of all that belongs to the pod."""
        try:
            async with asyncio.TaskGroup() as group:
                telling = group.create_task(self._tell_changes())
                await self._live()
                telling.cancel()
            await self._tell()
            await self._removed()
        except Exception:  # noqa: BLE001 - a supervisor: one failure must not end the others
            _LOG.exception("pod %s ended by an unexpected error", self.home.full_name)
            self._over = True
            self._failure = ("RuntimeError", "the cluster's runtime met an unexpected error; its log has the traceback")
            with contextlib.suppress(StatusError):
                await self._tell()
        finally:
            self._release()
            shutil.rmtree(self.home.directory, ignore_errors=True)

    async def _live(self) -> None:
        self.home.changed.set()
        async with asyncio.TaskGroup() as group:
            living = group.create_task(self._run_all(group))
            keeping = group.create_task(self._keep_volumes())
            ending = group.create_task(self._ending.wait())
            deadline = self.home.pod["spec"].get("activeDeadlineSeconds")
            done, _ = await asyncio.wait({living, ending}, timeout=deadline, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                self._failure = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
            living.cancel()
            ending.cancel()
            await self._stop_all(self._grace())
            keeping.cancel()
        self._over = True
        self._release()

    async def _run_all(self, group: asyncio.TaskGroup) -> None:
        await self._prepare()
        never = self.home.pod["spec"].get("restartPolicy") == "Never"
        for container in self.inits:
            group.create_task(container.run())
            if container.known.sidecar:
                await container.started.wait()
                continue
            await container.finished.wait()
            if container.known.code != 0 and never:
                return
        for container in self.apps:
            group.create_task(container.run())
        for container in self.apps:
            await container.finished.wait()

    async def _attach(self) -> None:
        """Join the network; what the kernel refuses now is tried again."""
        network = self.home.node.network
        while self.home.network is NOWHERE:
            try:
                self.home.network = network.host() if self.home.pod["spec"].get("hostNetwork") else network.attach()
            except OSError as refused:
                text = f"Failed to create pod sandbox: {refused}"
                self.home.node.events.say(self.home.pod, "FailedCreatePodSandBox", text, warning=True)
                await asyncio.sleep(_RETRY)

    async def _prepare(self) -> None:
        """Make network, directories and volumes, waiting for what is not there yet."""
        await self._attach()
        self.home.directory.mkdir(parents=True, exist_ok=True)
        write_host_files(self.home.directory, self.home.pod, self.home.network.address)
        while True:
            try:
                self.home.volumes.write(self._addressed())
            except (ConfigError, OSError) as missing:
                text = f"MountVolume.SetUp failed: {missing}"
                self.home.node.events.say(self.home.pod, "FailedMount", text, warning=True)
                await self.home.configs.wait(_RETRY)
            else:
                self._prepared.set()
                return

    async def _keep_volumes(self) -> None:
        """Write volumes anew when what they show has changed, or a token nears its end."""
        await self._prepared.wait()
        while True:
            due = self.home.volumes.refresh_at()
            await self.home.configs.wait(3600.0 if due is None else due - time.monotonic())
            with contextlib.suppress(ConfigError, OSError):
                self.home.volumes.write(self._addressed())

    def _grace(self) -> float:
        metadata, spec = self.home.pod["metadata"], self.home.pod["spec"]
        own = spec.get("terminationGracePeriodSeconds", _GRACE)
        if self._gone:  # by force: the kubelet was told of no end, so it stops the pod as the pod itself asks
            return float(max(own, 1))
        return float(metadata.get("deletionGracePeriodSeconds", own))

    async def _stop_all(self, grace: float) -> None:
        """Stop the apps together, then the sidecars in reverse order; preStop hooks of all begin at once."""
        running = [c for c in self.containers if not c.finished.is_set() and c.begun]
        sidecars = [c for c in running if c.known.sidecar]
        others = [c for c in running if not c.known.sidecar]
        async with asyncio.TaskGroup() as group:
            stops = [group.create_task(c.stop(grace)) for c in others]
            for sidecar in reversed(sidecars):
                before = asyncio.gather(*[asyncio.shield(stop) for stop in stops])
                stops = [*stops, group.create_task(sidecar.stop(grace, before))]

    async def _tell_changes(self) -> None:
        while True:
            await self.home.changed.wait()
            self.home.changed.clear()
            await self._tell()

    async def _tell(self) -> None:
        """Write the status, unless it is as it was."""
        metadata = self.home.pod["metadata"]
        known = PodState(
            containers=[c.known for c in self.containers],
            address=self.home.network.address,
            started_at=self._started_at,
            over=self._over,
            reason=self._failure[0] if self._over else "",
            message=self._failure[1],
        )
        registry = self.home.node.registry
        while not self._gone:
            try:
                current = registry.get("pods", metadata["namespace"], metadata["name"])
                if current["metadata"]["uid"] != metadata["uid"]:
                    return
                status = pod_status(current, known)
                if status == current.get("status"):
                    return
                changed = copy.deepcopy(current)
                changed["status"] = status
                await registry.update("pods", changed, subresource="status")
            except StatusError as refused:
                if refused.reason != "Conflict":
                    if refused.code != 404:
                        _LOG.warning("status of pod %s was refused: %s", self.home.full_name, refused)
                    return
            else:
                return

    async def _removed(self) -> None:
        """Wait until a pod that has ended is to be deleted, and delete it."""
        await self._ending.wait()
        if self._gone:
            return
        metadata = self.home.pod["metadata"]
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
        with contextlib.suppress(StatusError):
            await self.home.node.registry.delete("pods", metadata["namespace"], metadata["name"], options=options)

    def _addressed(self) -> Object:
        """The pod with its address, which downward volumes may show before the status is told."""
        address = self.home.network.address
        status = {**(self.home.pod.get("status") or {}), "podIP": address, "podIPs": [{"ip": address}]}
        return {**self.home.pod, "status": status}

    def _release(self) -> None:
        """Leave the network; the address stays in the status."""
        self.home.node.network.detach(self.home.network)
        self.home.network = PodNetwork(address=self.home.network.address, descriptor=-1)
