"""What the exchange machine is there to find: with a repair taken out, or a rule broken, it fails.

Planted is what lies in modules that are not compiled; the repairs in those that are have their stories in `test_proxy_exchange`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dataplane.config import RetryPolicy
from dataplane.protocol import codes
from dataplane.proxy.request import mirror, retry
from dataplane.proxy.server import conduct
from tests.dataplane.proxy.test_proxy_exchange_machine import ExchangeMachine
from tests.support.machines import finds

Patch = pytest.MonkeyPatch


def what_a_server_has(patch: Patch) -> None:
    """`reset-before-request` repeats what a server has."""
    asked = retry.on_reset

    def on_reset(policy: RetryPolicy, code: int) -> bool:
        return "reset-before-request" in policy.on or asked(policy, code)

    patch.setattr(retry, "on_reset", on_reset)


def unsafe(patch: Patch) -> None:
    """The race on a kept connection repeats a POST."""
    asked = retry.unasked

    def unasked(code: int, method: bytes, *, raced: bool, tries: int) -> bool:
        return asked(code, b"GET", raced=raced, tries=tries)

    patch.setattr(retry, "unasked", unasked)


def silent(patch: Patch) -> None:
    """What a server has that reads no more, and so does not hear that its connection was given up, is sent to another one."""
    failed, asked = conduct.failed, retry.unasked
    given_up: list[str] = []

    def note(runtime: Any, slot: Any, how: int, reason: str) -> None:
        given_up[:] = [reason] if "PING" in reason else given_up
        failed(runtime, slot, how, reason)

    def unasked(code: int, method: bytes, *, raced: bool, tries: int) -> bool:
        lost = code == codes.CONNECT_ERROR and bool(given_up) and tries == 1
        given_up.clear()
        return lost or asked(code, method, raced=raced, tries=tries)

    patch.setattr(conduct, "failed", note)
    patch.setattr(retry, "unasked", unasked)


def copies(patch: Patch) -> None:
    """A copy does not end with its request."""
    patch.setattr(mirror, "give_up", lambda _: None)


@pytest.mark.parametrize(
    ("plant", "told"),
    [(what_a_server_has, "sent twice"), (unsafe, "sent twice"), (silent, "sent twice"), (copies, "for ever")],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_machine_finds_what_is_planted(monkeypatch: Patch, plant: Callable[[Patch], None], told: str) -> None:
    """It fails, and says so."""
    plant(monkeypatch)
    with pytest.raises(AssertionError, match=told):
        finds(ExchangeMachine, 1000, 50)
