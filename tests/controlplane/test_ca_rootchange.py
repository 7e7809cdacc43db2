"""Roots change under a mesh that lives: nobody ever meets a certificate under a root it does not trust, and the old root goes in the end.

The machine has replicas that see late, restart and lead in turn, sidecars that connect, push, renew and start late, and users who change their mind.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controlplane.ca.rootchange import (
    CLOCKS_DIFFER,
    TRANSITIONS,
    Event,
    Facts,
    Record,
    Stage,
    advanced,
    another,
    concerned,
    signed_for,
    trusted,
)
from controlplane.replicas import STALE_SECONDS
from tests.support.machines import bounded

LIFE = 1000.0
ROOTS = ("a", "b", "c")


@dataclass
class Sidecar:
    roots: frozenset[str]
    made: float
    """By the clock of the API server."""
    replica: int | None = None
    signed_by: str = ""
    until: float = 0.0
    acknowledged: frozenset[str] = frozenset()
    """The bundle it has acknowledged on the stream it has now."""


@dataclass
class Replica:
    wanted: str
    signing: str
    record: Record
    bundle: frozenset[str]
    life: float
    """Of certificates, as it was set when the replica began."""
    seen: float
    """When it last saw all there is."""
    said: dict[str, Any] = field(default_factory=dict)
    """What the others heard of it last."""
    heard: float = -math.inf
    """When that was."""

    @property
    def trusts(self) -> frozenset[str]:
        return trusted(self.record, frozenset({self.wanted}), frozenset({self.signing}), self.bundle)

    @property
    def signs(self) -> str:
        return self.signing if another(frozenset({self.wanted}), frozenset({self.signing})) else self.wanted


class Changing(RuleBasedStateMachine):
    """A mesh of three replicas and some sidecars."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.life = LIFE
        self.skew = 0.0
        self.wanted, self.signing, self.record, self.bundle = "a", "a", Record(life=LIFE), frozenset({"a"})
        self.replicas = [self.started() for _ in range(3)]
        self.sidecars = [Sidecar(frozenset({"a"}), 0.0) for _ in range(2)]
        self.leader = 0
        self.used = {"a"}

    @initialize(skew=st.sampled_from((-90.0, 0.0, 90.0)))
    def clocks_differ(self, skew: float) -> None:
        """The API server's clock, against the leader's."""
        self.skew = skew

    def started(self) -> Replica:
        """A replica reads what there is before it serves."""
        one = Replica(self.wanted, self.signing, self.record, self.bundle, self.life, self.now)
        self.bundle |= one.trusts - self.dropping()
        one.bundle = self.bundle
        return one

    def dropping(self) -> frozenset[str]:
        return self.record.old if self.record.stage is Stage.DROP else frozenset()

    @rule(root=st.sampled_from(ROOTS))
    def user_brings_an_issuer(self, root: str) -> None:
        self.wanted = root

    @rule(index=st.integers(0, 2), what=st.sampled_from(("wanted", "signing", "bundle")))
    def replica_sees(self, index: int, what: str) -> None:
        one = self.replicas[index]
        if what == "wanted":
            one.wanted = self.wanted
        elif what == "signing":
            one.signing, one.record = self.signing, self.record
        else:
            one.bundle = self.bundle

    @rule(index=st.integers(0, 2))
    def replica_restarts(self, index: int) -> None:
        for sidecar in self.sidecars:
            if sidecar.replica == index:
                sidecar.replica = None
        self.replicas[index] = self.started()

    @rule(index=st.integers(0, 2))
    def another_leads(self, index: int) -> None:
        self.leader = index

    @rule(index=st.integers(0, 2))
    def pod_is_made(self, index: int) -> None:
        """With the roots its replica trusts now in its spec."""
        self.pass_time(1)
        self.sidecars.append(Sidecar(self.replicas[index].trusts, self.now + self.skew))

    @precondition(lambda self: self.sidecars)
    @rule(number=st.integers(0, 30), index=st.integers(0, 2))
    def sidecar_connects(self, number: int, index: int) -> None:
        """It must trust who serves, and gets a certificate if it has none that lasts."""
        sidecar = self.sidecars[number % len(self.sidecars)]
        sidecar.replica, sidecar.acknowledged = index, frozenset()
        if sidecar.until <= self.now:
            self.renew(sidecar)

    @precondition(lambda self: self.sidecars)
    @rule(number=st.integers(0, 30))
    def sidecar_takes_what_is_pushed(self, number: int) -> None:
        sidecar = self.sidecars[number % len(self.sidecars)]
        if sidecar.replica is not None:
            sidecar.roots = sidecar.acknowledged = self.replicas[sidecar.replica].trusts

    @precondition(lambda self: self.sidecars)
    @rule(number=st.integers(0, 30))
    def sidecar_is_cut_off(self, number: int) -> None:
        self.sidecars[number % len(self.sidecars)].replica = None

    @precondition(lambda self: self.sidecars)
    @rule(number=st.integers(0, 30))
    def pod_goes(self, number: int) -> None:
        del self.sidecars[number % len(self.sidecars)]

    @rule(index=st.integers(0, 2))
    def others_hear_of_a_replica(self, index: int) -> None:
        one = self.replicas[index]
        one.heard = self.now
        # As `Telling.statement` has it: what was acknowledged is told while roots change, and then only.
        mine = [sidecar for sidecar in self.sidecars if sidecar.replica == index and one.record.stage is Stage.TRUST]
        one.said = {
            "trusts": one.trusts,
            "signs": one.signs,
            "life": one.life,
            "up to date": [id(sidecar) for sidecar in mine if sidecar.acknowledged == one.trusts],
        }

    def pass_time(self, seconds: float) -> None:
        """A replica that can sign asks the API server about each token, so it is not late without bounds in what it sees of it."""
        for index, one in enumerate(self.replicas):
            if self.now + seconds - one.seen > CLOCKS_DIFFER:
                self.replica_sees_all(index)
        self.now += seconds

    def replica_sees_all(self, index: int) -> None:
        for what in ("wanted", "signing", "bundle"):
            self.replica_sees(index, what)
        self.replicas[index].seen = self.now

    @rule(seconds=st.sampled_from((1.0, LIFE / 3, LIFE + CLOCKS_DIFFER)))
    def time_passes(self, seconds: float) -> None:
        """Sidecars renew at half of a life where they can; a change that needs long waits for them, not the other way round."""
        self.pass_time(seconds)
        for sidecar in self.sidecars:
            if sidecar.replica is not None and sidecar.until - self.now <= LIFE / 2:
                self.renew(sidecar)

    @rule()
    def leader_acts(self) -> None:
        self.pass_time(1)
        lead = self.replicas[self.leader]
        facts = self.facts(lead)
        following = advanced(facts)
        # A write goes by the version that was read: a leader that is behind conflicts and reads again.
        if following is not None and (lead.signing, lead.record) == (self.signing, self.record):
            if following.stage is Stage.SIGN:
                self.signing = lead.wanted
                self.used |= {self.signing}
            if following.stage is Stage.STEADY:
                self.used -= self.record.old  # gone; wanted for a moment again, it is one that was never taken up
            self.record = following
            self.used |= following.new
            lead.signing, lead.record = self.signing, self.record
        if lead.trusts != self.bundle and lead.bundle == self.bundle:
            self.bundle = lead.bundle = lead.trusts

    @rule(
        brought=st.sampled_from((None, *ROOTS)),
        but=st.tuples(*(st.sampled_from((None, 0, 1)) for _ in range(3))),
        made=st.sampled_from((None, 0, 1)),
        seconds=st.sampled_from((0, 1, LIFE / 3, LIFE + CLOCKS_DIFFER)),
        times=st.integers(1, 8),
    )
    def all_but_one_of_each_get_on(
        self, brought: str | None, but: tuple[int | None, ...], made: int | None, seconds: float, times: int
    ) -> None:
        """Most of the time things work, so changes get somewhere; and somebody may change his mind on the way."""
        if made is not None:
            self.pod_is_made(made)
        for _ in range(times):
            self.a_moment(*but)
            self.every_sidecar_trusts_every_replica()
            self.sidecars_trust_each_other()
        self.wanted = brought or self.wanted
        if seconds:
            self.time_passes(seconds)

    def a_moment(self, late: int | None, away: int | None, unheard: int | None) -> None:
        for index in {0, 1, 2} - {late}:
            self.replica_sees_all(index)
        for number, sidecar in enumerate(self.sidecars):
            if number != away:
                if sidecar.replica is None:
                    self.sidecar_connects(number, number % 3)
                self.sidecar_takes_what_is_pushed(number)
        for index in {0, 1, 2} - {unheard}:
            self.others_hear_of_a_replica(index)
        self.leader_acts()

    def facts(self, lead: Replica) -> Facts:
        wanted = frozenset({lead.wanted})
        said = [one.said if self.now - one.heard < STALE_SECONDS else {} for one in self.replicas]
        fresh = {number for one in said for number in one.get("up to date", ())}
        behind = [s for s in self.sidecars if id(s) not in fresh and concerned(lead.record, s.made)]
        return Facts(
            now=self.now,
            wanted=wanted,
            signing=frozenset({lead.signing}),
            record=lead.record,
            announced=all(wanted <= one.get("trusts", frozenset()) for one in said),
            acknowledged=not behind,
            signed=all(one.get("signs") == lead.signing for one in said),
            bundle=self.bundle,
            life=max((one.get("life", 0.0) for one in said), default=0.0),
            every_life=all("life" in one for one in said),
        )

    @rule(life=st.sampled_from((60.0, LIFE / 10, LIFE)))
    def another_life_is_set(self, life: float) -> None:
        """Each replica has it when it begins anew."""
        self.life = life

    def renew(self, sidecar: Sidecar) -> None:
        assert sidecar.replica is not None
        one = self.replicas[sidecar.replica]
        sidecar.signed_by, sidecar.until = one.signs, self.now + signed_for(one.record, one.life)

    @invariant()
    def every_sidecar_trusts_every_replica(self) -> None:
        for sidecar in self.sidecars:
            for one in self.replicas:
                assert one.signs in sidecar.roots, (one, sidecar)

    @invariant()
    def sidecars_trust_each_other(self) -> None:
        valid = {sidecar.signed_by for sidecar in self.sidecars if sidecar.until > self.now}
        for sidecar in self.sidecars:
            assert valid <= sidecar.roots, (valid, sidecar)

    def teardown(self) -> None:
        """When everybody is heard, connected and has renewed, what was wanted last signs and nothing else is trusted."""
        for turn in range(15):
            for index in range(3):
                self.replica_sees_all(index)
            for number in range(len(self.sidecars)):
                self.sidecar_connects(number, turn % 3)
                self.sidecar_takes_what_is_pushed(number)
            for index in range(3):
                self.others_hear_of_a_replica(index)
            self.leader_acts()
            self.time_passes(LIFE + CLOCKS_DIFFER)
        assert (self.signing, self.record.stage) == (self.wanted, Stage.STEADY)
        assert self.bundle & self.used == {self.wanted}  # a root no leader ever took up stays remembered


