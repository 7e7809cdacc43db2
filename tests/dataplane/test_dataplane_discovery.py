"""The destinations a workload uses: who is answered when, and what ends by which rule."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

import pytest

from dataplane.discovery import ANSWER_SECONDS, IDLE_SECONDS, WARM_SECONDS, Discovery
from dataplane.finding import ABSENT, ASKED, KNOWN, Finding, Found
from dataplane.telemetry.metrics import Counter


class Timer:
    def __init__(self, seconds: float, callback: Any) -> None:
        self.seconds = seconds
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Stage:
    """Stand-ins for timers, clock, subscriptions and open connections."""

    def __init__(self, most: int = 100) -> None:
        self.now = 1000.0
        self.known: dict[str, Finding] = {}
        self.wanted: list[str] = []
        self.leads: dict[str, int] = {}
        """To how many names of a type a destination leads."""
        self.dropped: list[str] = []
        self.dropping: Callable[[], None] = lambda: None
        self.open: set[str] = set()
        self.timers: list[Timer] = []
        self.told: list[Finding] = []
        self.overflow = Counter()
        self.discovery = Discovery(self, lambda: self.now, self, lambda: self.open, self.overflow)  # type: ignore[arg-type]
        self.discovery.most = most

    def after(self, seconds: float, callback: Any) -> Timer:
        self.timers.append(Timer(seconds, callback))
        return self.timers[-1]

    def want(self, name: str) -> None:
        self.wanted.append(name)

    def drop(self, names: AbstractSet[str]) -> None:
        self.dropped += sorted(names)
        self.dropping()

    def find(self, name: str) -> Finding:
        return self.known.get(name, ASKED)

    def leading(self, more_than: int) -> dict[str, tuple[int, int]]:
        return {name: (2 * count, count) for name, count in self.leads.items() if count > more_than}

    def held(self) -> tuple[int, int]:
        counts = [self.leads.get(name, 1) for name in self.discovery.names]
        return 2 * sum(counts), sum(counts)

    def ask(self, *names: str) -> None:
        for name in names:
            self.discovery.want(name, self.told.append)

    def idle(self, seconds: float = IDLE_SECONDS + 1) -> None:
        """Time passes and is noticed."""
        self.now += seconds
        self.discovery.sweep()


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_unknown_destination_is_asked_for_once_and_all_who_wait_are_told(stage: Stage) -> None:
    """Two connections, one subscription, one answer each."""
    stage.ask("a", "a")
    assert (stage.wanted, stage.told) == (["a"], [])
    stage.known["a"] = KNOWN
    stage.discovery.changed()
    stage.discovery.changed()

    assert stage.told == [KNOWN, KNOWN]
    assert stage.timers[0].cancelled


@pytest.mark.parametrize("found", [ABSENT, Finding(Found.REFUSED, "no such filter")])
def test_destination_that_cannot_be_used_is_answered_as_what_it_is(stage: Stage, found: Finding) -> None:
    """What the mesh does not know passes through; what this sidecar cannot read does not."""
    stage.ask("a")
    stage.known["a"] = found
    stage.discovery.changed()
    stage.ask("a")

    assert stage.told == [found, found]


def test_nobody_waits_for_a_control_plane_that_is_away(stage: Stage) -> None:
    """Neither who waits when it goes, nor who comes after."""
    stage.ask("a")
    stage.discovery.connection(False)
    stage.ask("b")

    assert stage.told == [ASKED, ASKED]
    assert stage.wanted == ["a", "b"]


def test_silence_of_the_control_plane_ends_the_wait(stage: Stage) -> None:
    """The timer answers; a later answer calls nobody twice."""
    stage.ask("a")
    assert stage.timers[0].seconds == ANSWER_SECONDS
    stage.timers[0].callback()
    stage.known["a"] = KNOWN
    stage.discovery.changed()

    assert stage.told == [ASKED]


def test_idle_destination_is_let_go_and_asked_for_again(stage: Stage) -> None:
    """Use keeps it, silence drops it."""
    stage.known["a"] = KNOWN
    stage.ask("a")
    stage.idle(IDLE_SECONDS)
    stage.discovery.touch("a")
    stage.idle(IDLE_SECONDS)
    assert stage.dropped == []
    stage.idle(1)
    assert stage.dropped == ["a"]
    stage.ask("a")

    assert stage.wanted == ["a", "a"]


def test_idle_time_is_what_the_settings_say(stage: Stage) -> None:
    """A workload that calls many destinations once may let them go sooner."""
    stage.discovery.idle_seconds = 5.0
    stage.discovery.touch("a")
    stage.idle(5)
    assert stage.dropped == []
    stage.idle(1)

    assert stage.dropped == ["a"]


def test_open_connection_keeps_its_destination_however_long_it_is_quiet(stage: Stage) -> None:
    """No new connection touches it; it is in use all the same, and becomes idle when it ends."""
    stage.discovery.touch("a")
    stage.discovery.touch("b")
    stage.open = {"a"}
    stage.idle()
    assert stage.dropped == ["b"]
    stage.open = set()
    stage.idle(IDLE_SECONDS)
    assert stage.dropped == ["b"]
    stage.idle(1)

    assert stage.dropped == ["b", "a"]


def test_connection_open_in_another_worker_keeps_its_destination(stage: Stage) -> None:
    """From its first moment: a worker that was not asked since counts with all it has used."""
    stage.known["a"] = KNOWN
    stage.discovery.want("a", stage.told.append, 1)
    stage.discovery.touch("b", 2)
    stage.idle()
    assert stage.dropped == []
    stage.discovery.report(1, set())
    stage.discovery.report(2, {"b"})
    stage.idle()

    assert stage.dropped == ["a"]


def test_use_in_another_worker_of_what_was_just_let_go_asks_again(stage: Stage) -> None:
    """It still had the table when its connection came."""
    stage.discovery.touch("a")
    stage.idle()
    stage.discovery.touch("a", 1)

    assert stage.wanted == ["a", "a"]


def test_time_without_a_control_plane_does_not_make_idle(stage: Stage) -> None:
    """Nothing is let go that could not be asked for again, over any number of absences."""
    stage.ask("a")
    for _ in range(3):
        stage.discovery.connection(False)
        stage.idle()
        stage.discovery.connection(True)
        stage.idle(IDLE_SECONDS / 3)
    assert stage.dropped == []
    stage.idle(1)

    assert stage.dropped == ["a"]


def test_what_was_idle_when_the_control_plane_went_is_kept_until_it_is_back(stage: Stage) -> None:
    """Its next connection would find nobody to ask, and pass through in plaintext. What is used meanwhile ages from its return."""
    stage.ask("a", "b")
    stage.now += IDLE_SECONDS + 1
    stage.discovery.connection(False)
    stage.idle()
    assert stage.dropped == []
    stage.discovery.touch("b")
    stage.discovery.connection(True)
    stage.idle(IDLE_SECONDS)
    assert stage.dropped == ["a"]
    stage.idle(1)

    assert stage.dropped == ["a", "b"]


def test_hint_is_taken_once_and_ends_by_the_idle_rule(stage: Stage) -> None:
    """What is hinted at later is not this start's."""
    stage.discovery.adopt(["a", "b"])
    stage.discovery.adopt(["c"])
    assert stage.wanted == ["a", "b"]
    stage.idle(IDLE_SECONDS)
    stage.discovery.touch("a")
    stage.idle(1)

    assert stage.dropped == ["b"]


