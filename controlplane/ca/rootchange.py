"""Another root, in stages: trusted everywhere, then signed with, then the old one dropped (pure).

In: what the leader knows, as `Facts`: roots by fingerprint, and what replicas say. Out: the record of where the change stands, which lies beside the issuer in
use (Secret `tulle-signing`), so restarts and new leaders go on where the last one was. The stages are `TRANSITIONS`; nothing else changes them.

    STEADY ── another root is wanted ──▶ ANNOUNCE ── every replica trusts it ──▶ TRUST ── every sidecar acknowledged it ──▶ SIGN
       ▲                                    └───────── taken back ─────────┐        │                                        │
       │                                                                   ▼        ▼              every replica signs with it
      DROP ◀── a certificate's life has passed ───────────────────────────── OUTLIVE ◀─────────────────────────────────────┘

From DROP it is STEADY again when the bundle holds the old root no more. A root that is wanted on the way begins anew at ANNOUNCE; what it replaces is dropped
with the rest. Pods made while the stage is TRUST have the new root in their spec, for every replica that admits pods trusts it. Refuses nothing.
"""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

Roots = frozenset[str]
"""Fingerprints."""

CLOCKS_DIFFER = 300.0
"""Seconds by which the clocks of the leader, the API server and whoever judges a certificate's life may differ, and a replica that signs be late in what it sees."""


class Stage(enum.Enum):
    """Where a change of roots stands."""

    STEADY = "steady"
    ANNOUNCE = "announce"
    """Replicas come to trust the new root; the old one signs."""
    TRUST = "trust"
    """Sidecars come to trust it; the old one signs."""
    SIGN = "sign"
    """The new one signs, not everywhere yet."""
    OUTLIVE = "outlive"
    """Certificates under the old one are still out."""
    DROP = "drop"
    """The old one is taken out of the bundle."""


class Event(enum.Enum):
    """What moves it."""

    WANTED = enum.auto()
    TAKEN_BACK = enum.auto()
    ANNOUNCED = enum.auto()
    ACKNOWLEDGED = enum.auto()
    SIGNED = enum.auto()
    OUTLIVED = enum.auto()
    DROPPED = enum.auto()


TRANSITIONS: Mapping[tuple[Stage, Event], Stage] = {
    (Stage.STEADY, Event.WANTED): Stage.ANNOUNCE,
    (Stage.ANNOUNCE, Event.WANTED): Stage.ANNOUNCE,
    (Stage.ANNOUNCE, Event.ANNOUNCED): Stage.TRUST,
    (Stage.ANNOUNCE, Event.TAKEN_BACK): Stage.OUTLIVE,  # what an unfinished change had left behind is outlived first
    (Stage.TRUST, Event.WANTED): Stage.ANNOUNCE,
    (Stage.TRUST, Event.ACKNOWLEDGED): Stage.SIGN,
    (Stage.TRUST, Event.TAKEN_BACK): Stage.OUTLIVE,
    (Stage.SIGN, Event.WANTED): Stage.ANNOUNCE,
    (Stage.SIGN, Event.SIGNED): Stage.OUTLIVE,
    (Stage.OUTLIVE, Event.WANTED): Stage.ANNOUNCE,
    (Stage.OUTLIVE, Event.OUTLIVED): Stage.DROP,
    (Stage.DROP, Event.WANTED): Stage.ANNOUNCE,
    (Stage.DROP, Event.DROPPED): Stage.STEADY,
}