Changing.TestCase.settings = bounded(200, 60)
test_nobody_meets_a_certificate_it_does_not_trust = Changing.TestCase


def test_every_event_of_a_stage_has_its_place_in_the_table() -> None:
    """What can happen in a stage leads somewhere, and each stage is left."""
    assert {stage for stage, _ in TRANSITIONS} == set(Stage)
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_record_is_read_as_it_was_written() -> None:
    """It lies in an annotation, where anybody may have written."""
    roots = {"new": frozenset({"c"}), "old": frozenset({"b", "a"})}
    record = Record(stage=Stage.OUTLIVE, since=12.5, life=60.0, until=99.5, **roots)

    assert Record.loads(record.dumps()) == record
    written = record.dumps()
    for bad in (
        "",
        "[]",
        "{}",
        *(
            written.replace(*odd)
            for odd in (("outlive", "odd"), ("12.5", "NaN"), ("60.0", "1e999"), ("60.0", "-1"), ("99.5", "NaN"))
        ),
    ):
        with pytest.raises(ValueError, match="cannot be read"):
            Record.loads(bad)


def facts(record: Record, wanted: str, signing: str, **more: Any) -> Facts:
    given = {
        "now": 5000.0,
        "announced": True,
        "acknowledged": True,
        "signed": True,
        "bundle": frozenset("abc"),
        "life": LIFE,
        "every_life": True,
    }
    return Facts(record=record, wanted=frozenset(wanted), signing=frozenset(signing), **given | more)


