"""Containers as this process sees them: started by the fork server, told of by their own socket.

In: a specification and where its output goes. Out: a `Process` that tells when it has started and ended, takes signals and starts
further programs beside it. Refuses with StartError when a program cannot be started.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

KILLED: Final = 128 + signal.SIGKILL
_PACKAGE: Final = Path(__file__).resolve().parent
_BOOT: Final = """
import sys, types
for name, path in (("devcluster", sys.argv[2]), ("devcluster.runtime", sys.argv[3])):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [path]
from devcluster.runtime.launch import main
main()
"""
"""The packages' own `__init__` would import the whole cluster into every container."""


class StartError(Exception):
    """A program could not be started; the message says why."""


class Spawner:
    """The fork server."""

    def __init__(self) -> None:
        self._server: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the fork server."""
        self._server, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        interpreter = getattr(sys, "_base_executable", sys.executable)
        command = [interpreter, "-I", "-S", "-c", _BOOT, str(theirs.fileno()), str(_PACKAGE.parent), str(_PACKAGE)]
        self._process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env={}, start_new_session=True
        )
        theirs.close()

    def stop(self) -> None:
        """End the fork server; containers live on until their own sockets close."""
        if self._server is not None and self._process is not None:
            self._server.close()
            self._process.wait()

    async def run(self, spec: Mapping[str, Any], streams: Sequence[int], network: int) -> Process:
        """Start a container's program with the three standard streams; raises StartError."""
        assert self._server is not None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        described = os.memfd_create("container", os.MFD_CLOEXEC)
        with theirs, os.fdopen(described, "wb") as file:
            file.write(json.dumps(spec).encode())
            file.flush()
            os.lseek(described, 0, os.SEEK_SET)
            joined = [network] if network >= 0 else []
            try:
                socket.send_fds(self._server, [b"start"], [described, theirs.fileno(), *streams, *joined])
            except OSError as broken:
                ours.close()
                raise StartError(f"the process that starts containers is gone: {broken}") from None
        process = Process(ours)
        await process.started()
        return process


class Process:
    """A running container's program and what was started beside it."""

    def __init__(self, control: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._control = control
        self._control.setblocking(False)
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._executed: dict[int, asyncio.Future[int]] = {}
        self._terminals: dict[int, asyncio.Future[int]] = {}
        self._count = 0
        self.code = KILLED
        self.ended = asyncio.Event()
        """Set when the program and all beside it are gone; `code` says how it ended (negative: by that signal)."""
        self._loop.add_reader(control.fileno(), self._heard)

    async def started(self) -> None:
        """Wait until the program runs; raises StartError."""
        try:
            await asyncio.shield(self._started)
        except asyncio.CancelledError:
            self._close()
            raise

    def signal(self, number: int) -> None:
        """Send a signal to the program."""
        with contextlib.suppress(OSError):
            self._control.send(json.dumps({"signal": number}).encode())

    def execute(self, argv: Sequence[str], streams: Sequence[int]) -> asyncio.Future[int]:
        """Start a further program in the container; gives its exit code, or StartError."""
        return self._order(argv, streams, None)

    def execute_on_terminal(self, argv: Sequence[str]) -> tuple[asyncio.Future[int], asyncio.Future[int]]:
        """Start a further program on a terminal of its own; gives that, and the exit code, or StartError."""
        terminal: asyncio.Future[int] = self._loop.create_future()
        return terminal, self._order(argv, (), terminal)

    def _order(
        self, argv: Sequence[str], streams: Sequence[int], terminal: asyncio.Future[int] | None
    ) -> asyncio.Future[int]:
        self._count += 1
        number = self._count
        done: asyncio.Future[int] = self._loop.create_future()
        self._executed[number] = done
        if terminal is not None:
            self._terminals[number] = terminal
            done.add_done_callback(lambda _: terminal.cancel())
        order = json.dumps({"exec": list(argv), "tty": terminal is not None, "id": number}).encode()
        try:
            socket.send_fds(self._control, [order], list(streams))
        except OSError:
            self._executed.pop(number)
            done.set_exception(StartError("the container is not running"))
        return done

    def _heard(self) -> None:
        while True:
            descriptors: list[int] = []
            try:
                data, descriptors, _, _ = socket.recv_fds(self._control, 1 << 17, 1, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except ConnectionResetError:
                # The container left with an order unread. That is told once and before what it said last, which is still to be read.
                continue
            except OSError:
                data = b""
            if not data:
                self._close()
                return
            self._understood(json.loads(data), descriptors)

    def _understood(self, message: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        if "terminal" in message:
            terminal = self._terminals.pop(message["terminal"])
            if terminal.done():
                os.close(descriptors[0])
            else:
                terminal.set_result(descriptors[0])
        elif "done" in message:
            done = self._executed.pop(message["done"])
            if not done.cancelled():
                if "error" in message:
                    done.set_exception(StartError(message["error"]))
                else:
                    done.set_result(shell_code(message["exit"]))
        elif "exit" in message:
            self.code = message["exit"]
        elif not self._started.done():
            if "error" in message:
                self._started.set_exception(StartError(message["error"]))
            else:
                self._started.set_result(None)

    def _close(self) -> None:
        if self.ended.is_set():
            return
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        self.ended.set()
        if not self._started.done():
            self._started.set_exception(StartError("the container ended before its program began"))
        for done in self._executed.values():
            if not done.done():
                done.set_result(KILLED)


def shell_code(code: int) -> int:
    """Give an exit code as shells and Kubernetes count it: 128 and the signal."""
    return 128 - code if code < 0 else code