_MADE_KNOWN = frozenset({Stage.ANNOUNCE, Stage.TRUST})
"""Stages in which a root is on its way; in a record that was written by hand any other may name one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Where a change stands, as it is kept in the cluster."""

    stage: Stage = Stage.STEADY
    since: float = 0.0
    """Unix time at which the stage began."""
    new: Roots = frozenset()
    """Roots that are made known, while the stage is ANNOUNCE or TRUST."""
    old: Roots = frozenset()
    """Roots that sign no more, or were not to sign after all, and are to go."""
    life: float = 0.0
    """Longest life, in seconds, certificates are signed for now."""
    until: float = 0.0
    """Unix time by which those have ended that were signed for a longer one, before it was set shorter."""

    def dumps(self) -> str:
        """Write it."""
        roots = {"new": sorted(self.new), "old": sorted(self.old)}
        said = {"stage": self.stage.value, "since": self.since, "life": self.life, "until": self.until, **roots}
        return json.dumps(said, separators=(",", ":"))

    @classmethod
    def loads(cls, text: str) -> Record:
        """Read what `dumps` wrote; raises ValueError."""
        try:
            said = json.loads(text)
            new, old = (frozenset(map(str, said[name])) for name in ("new", "old"))
            # One written before lives could fall has no `until`.
            times = {name: float(said.get(name, 0.0)) for name in ("since", "life", "until")}
            for name, time in times.items():
                if not (math.isfinite(time) and time >= 0):
                    raise ValueError(f"{name} {time} is no time")
            return cls(stage=Stage(said["stage"]), new=new, old=old, **times)
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"the record of a change of roots cannot be read: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the leader knows."""

    now: float
    """Unix time."""
    wanted: Roots
    """Of the issuer that was brought; none where there is none that can be used."""
    signing: Roots
    """Of the issuer in use."""
    record: Record
    announced: bool
    """Whether every replica trusts what is wanted."""
    acknowledged: bool
    """Whether every sidecar that is `concerned` does too."""
    signed: bool
    """Whether every replica signs with the issuer in use."""
    bundle: Roots
    """What the ConfigMap holds."""
    life: float
    """The longest, in seconds, that a replica is set to sign for."""
    every_life: bool
    """Whether every replica has said its own."""


def another(wanted: Roots, signing: Roots) -> bool:
    """Tell whether an issuer brings a root not everybody is known to trust; one under roots in use may sign at once."""
    return bool(wanted) and bool(signing) and not wanted <= signing


def happened(facts: Facts) -> Event | None:
    """Say what has happened that moves the change on."""
    stage, record = facts.record.stage, facts.record
    if another(facts.wanted, facts.signing):
        if record.new != facts.wanted or stage not in _MADE_KNOWN:
            return Event.WANTED
        if stage is Stage.ANNOUNCE:
            return Event.ANNOUNCED if facts.announced else None
        return Event.ACKNOWLEDGED if facts.announced and facts.acknowledged else None
    match stage:
        case Stage.ANNOUNCE | Stage.TRUST:
            return Event.TAKEN_BACK
        case Stage.SIGN if facts.signed:
            return Event.SIGNED
        case Stage.OUTLIVE if not record.old or facts.now >= max(record.until, _ended(record, record.since)):
            return Event.OUTLIVED
        case Stage.DROP if not (record.old - facts.signing) & facts.bundle:
            return Event.DROPPED
    return None


def advanced(facts: Facts) -> Record | None:
    """Give the record of the next stage, or the same with another life; None where nothing has happened."""
    event, record = happened(facts), _lived(facts)
    if event is None:
        return record if record != facts.record else None
    stage = TRANSITIONS[record.stage, event]
    if stage is Stage.STEADY:
        return Record(since=facts.now, life=record.life, until=record.until)
    if event is Event.ANNOUNCED:
        return replace(record, stage=stage, since=facts.now)
    old = record.old | record.new | (facts.signing if event is Event.ACKNOWLEDGED else frozenset())
    new = facts.wanted if event is Event.WANTED else frozenset()
    return replace(record, stage=stage, since=facts.now, new=new, old=old - facts.wanted)


def _lived(facts: Facts) -> Record:
    """Take a life that was set longer at once, for nobody signs for it before (`signed_for`); a shorter one when nobody signs for more."""
    record = facts.record
    if facts.life > record.life:
        return replace(record, life=facts.life)
    if facts.life < record.life and facts.every_life:
        return replace(record, life=facts.life, until=max(record.until, _ended(record, facts.now)))
    return record


def _ended(record: Record, last: float) -> float:
    """Say when the last of the certificates has ended for everybody that were signed till some moment."""
    return last + record.life + CLOCKS_DIFFER


def signed_for(record: Record, life: float) -> float:
    """Give the life, in seconds, that a replica signs for which is set to another: never more than is written down, where something is."""
    return min(life, record.life) if record.life else life


def concerned(record: Record, made: float) -> bool:
    """Tell whether a pod may have been made, at a Unix time by the API server's clock, before every replica trusted the new root."""
    return made <= record.since + CLOCKS_DIFFER


def trusted(record: Record, wanted: Roots, signing: Roots, bundle: Roots) -> Roots:
    """Say which roots a replica trusts: all that are remembered, wanted or in use, but for those that are to go now."""
    gone = record.old if record.stage is Stage.DROP else frozenset()
    return (bundle - gone) | wanted | signing
