"""How containers and what runs beside them ended is told as it was, whichever end is heard of first."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable

import pytest

from devcluster.runtime import launch
from devcluster.runtime.spawner import KILLED, Process


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def tell(control: socket.socket, **message: object) -> None:
    control.send(json.dumps(message).encode())


@pytest.mark.parametrize("late", ["signal", "exec"])
async def test_codes_are_read_though_the_container_left_with_an_order_unread(late: str) -> None:
    """A socket closed with unread packets resets its peer before the peer has read what came: both codes are there all the same."""
    ours, theirs = pair()
    process = Process(ours)
    tell(theirs, started=True)
    await process.started()
    done = process.execute(["true"], [])
    theirs.recv(1 << 16)
    tell(theirs, done=1, exit=0)
    tell(theirs, exit=3)
    lost = process.execute(["true"], []) if late == "exec" else process.signal(15)
    theirs.close()
    await process.ended.wait()

    assert (await done, process.code) == (0, 3)
    assert lost is None or await lost == KILLED


async def test_what_ran_in_a_container_that_went_without_a_word_was_killed() -> None:
    """Nothing is known but that it is gone."""
    ours, theirs = pair()
    process = Process(ours)
    tell(theirs, started=True)
    await process.started()
    running = process.execute(["sleep", "1"], [])
    theirs.close()
    await process.ended.wait()

    assert (await running, process.code) == (KILLED, KILLED)


def test_program_that_ended_before_its_container_is_told_first() -> None:
    """Both are found at once, the container's own program first, since it is the oldest child."""
    ours, theirs = pair()

    def first_process() -> None:
        init = launch._Init({}, theirs)
        main, beside = (_ended(code) for code in (5, 0))
        init._executed[beside] = 7
        for child in (main, beside):
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        init._reap(main)

    child = _forked(first_process)
    theirs.close()
    said = []
    while data := ours.recv(1 << 16):
        said.append(json.loads(data))
    os.waitpid(child, 0)
    ours.close()

    assert said == [{"done": 7, "exit": 0}, {"exit": 5}]


def _ended(code: int) -> int:
    """A child that ends with this code."""
    return _forked(lambda: os._exit(code))


def _forked(run: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        try:
            run()
        finally:
            os._exit(1)
    return child
