"""What `tulle check` proves of requests: that nobody got an error the mesh made, in the minute before it looked and while it looked (pure).

In: two looks. Out: claims, with the share of such answers by workload and word. Sidecars keep the last minute themselves (`tulle_errors_last_minute`), so that an outage which comes and goes is
seen as well; of a sidecar that does not keep it, what it counted between the looks. Answers that a policy, a route or a client asked for are nobody's fault.
"""

from __future__ import annotations

from collections.abc import Mapping

from tulle.claims import Claim, claim, some
from tulle.looks import Look, Said
from tulle.output import WARNING
from tulle.proofs import who

ASKED_FOR = frozenset(
    {
        "rbac_denied",
        "route_not_found",
        "connect_refused",
        "upgrade_refused",
        "escaped_slash",
        "slow_request_body",
        "slow_request_head",
    }
)
"""Words of answers that somebody's policy, route or client asked for."""
SLOW = frozenset({"request_timeout", "stream_idle_timeout", "max_stream_duration"})
"""Words of answers to which an app gave the reason, by being slower than its route allows."""


def of_errors(first: Look, second: Look) -> list[Claim]:
    """Claim that no request got an error of the mesh's."""
    bad: list[str] = []
    slow: list[str] = []
    for one, said in sorted(second.sidecars.items()):
        before = first.sidecars.get(one)
        if said.silent or before is None or before.silent:
            continue
        errors, asked, when = _lately(before, said)
        for word, count in sorted(errors.items()):
            if count > 0 and word not in ASKED_FOR:
                of = max(asked, count)
                told = f"{who(one, second)}: {count:.0f} of {of:.0f} requests {word}, {count / of:.1%} {when}"
                (slow if word in SLOW else bad).append(told)
    return [
        claim(
            not bad,
            "no request gets an error the mesh made",
            detail=some(bad, "; "),
            advice="docs/reference/errors.md says what each word means; tulle routes <workload> --host <name> what would be done",
        ),
        claim(
            not slow,
            "no request takes longer than its route allows",
            detail=some(slow, "; "),
            advice="the app is slower than the time-out of its route",
            otherwise=WARNING,
        ),
    ]


def _lately(before: Said, said: Said) -> tuple[Mapping[str, float], float, str]:
    """Give errors by word, the requests they are of, and since when."""
    if said.lately is not None:
        return said.lately, said.requests_lately, "in the last minute"
    if said.requests < before.requests:  # it began anew
        return {}, 0.0, ""
    errors = {word: count - before.errors.get(word, 0.0) for word, count in said.errors.items()}
    return errors, said.requests - before.requests, "between the looks"
