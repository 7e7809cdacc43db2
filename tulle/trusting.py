"""What `tulle check` proves of trust: roots, issuer and certificates, as functions of two looks (pure).

In: two looks, and the objects that carry roots. Out: claims. What the control plane trusts is the measure; the ConfigMap, the webhooks and each sidecar are held against it.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from meshapi import xds
from tulle.claims import Claim, claim, some
from tulle.looks import Look, Place
from tulle.moments import span, when
from tulle.output import FAILED, WARNING
from tulle.proofs import both, who

Object = dict[str, Any]

SOON = dt.timedelta(days=30)
SOON_SHARE = 5
"""An issuer ends soon when less than this part of its life is left, and less than `SOON`: short-lived ones are renewed late."""
RENEWAL_LATE = 0.35
"""Sidecars renew with half of the life left; with less than this share left they tried in vain."""


def of_trust(first: Look, second: Look, trust: Object | None, hooks: Sequence[Object]) -> list[Claim]:
    """Claim that everybody trusts the same roots, and that what is signed by them lasts."""
    roots = _trusted(second)
    return [
        *_roots(trust, _remembered(second)),
        _replicas(first, second),
        *_issuer(second),
        *_change(first, second),
        _bundles(hooks, roots),
        _sidecars(first, second),
        *_certificates(first, second),
    ]


def _authorities(look: Look) -> dict[str, Object]:
    return {replica: one["authority"] for replica, one in look.snapshots.items() if one.get("authority")}


def _trusted(look: Look) -> frozenset[str]:
    """Roots every replica trusts, by fingerprint; none where no replica says."""
    told = [_fingerprints(str(one.get("roots") or "")) for one in _authorities(look).values()]
    return frozenset.intersection(*told) if told else frozenset()


def _remembered(look: Look) -> frozenset[str]:
    """Roots that are to be remembered, by fingerprint: all that are trusted but those that others lend."""
    told = [frozenset(one["to_remember"]) for one in _authorities(look).values() if "to_remember" in one]
    return frozenset.intersection(*told) if told else _trusted(look)


def _change(first: Look, second: Look) -> list[Claim]:
    """A change of roots goes by itself; what holds it up in both looks is told."""
    waits, lent = both(_waits(first), _waits(second)), both(_lent(first), _lent(second))
    return [
        claim(
            not waits,
            "no change of roots is held up",
            detail=some([waits[one] for one in sorted(waits)], "; "),
            advice="the old root signs until all have acknowledged the new one; a pod that cannot connect must be made anew: kubectl rollout restart",
            otherwise=WARNING,
        ),
        claim(
            not lent,
            "the roots that others lend can be used",
            detail="; ".join(f"{replica}: {why}" for replica, why in sorted(lent.items())),
            advice="correct the ConfigMap that ca.rootsConfigMap names; what it held last stays trusted",
        ),
    ]


def _waits(look: Look) -> dict[tuple[str, str], str]:
    """What a change waits for, as any replica sees it."""
    found = {}
    for one in _authorities(look).values():
        change = one.get("root_change") or {}
        for who_ in change.get("waiting") or ():
            found[change["stage"], who_] = f"stage {change['stage']} waits for {who_}"
    return found


def _lent(look: Look) -> dict[str, str]:
    return {replica: one["roots_refused"] for replica, one in _authorities(look).items() if one.get("roots_refused")}


def _roots(trust: Object | None, trusted: frozenset[str]) -> list[Claim]:
    from cryptography import x509  # noqa: PLC0415 - only this check needs it

    pem = "".join(((trust or {}).get("data") or {}).values())
    if not pem:
        return [
            Claim(status=WARNING, text="the mesh's roots are known", detail="there is no ConfigMap tulle-trust yet")
        ]
    try:
        last = max(root.not_valid_after_utc for root in x509.load_pem_x509_certificates(pem.encode()))
    except ValueError as error:
        return [Claim(status=FAILED, text="the mesh's roots can be read", detail=str(error))]
    left = last - dt.datetime.now(dt.UTC)
    return [
        claim(
            left > SOON,
            "the mesh's root is valid for a month and more",
            detail=f"ends in {span(left)}" if left > dt.timedelta() else "it is over",
            advice="put a new issuer into the Secret tulle-ca; both roots are trusted meanwhile",
            otherwise=WARNING if left > dt.timedelta() else FAILED,
        ),
        claim(
            trusted <= _fingerprints(pem),
            "the bundle remembers every root that is trusted",
            detail=f"ConfigMap tulle-trust is stale: it lacks {len(trusted - _fingerprints(pem))} of {len(trusted)}",
            advice="the leader writes it within seconds; its log says what is refused",
        ),
    ]


def _replicas(first: Look, second: Look) -> Claim:
    apart = both(_apart(first), _apart(second))
    return claim(
        not apart,
        "every replica trusts the same roots",
        detail=", ".join(words for _, words in sorted(apart.items())),
        advice="they agree by the ConfigMap tulle-trust; kubectl -n tulle-system logs deploy/tulle says what is refused",
    )


def _apart(look: Look) -> dict[str, str]:
    """By replica: how many roots it lacks that another one trusts. What that one issues, the sidecars of this one refuse."""
    held = {replica: _fingerprints(str(one.get("roots") or "")) for replica, one in _authorities(look).items()}
    every = frozenset[str]().union(*held.values())
    return {replica: f"{replica} lacks {len(every - those)}" for replica, those in held.items() if every - those}


def _issuer(look: Look) -> list[Claim]:
    now = dt.datetime.now(dt.UTC)
    over, soon, refused = [], [], []
    for replica, one in sorted(_authorities(look).items()):
        began, ends = when(one.get("issuer_began_at")), when(one.get("issuer_expires_at"))
        if one.get("issuer_refused"):
            refused.append(f"{replica}: {one['issuer_refused']}")
        if ends is None:
            continue
        if ends <= now:
            over.append(f"{replica}: it expired {span(now - ends)} ago, nobody gets or renews a certificate")
        elif ends - now < SOON and (began is None or (ends - now) * SOON_SHARE < ends - began):
            soon.append(f"{replica}: it ends in {span(ends - now)}")
    advice = "put a new issuer into the Secret tulle-ca; the former root stays trusted meanwhile"
    return [
        claim(
            not over and not soon,
            "the issuer is valid, and for a while",
            detail="; ".join(over or soon),
            advice=advice,
            otherwise=FAILED if over else WARNING,
        ),
        claim(
            not refused,
            "the issuer in the Secret is the one in use",
            detail="; ".join(refused),
            advice="the last good one is used; correct the Secret tulle-ca",
        ),
    ]


def _bundles(hooks: Sequence[Object], trusted: frozenset[str]) -> Claim:
    """A webhook whose caBundle lacks the roots cannot be called once the serving certificate is of one of them."""
    stale = []
    for hook in (one for configuration in hooks for one in configuration.get("webhooks") or ()):
        try:
            bundle = base64.b64decode(hook["clientConfig"].get("caBundle") or "", validate=True).decode()
            lacking = trusted - _fingerprints(bundle)
        except (binascii.Error, UnicodeDecodeError):
            lacking = trusted
        if lacking:
            stale.append(hook["name"])
    return claim(
        not stale,
        "the webhooks' caBundle is what the control plane trusts",
        detail=f"stale: {some(stale)}" if stale else "",
        advice="the control plane writes it within seconds; its log says what is refused",
    )


def _sidecars(first: Look, second: Look) -> Claim:
    stale = both(_stale(first), _stale(second))
    return claim(
        not stale,
        "every sidecar trusts what the control plane trusts",
        detail=some([f"{who(one, second)} {words}" for one, words in sorted(stale.items())], "; "),
        advice="kubectl logs <pod> -c tulle-proxy; a new pod gets the roots of now: kubectl rollout restart",
    )


def _stale(look: Look) -> dict[Place, str]:
    trusted = _trusted(look)
    found: dict[Place, str] = {}
    for one, said in look.sidecars.items():
        bundle = (said.config.get("secrets") or {}).get(xds.TRUST_BUNDLE)
        if said.silent or not trusted or bundle is None:
            continue
        held = _fingerprints(str(bundle.get("roots") or ""))
        lacking, former = trusted - held, held - trusted
        if lacking:
            found[one] = f"has a stale bundle: it lacks {len(lacking)} of {len(trusted)} roots"
        elif former and len(_authorities(look)) == 1:
            found[one] = f"has a stale bundle: it trusts {len(former)} roots the control plane does not"
    return found


def _certificates(first: Look, second: Look) -> list[Claim]:
    late = both(_late(first), _late(second))
    now = dt.datetime.now(dt.UTC)
    over = sorted(who(one, second) for one, ends in _ends(second).items() if ends <= now)
    return [
        claim(
            not over,
            "every sidecar's certificate is valid",
            detail=f"expired: {some(over)}" if over else "",
            advice="kubectl logs <pod> -c tulle-proxy",
        ),
        claim(
            not late,
            "every sidecar renews its certificate in time",
            detail=some([f"{who(one, second)} {words}" for one, words in sorted(late.items())], "; "),
            advice="kubectl logs <pod> -c tulle-proxy says why it could not; tulle_certificates_refused_total counts",
        ),
    ]


def _ends(look: Look) -> Mapping[Place, dt.datetime]:
    """When each certificate ends, as the sidecar says, else as the control plane noted."""
    told = {one: when(proxy.get("certificate_expires_at")) for one, proxy in look.proxies.items()}
    told |= {one: when(said.certificate_ends) for one, said in look.sidecars.items() if said.certificate_ends}
    return {one: ends for one, ends in told.items() if ends is not None and one in look.pods}


def _late(look: Look) -> dict[Place, str]:
    lives = [float(one["certificate_seconds"]) for one in _authorities(look).values() if one.get("certificate_seconds")]
    if not lives:
        return {}
    now, least = dt.datetime.now(dt.UTC), dt.timedelta(seconds=min(lives) * RENEWAL_LATE)
    return {
        one: f"has {span(ends - now)} left and should have renewed"
        for one, ends in _ends(look).items()
        if dt.timedelta() < ends - now < least
    }


@functools.lru_cache(64)
def _fingerprints(pem: str) -> frozenset[str]:
    from cryptography import x509  # noqa: PLC0415 - only this check needs it
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - the same

    if not pem.strip():
        return frozenset()
    try:
        return frozenset(one.fingerprint(SHA256()).hex() for one in x509.load_pem_x509_certificates(pem.encode()))
    except ValueError:
        return frozenset()
