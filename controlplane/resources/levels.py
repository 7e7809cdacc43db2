"""What a sidecar of a level before reads of a route, where it is less than what is written to one of this level (docs/xds-contract.md).

In: a row of routes, the level a sidecar says it reads. Out: the row as it may be written to it. Level 0 matched with Python's `re` on bytes, so a pattern
that only RE2 takes, or takes otherwise, would have its whole table refused there, or let through what it was not to: its rule answers with an error,
as one with a pattern that RE2 refuses does everywhere.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import replace

from controlplane.compiler.snapshot import Answer, RouteRow
from controlplane.model.traffic import Match, PathKind, Text
from meshapi import patterns

RE2 = 1
"""From this level on patterns are RE2's."""
SAYS_WHY = 2
"""From this level on a route that answers with an error says so in words."""

_OTHERWISE = re.compile(r"[^\x00-\x7f]|\\z|\{,")
"""What both read, each as it likes: characters beyond ASCII, `\\z` and a repetition without a least count (Python by its version)."""


def written_to(level: int, row: RouteRow) -> RouteRow:
    """Leave out of a row what a level does not read."""
    if level >= RE2:
        return row
    match = _covered(row.match)
    if match == row.match:
        return row
    status = 503 if row.route.kind == "GRPCRoute" else 500
    return replace(row, match=match, action=Answer(status=status, why="has a pattern this sidecar is too old for"))


def _covered(match: Match) -> Match:
    return replace(
        match,
        path=_pattern(match.path) if match.path_kind is PathKind.REGEX else match.path,
        headers=tuple((name, _text(value)) for name, value in match.headers),
        query=tuple((name, _text(value)) for name, value in match.query),
    )


def _text(value: Text) -> Text:
    return replace(value, value=_pattern(value.value)) if value.regex else value


def _pattern(text: str) -> str:
    """Return a pattern as it is where Python reads it and means the same, else one that covers it."""
    if not _OTHERWISE.search(text):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # of `[[:alpha:]]`, which means something else there
                re.compile(text.encode())
        except (re.error, RecursionError, OverflowError, Warning):
            pass
        else:
            return text
    return patterns.covering(text)