def test_warm_is_when_all_that_was_hinted_at_is_known_or_time_is_up(stage: Stage) -> None:
    """A hint holds up readiness for so long and no longer."""
    assert not stage.discovery.warm
    stage.discovery.adopt(["a", "b"])
    stage.known["a"] = KNOWN
    stage.discovery.changed()
    assert not stage.discovery.warm
    (timer,) = stage.timers
    assert timer.seconds == WARM_SECONDS
    timer.callback()

    assert stage.discovery.warm


def test_too_many_destinations_let_the_least_recently_used_go_and_none_that_is_open() -> None:
    """Away or not: what is kept is bounded."""
    stage = Stage(most=3)
    stage.open = {"a"}
    for name in ("a", "b", "c"):
        stage.now += 1
        stage.ask(name)
    stage.discovery.connection(False)
    stage.ask("d")
    assert stage.dropped == ["b"]
    stage.open = {"a", "c", "d"}
    stage.ask("e")

    assert stage.dropped == ["b", "a"]
    assert stage.discovery.names == {"c", "d", "e"}
    assert stage.overflow.value == 2


def test_who_waits_for_what_is_let_go_is_answered() -> None:
    """Nobody is left hanging, not even where everything is waited for."""
    stage = Stage(most=2)
    stage.ask("a", "b", "c")

    assert stage.told == [ASKED]
    assert stage.dropped == ["a"]


