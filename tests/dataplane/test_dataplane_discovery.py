"""Asking for destinations on demand."""

from __future__ import annotations

from typing import Any

from dataplane.discovery import IDLE_SECONDS, Discovery


class Timer:
    def __init__(self, callback: Any) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Stage:
    """Stand-ins for timers and subscriptions."""

    def __init__(self) -> None:
        self.known: dict[str, bool] = {}
        self.wanted: list[str] = []
        self.dropped: list[str] = []
        self.timers: list[Timer] = []
        self.told: list[bool] = []
        self.discovery = Discovery(self, self, self.known.get)  # type: ignore[arg-type]
        self.discovery.connected = True

    def after(self, seconds: float, callback: Any) -> Timer:
        self.timers.append(Timer(callback))
        return self.timers[-1]

    def want(self, name: str) -> None:
        self.wanted.append(name)

    def drop(self, name: str) -> None:
        self.dropped.append(name)


def test_unknown_destination_is_asked_for_once_and_all_who_wait_are_told() -> None:
    """Two connections, one subscription, one answer each."""
    stage = Stage()
    stage.discovery.want("a", stage.told.append)
    stage.discovery.want("a", stage.told.append)
    assert (stage.wanted, stage.told) == (["a"], [])
    stage.known["a"] = True
    stage.discovery.changed()
    stage.discovery.changed()

    assert stage.told == [True, True]
    assert stage.timers[0].cancelled


def test_absent_destination_is_answered_with_no() -> None:
    """What the mesh does not know passes through."""
    stage = Stage()
    stage.discovery.want("a", stage.told.append)
    stage.known["a"] = False
    stage.discovery.changed()

    assert stage.told == [False]


def test_nobody_waits_for_a_control_plane_that_is_away() -> None:
    """Neither who waits when it goes, nor who comes after."""
    stage = Stage()
    stage.discovery.want("a", stage.told.append)
    stage.discovery.disconnected()
    stage.discovery.want("b", stage.told.append)

    assert stage.told == [False, False]
    assert stage.wanted == ["a", "b"]


def test_silence_of_the_control_plane_ends_the_wait() -> None:
    """The timer answers no; a later answer calls nobody twice."""
    stage = Stage()
    stage.discovery.want("a", stage.told.append)
    stage.timers[0].callback()
    stage.known["a"] = True
    stage.discovery.changed()

    assert stage.told == [False]


def test_idle_destination_is_let_go_and_asked_for_again() -> None:
    """Use keeps it, silence drops it."""
    stage = Stage()
    stage.known["a"] = True
    stage.discovery.want("a", stage.told.append)
    stage.discovery.sweep(IDLE_SECONDS)
    stage.discovery.touch("a")
    stage.discovery.sweep(IDLE_SECONDS)
    assert stage.dropped == []
    stage.discovery.sweep(IDLE_SECONDS)
    stage.discovery.sweep(1)
    assert stage.dropped == ["a"]
    stage.discovery.want("a", stage.told.append)

    assert stage.wanted == ["a", "a"]