def at(stage: Stage, *, new: str = "", old: str = "", since: float = 4000.0) -> Record:
    return Record(stage=stage, since=since, new=frozenset(new), old=frozenset(old), life=LIFE)


@pytest.mark.parametrize(
    ("known", "following"),
    [
        (facts(at(Stage.STEADY), "a", "a"), None),
        (facts(at(Stage.STEADY), "", "a"), None),
        (facts(at(Stage.STEADY), "b", "a"), (Stage.ANNOUNCE, "b", "")),
        (facts(at(Stage.ANNOUNCE, new="b"), "b", "a", announced=False), None),
        (facts(at(Stage.ANNOUNCE, new="b"), "b", "a", acknowledged=False), (Stage.TRUST, "b", "")),
        (facts(at(Stage.TRUST, new="b"), "b", "a", acknowledged=False), None),
        (facts(at(Stage.TRUST, new="b"), "b", "a", announced=False), None),
        (facts(at(Stage.TRUST, new="b"), "c", "a"), (Stage.ANNOUNCE, "c", "b")),
        (facts(at(Stage.TRUST, new="b"), "a", "a"), (Stage.OUTLIVE, "", "b")),
        (facts(at(Stage.TRUST, new="b", old="c"), "b", "a"), (Stage.SIGN, "", "ac")),
        (facts(at(Stage.SIGN, old="a"), "b", "b", signed=False), None),
        (facts(at(Stage.SIGN, old="a"), "b", "b"), (Stage.OUTLIVE, "", "a")),
        (facts(at(Stage.OUTLIVE, old="a"), "b", "b", now=4000 + LIFE + CLOCKS_DIFFER - 1), None),
        (facts(at(Stage.OUTLIVE, old="a"), "b", "b", now=4000 + LIFE + CLOCKS_DIFFER), (Stage.DROP, "", "a")),
        (facts(at(Stage.OUTLIVE, old="a"), "a", "b"), (Stage.ANNOUNCE, "a", "")),
        (facts(at(Stage.DROP, old="a"), "b", "b"), None),
        (facts(at(Stage.DROP, old="a"), "b", "b", bundle=frozenset("b")), (Stage.STEADY, "", "")),
    ],
)  # fmt: skip
def test_stage_follows_from_what_is_known_and_from_nothing_else(
    known: Facts, following: tuple[Stage, str, str] | None
) -> None:
    """Each line is a state, what the leader knows in it, and the next state with what is made known and what is to go."""
    after = advanced(known)

    said = None if after is None else (after.stage, "".join(sorted(after.new)), "".join(sorted(after.old)))
    assert said == following
    assert after is None or after.since == known.now