@pytest.mark.parametrize("bound", [(10_000, 400), (800, 10_000)])
def test_destinations_that_lead_to_too_much_together_let_the_least_recently_used_go(bound: tuple[int, int]) -> None:
    """What is held is bounded, not what it is reached by."""
    stage = Stage(most=100)
    stage.discovery.most_held = bound
    names = [f"d{number:02}" for number in range(20)]
    stage.open = {"d00"}
    for name in names:
        stage.now += 1
        stage.ask(name)
    stage.leads = dict.fromkeys(names, 20)
    stage.known = dict.fromkeys(names, KNOWN)
    stage.discovery.changed()
    assert stage.dropped == []
    stage.leads["d00"] = 25
    stage.discovery.changed()

    assert stage.dropped == names[1:7]
    assert stage.overflow.value == 6


@pytest.mark.parametrize("bound", [(10_000, 1000), (2000, 10_000)])
@pytest.mark.parametrize("open_", [False, True], ids=["idle", "open"])
def test_destination_that_leads_to_too_much_by_itself_goes_alone(bound: tuple[int, int], *, open_: bool) -> None:
    """However it is used: no other makes room enough for it."""
    stage = Stage()
    stage.discovery.most_held = bound
    others = [f"d{number}" for number in range(40)]
    stage.ask(*others, "hog")
    stage.known = dict.fromkeys((*others, "hog"), KNOWN)
    stage.open = {"d0", "hog"} if open_ else set()
    stage.leads["hog"] = 1001
    stage.discovery.changed()

    assert stage.dropped == ["hog"]
    assert stage.discovery.names == set(others)
    assert stage.overflow.value == 1


def test_idle_destination_that_leads_to_much_goes_before_those_that_lead_to_little() -> None:
    """The one that leads to most first, though it was used last; where it is open the least recently used of the others goes as ever."""
    stage = Stage()
    stage.discovery.most_held = (10_000, 1000)
    others = [f"d{number}" for number in range(40)]
    stage.ask(*others)
    stage.leads |= {"much": 400, "more": 600}
    stage.known = dict.fromkeys((*others, "much", "more"), KNOWN)
    for name in ("much", "more"):
        stage.now += 1
        stage.ask(name)
        stage.discovery.changed()
    assert stage.dropped == ["more"]
    stage.open = {"much"}
    stage.leads["much"] = 970
    stage.discovery.changed()

    assert "much" not in stage.dropped
    assert len(stage.dropped) == 1 + 11


def test_thousands_of_destinations_that_lead_to_too_much_are_let_go_within_one_change() -> None:
    """Letting go changes the configuration, which is looked at again from within."""
    stage = Stage(most=20_000)
    stage.ask(*(f"d{number}" for number in range(20_000)))
    stage.known = dict.fromkeys(stage.wanted, KNOWN)
    stage.discovery.changed()

    def update(calls: int = 8) -> None:
        # As deep as the way from a subscription let go to the tables and back.
        stage.discovery.changed() if calls == 0 else update(calls - 1)

    stage.dropping = update
    stage.discovery.most_held = (3, 3)
    stage.discovery.changed()

    assert len(stage.discovery.names) <= 3


def test_bound_holds_after_a_defect_in_one_who_was_answered() -> None:
    """It ends the change it showed in, and not the looking at what is too much."""
    stage = Stage()

    def broken(_: Finding) -> None:
        raise AssertionError("a defect")

    stage.discovery.want("d0", broken)
    stage.discovery.most_held = (0, 0)
    with pytest.raises(AssertionError, match="a defect"):
        stage.discovery.changed()
    stage.ask("d1", "d2", "d3")
    stage.discovery.changed()

    assert not stage.discovery.names


@pytest.mark.parametrize("how", ["known", "away", "no room"])
def test_who_waits_is_answered_once_though_an_answer_has_others_answered(how: str) -> None:
    """One who hears may ask for another destination, for which there is no room: those that go for it are answered from within."""
    stage = Stage(most=20)
    names = [f"d{number}" for number in range(20)]
    told: list[str] = []

    def heard(name: str) -> Callable[[Finding], None]:
        def tell(finding: Finding) -> None:
            told.append(name)
            if len(told) == 1:
                stage.ask("another", "yet another")

        return tell

    stage.dropping = stage.discovery.changed
    for name in names:
        stage.discovery.want(name, heard(name))
    match how:
        case "known":
            stage.known = dict.fromkeys(names, KNOWN)
            stage.discovery.changed()
        case "away":
            stage.discovery.connection(False)
        case _:
            stage.ask("one more")
    stage.discovery.connection(False)

    assert sorted(told) == sorted(names)
    assert stage.told.count(ASKED) == 3 if how == "no room" else 2
