"""The process that becomes containers: a small fork server, and in each container a first process that keeps the others.

It is started with a bare interpreter (no site, no packages of others), so a container starts in a few milliseconds. It speaks with
`spawner` over a packet socket: each packet there is one container to start, with its specification and descriptors. In the container,
process 1 starts the program, reaps orphans, passes signals on, starts what `exec` asks for, and tells how things ended, over a socket
of that container's own. When that socket closes, however the other side ended, it leaves and the kernel ends all that is in there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import termios
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from devcluster.runtime import linux, rootfs

_PACKET: Final = 1 << 17
_LAST_CAPABILITY: Final = 40
_TIOCSPTLCK: Final = 0x40045431
_TIOCGPTPEER: Final = 0x5441


def main() -> None:
    """Start a container for every packet until the socket closes."""
    server = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    while True:
        data, descriptors, _, _ = socket.recv_fds(server, 64, 8, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return
        if os.fork() == 0:
            server.close()
            _begin(descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _begin(descriptors: Sequence[int]) -> NoReturn:
    """Make the container's process namespace; only a child can be the first process in there."""
    try:
        linux.unshare(linux.CLONE_NEWPID)
        if os.fork() == 0:
            _become(descriptors)
    finally:
        os._exit(0)


def _become(descriptors: Sequence[int]) -> NoReturn:
    specification, control, *rest = descriptors
    with os.fdopen(specification, "rb") as file:
        spec = json.load(file)
    _Init(spec, socket.socket(fileno=control)).run(rest[:3], rest[3:])


class _ExecError(Exception):
    """A program did not start; the message says why."""


class _Init:
    """Process 1 of a container."""

    def __init__(self, spec: Mapping[str, Any], control: socket.socket) -> None:
        self._spec = spec
        self._control = control
        self._executed: dict[int, int] = {}

    def run(self, streams: Sequence[int], network: Sequence[int]) -> NoReturn:
        """Enter the namespaces, start the program, and stay until it ended."""
        woken, waker = socket.socketpair()
        for end in (woken, waker):
            end.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            self._enter(network)
            main = self._start(self._spec["argv"], streams, tty=False)
        except (OSError, _ExecError) as failed:
            self._say({"error": str(failed)})
            os._exit(1)
        for descriptor in streams:
            os.close(descriptor)
        self._say({"started": True})
        self._keep(main, woken)

    def _enter(self, network: Sequence[int]) -> None:
        for descriptor in network:
            linux.setns(descriptor, linux.CLONE_NEWNET)
            os.close(descriptor)
        linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC)
        socket.sethostname(self._spec["hostname"])
        rootfs.build(self._spec)

    def _keep(self, main: int, woken: socket.socket) -> NoReturn:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(woken, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if woken.fileno() in ready:
                with contextlib.suppress(BlockingIOError):
                    woken.recv(4096)
                self._reap(main)
            if self._control.fileno() in ready:
                self._obey(main)

    def _reap(self, main: int) -> None:
        """Tell who ended, the container's own program last: it is found first, being the oldest, and with it all is over."""
        over: int | None = None
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = found
                code = os.waitstatus_to_exitcode(status)
                if pid == main:
                    over = code
                elif pid in self._executed:
                    self._say({"done": self._executed.pop(pid), "exit": code})
        if over is not None:
            self._say({"exit": over})
            os._exit(0)

    def _obey(self, main: int) -> None:
        data, descriptors, _, _ = socket.recv_fds(self._control, _PACKET, 8, socket.MSG_CMSG_CLOEXEC)
        if not data:
            os._exit(0)
        order = json.loads(data)
        if "signal" in order:
            with contextlib.suppress(ProcessLookupError):
                os.kill(main, order["signal"])
        else:
            self._exec(order, descriptors)

    def _exec(self, order: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        try:
            if order["tty"]:
                descriptors = self._terminal(order["id"])
            pid = self._start(order["exec"], descriptors, tty=order["tty"])
        except (OSError, _ExecError) as failed:
            self._say({"done": order["id"], "error": str(failed)})
        else:
            self._executed[pid] = order["id"]
        for descriptor in set(descriptors):
            os.close(descriptor)

    def _terminal(self, number: int) -> list[int]:
        """Make a terminal of the container's own, so that it has a name in there; the other end goes to who asked."""
        master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        os.fchown(slave, 0 if self._spec["one_user"] else self._spec["uid"], -1)
        socket.send_fds(self._control, [json.dumps({"terminal": number}).encode()], [master])
        os.close(master)
        return [slave] * 3

    def _start(self, argv: Sequence[str], streams: Sequence[int], *, tty: bool) -> int:
        """Start a program as the container's user; raises _ExecError when it cannot be."""
        trouble, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                self._become_program(argv, streams, tty=tty)
            except OSError as failed:
                os.write(tell, _sentence(argv[0], failed).encode())
            finally:
                os._exit(127)
        os.close(tell)
        with os.fdopen(trouble, "rb") as file:
            said = file.read()
        if said:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
            raise _ExecError(said.decode())
        return pid

    def _become_program(self, argv: Sequence[str], streams: Sequence[int], *, tty: bool) -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        for target, descriptor in enumerate(streams):
            os.dup2(descriptor, target)
        if tty:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self._drop_rights()
        os.chdir(self._spec["cwd"])
        env = self._spec["env"]
        os.execvpe(argv[0], list(argv), env)

    def _drop_rights(self) -> None:
        spec = self._spec
        for number in set(range(_LAST_CAPABILITY + 1)) - set(spec["capabilities"]):
            linux.prctl(linux.PR_CAPBSET_DROP, number)
        if not spec["one_user"]:
            os.setgroups(spec["groups"])
            os.setresgid(spec["gid"], spec["gid"], spec["gid"])
            os.setresuid(spec["uid"], spec["uid"], spec["uid"])
        if spec["no_new_privileges"]:
            linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)

    def _say(self, message: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._control.send(json.dumps(message).encode())


def _sentence(program: str, failed: OSError) -> str:
    if isinstance(failed, FileNotFoundError):
        where = "no such file or directory" if "/" in program else "executable file not found in $PATH"
        return f'exec: "{program}": {where}'
    if isinstance(failed, PermissionError):
        return f'exec: "{program}": permission denied'
    return f'exec: "{program}": {failed}'