WEEK, HOUR = 604_800.0, 3600.0


def test_life_that_is_set_longer_is_written_down_at_once_and_not_signed_for_before() -> None:
    """Else a certificate could be out that no record knows of."""
    steady = replace(at(Stage.STEADY), life=HOUR)

    assert advanced(facts(steady, "a", "a", life=WEEK, every_life=False)) == replace(steady, life=WEEK)
    assert (signed_for(steady, WEEK), signed_for(steady, 60.0)) == (HOUR, 60.0)
    assert signed_for(Record(), WEEK) == WEEK  # no record yet: the first one will say it


def test_life_that_is_set_shorter_counts_once_every_replica_signs_for_it_and_the_longer_until_its_last_certificate_has_ended() -> (
    None
):
    """Certificates of a week are out for a week after an hour is set, also those that were signed while the last change ended; a change after that waits an hour."""
    week = replace(at(Stage.STEADY), life=WEEK)
    assert advanced(facts(week, "a", "a", life=HOUR, every_life=False)) is None

    fallen = advanced(facts(week, "a", "a", life=HOUR))
    ended = 5000 + WEEK + CLOCKS_DIFFER
    assert fallen == replace(week, life=HOUR, until=ended)
    record, signing, stages = fallen, "a", []
    while record.stage is not Stage.OUTLIVE:
        following = advanced(facts(record, "b", signing, life=HOUR))
        assert following is not None
        record, signing = following, "b" if following.stage is Stage.SIGN else signing
        stages.append(record.stage)
    assert stages == [Stage.ANNOUNCE, Stage.TRUST, Stage.SIGN, Stage.OUTLIVE]
    assert advanced(facts(record, "b", "b", life=HOUR, now=ended - 1)) is None
    dropped = advanced(facts(record, "b", "b", life=HOUR, now=ended))
    assert dropped is not None
    assert dropped.stage is Stage.DROP

    later = replace(record, since=ended + 1)
    last = later.since + HOUR + CLOCKS_DIFFER
    assert advanced(facts(later, "b", "b", life=HOUR, now=last - 1)) is None
    assert advanced(facts(later, "b", "b", life=HOUR, now=last)) is not None


