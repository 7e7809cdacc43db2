"""One container of a pod: its program run after run, until it has ended for good.

In: the pod it belongs to, its specification. Out: its `ContainerState`, kept true, and the pod told at each change. What keeps it from
starting (an image nobody knows, a Secret that is missing) is a waiting state with a sentence, tried again when something changes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Final

from devcluster.runtime.environment import ConfigError, environment, expand, hostname
from devcluster.runtime.facilities import happens
from devcluster.runtime.health import Health, run_hook
from devcluster.runtime.home import Home
from devcluster.runtime.images import Image, ImageError
from devcluster.runtime.logs import LogFile
from devcluster.runtime.security import rights
from devcluster.runtime.spawner import Process, StartError, shell_code
from devcluster.runtime.status import ContainerState, now
from devcluster.runtime.streams import LogPipe

Object = dict[str, Any]
_BACK_OFF: Final = 10.0
_LONGEST_BACK_OFF: Final = 300.0
_FORGIVEN: Final = 600.0
"""After a run of so many seconds the next failure counts as the first again."""
_SHORTEST_GRACE: Final = 2.0


class Container:
    """A container and its runs."""

    def __init__(self, home: Home, spec: Object, *, init: bool = False) -> None:
        sidecar = init and spec.get("restartPolicy") == "Always"
        self.home = home
        self.spec = spec
        self.name: str = spec["name"]
        self.known = ContainerState(spec=spec, init=init, sidecar=sidecar)
        if home.pod["spec"].get("initContainers") and not init:
            self.known.state = {"waiting": {"reason": "PodInitializing"}}
        self.process: Process | None = None
        self.log: LogFile | None = None
        self.previous_log: LogFile | None = None
        self.started = asyncio.Event()
        """Set once it has passed its startup probe for the first time."""
        self.finished = asyncio.Event()
        self.begun = False
        self._stop = asyncio.Event()
        self._runs = 0
        self._delay = 0.0

    @property
    def stopping(self) -> bool:
        """Whether it has been told to stop for good."""
        return self._stop.is_set()

    async def run(self) -> None:
        """Run until it has ended for good or is told to stop."""
        self.begun = True
        try:
            while not self.stopping:
                begun = time.monotonic()
                await self._once()
                if self.stopping or not self._again():
                    break
                if time.monotonic() - begun > _FORGIVEN:
                    self._delay = 0.0
                await self._back_off()
        finally:
            self.finished.set()
            self.home.changed.set()

    async def stop(self, grace: float, turn: Awaitable[Any] | None = None) -> None:
        """End it for good: preStop, then when it is its turn SIGTERM, and SIGKILL when the grace is over."""
        deadline = time.monotonic() + grace
        self._stop.set()
        if self.process is not None and not self.finished.is_set():
            self.say("Killing", f"Stopping container {self.name}")
            hook = (self.spec.get("lifecycle") or {}).get("preStop")
            if hook and grace > 0:
                await self._pre_stop(hook, grace)
            if turn is not None:
                await turn
            if self.process is not None:
                left = deadline - time.monotonic()
                await self.end(self.process, max(left, _SHORTEST_GRACE) if grace > 0 else 0.0)
        elif turn is not None:
            await turn
        await self.finished.wait()

    async def end(self, process: Process, grace: float) -> None:
        """End one run."""
        if grace > 0:
            process.signal(signal.SIGTERM)
        if not await happens(process.ended, grace):
            process.signal(signal.SIGKILL)
            await process.ended.wait()

    def say(self, reason: str, message: str, *, warning: bool = False) -> None:
        """Record an event of this container."""
        section = "initContainers" if self.known.init else "containers"
        path = f"spec.{section}{{{self.name}}}"
        self.home.node.events.say(self.home.pod, reason, message, warning=warning, path=path)

    async def _pre_stop(self, hook: Object, grace: float) -> None:
        try:
            async with asyncio.timeout(grace):
                said = await run_hook(hook, self)
        except TimeoutError:
            said = f"did not end within the grace period of {grace:.0f} s"
        if said:
            self.say("FailedPreStopHook", f"PreStopHook failed: {said}", warning=True)

    def _again(self) -> bool:
        if self.known.sidecar:
            return True
        policy = self.home.pod["spec"].get("restartPolicy", "Always")
        failed = self.known.code != 0
        return failed and policy != "Never" if self.known.init or policy != "Always" else True

    async def _back_off(self) -> None:
        """The first restart is at once, the next ones wait ever longer."""
        delay, self._delay = self._delay, min(max(self._delay * 2, _BACK_OFF), _LONGEST_BACK_OFF)
        if delay:
            message = f"back-off {delay:.0f}s restarting failed container={self.name} pod={self.home.full_name}"
            self.known.last = self.known.state
            self.known.state = {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
            self.home.changed.set()
            text = f"Back-off restarting failed container {self.name} in pod {self.home.full_name}"
            self.say("BackOff", text, warning=True)
            await happens(self._stop, delay)

    async def _once(self) -> None:
        planned = await self._plan()
        if planned is None:
            return
        log = self._open_log()
        pipes = [LogPipe(log, name) for name in ("stdout", "stderr")]
        streams = [os.open(os.devnull, os.O_RDONLY), *[await pipe.open() for pipe in pipes]]
        try:
            process = await self.home.node.spawner.run(planned, streams, self.home.network.descriptor)
        except StartError as failed:
            log.close()
            self._not_started(str(failed))
            return
        finally:
            for descriptor in streams:
                os.close(descriptor)
        try:
            await self._live(process)
        finally:
            self.process = None
            for pipe in pipes:
                await pipe.ended.wait()
            log.close()
            self._tell_end(shell_code(process.code), planned["message"])

    async def _live(self, process: Process) -> None:
        self.process = process
        self._tell_start()
        if self.stopping:
            process.signal(signal.SIGKILL)
        async with asyncio.TaskGroup() as group:
            health = group.create_task(Health(self, process).watch())
            try:
                await process.ended.wait()
            except asyncio.CancelledError:
                process.signal(signal.SIGKILL)
                raise
            finally:
                health.cancel()

    def _open_log(self) -> LogFile:
        place = self.home.directory / "logs" / self.name
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{self._runs - 2}.log").unlink(missing_ok=True)
        self.previous_log, self.log = self.log, LogFile(place / f"{self._runs}.log")
        return self.log

    def _tell_start(self) -> None:
        known = self.known
        known.last = known.state if "terminated" in known.state else known.last
        known.restarts += self._runs > 0
        self._runs += 1
        known.identity = f"devcluster://{uuid.uuid4().hex}"
        known.state = {"running": {"startedAt": now()}}
        self.say("Started", f"Started container {self.name}")
        self.home.changed.set()

    def _tell_end(self, code: int, message: Path) -> None:
        known = self.known
        begun = known.state.get("running", {}).get("startedAt", now())
        ended: Object = {
            "exitCode": code,
            "reason": "Completed" if code == 0 else "Error",
            "startedAt": begun,
            "finishedAt": now(),
            "containerID": known.identity,
        }
        said = Path(message).read_text(errors="replace")[:4096] if Path(message).exists() else ""
        if said:
            ended["message"] = said
        known.state, known.ready, known.started = {"terminated": ended}, False, False
        self.home.changed.set()

    def _not_started(self, why: str) -> None:
        known = self.known
        known.last = known.state if "terminated" in known.state else known.last
        known.restarts += self._runs > 0
        self._runs += 1
        stamp = now()
        ended = {"exitCode": 128, "reason": "StartError", "message": why, "startedAt": stamp, "finishedAt": stamp}
        known.state = {"terminated": ended}
        self.say("Failed", f"Error: failed to start container {self.name}: {why}", warning=True)
        self.home.changed.set()

    async def _plan(self) -> Object | None:
        """Make the specification of the next run up, waiting for what it needs; None when told to stop."""
        delay = _BACK_OFF
        while not self.stopping:
            try:
                image = await self.home.node.images.find(self.spec.get("image", ""))
                planned = self._specification(image)
            except ImageError as unknown:
                self._wait_for("ErrImagePull", str(unknown), f"Failed to pull image: {unknown}")
                await happens(self._stop, delay)
                delay = min(delay * 2, _LONGEST_BACK_OFF)
            except (ConfigError, OSError) as missing:
                self._wait_for("CreateContainerConfigError", str(missing), f"Error: {missing}")
                await self.home.configs.wait(_BACK_OFF, unless=self._stop)
            else:
                self.say("Pulled", f'Container image "{self.spec.get("image", "")}" already present on machine')
                self.say("Created", f"Created container: {self.name}")
                return planned
        return None

    def _wait_for(self, reason: str, message: str, event: str) -> None:
        if "terminated" in self.known.state:
            self.known.last = self.known.state
        self.known.state = {"waiting": {"reason": reason, "message": message}}
        self.say("Failed", event, warning=True)
        self.home.changed.set()

    def _specification(self, image: Image) -> Object:
        """Say what `launch` needs to know; raises ConfigError."""
        home, spec = self.home, self.spec
        env = environment(home.pod, spec, image, home.node.registry)
        allowed = rights(home.pod, spec, image.owner())
        env.setdefault("HOME", "/root" if allowed.uid == 0 else "/")
        argv = _command(spec, image, env)
        message = home.directory / "messages" / f"{self.name}-{self._runs}"
        message.parent.mkdir(exist_ok=True)
        message.touch()
        message.chmod(0o666)
        own = {"/etc/hosts": "hosts", "/etc/resolv.conf": "resolv.conf", "/etc/hostname": "hostname"}
        mounts = [{"source": str(home.directory / name), "target": t, "read_only": False} for t, name in own.items()]
        path = spec.get("terminationMessagePath") or "/dev/termination-log"
        mounts.append({"source": str(message), "target": path, "read_only": False})
        mounts += home.volumes.mounts(home.pod, spec, env)
        return {
            "stage": str(home.node.root / "stage"),
            "hostname": hostname(home.pod),
            "image": image.root,
            "programs": image.programs,
            "mounts": mounts,
            "cwd": spec.get("workingDir") or image.recipe.directory or "/",
            "argv": argv,
            "env": env,
            "message": str(message),
            "one_user": home.node.one_user,
            "uid": allowed.uid,
            "gid": allowed.gid,
            "groups": allowed.groups,
            "capabilities": allowed.capabilities,
            "no_new_privileges": allowed.no_new_privileges,
            "privileged": allowed.privileged,
            "read_only": allowed.read_only,
        }


def _command(spec: Object, image: Image, env: dict[str, str]) -> list[str]:
    """Say what is run: the pod's words, or where it has none the image's; raises ConfigError."""
    given = [expand(word, env) for word in spec.get("args") or []]
    if spec.get("command"):
        return [*(expand(word, env) for word in spec["command"]), *given]
    found = [*image.recipe.entrypoint, *(given or image.recipe.command)]
    if not found:
        raise ConfigError("no command specified: neither the image nor the pod has one, so command or args is needed")
    return found