def test_record_of_a_version_that_knew_no_end_is_read() -> None:
    """And the next change waits for its life, as it did then."""
    old = '{"stage":"outlive","since":12.5,"life":60.0,"new":[],"old":["a"]}'

    assert Record.loads(old) == Record(stage=Stage.OUTLIVE, since=12.5, old=frozenset({"a"}), life=60.0)


@pytest.mark.parametrize("skew", [-90.0, 0.0, 90.0])
def test_pod_made_before_everybody_trusted_counts_by_whatever_clock_it_was_stamped(skew: float) -> None:
    """The API server writes when a pod was made, the leader when the stage began; one made well after has the new root in its spec."""
    trust = at(Stage.TRUST, new="b", since=4000.0)

    assert concerned(trust, 4000.0 + skew)
    assert not concerned(trust, 4000.0 + 400 + skew)


def test_no_record_that_can_be_written_has_nowhere_to_go() -> None:
    """Whoever may write the Secret may write any stage beside any roots; a step that is in no table ended every replica, and each that began."""
    some = ("", "a", "b", "ab")
    for stage, new, old, wanted, signing in itertools.product(Stage, some, some, some, some):
        for word in (True, False):
            known = facts(at(stage, new=new, old=old), wanted, signing, announced=word, acknowledged=word, signed=word)
            after = advanced(known)

            assert after is None or after.since == known.now


def test_root_in_use_or_wanted_is_trusted_whatever_the_bundle_says() -> None:
    """And one that is to go is not any more, unless it is wanted again."""
    drop = at(Stage.DROP, old="ac")

    assert trusted(drop, frozenset("b"), frozenset("b"), frozenset("abc")) == frozenset("b")
    assert trusted(drop, frozenset("a"), frozenset("b"), frozenset()) == frozenset("ab")
    assert trusted(at(Stage.OUTLIVE, old="a"), frozenset("b"), frozenset("b"), frozenset("ab")) == frozenset("ab")
