"""Events, codes and limits: the words both sides of the codec speak."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dataplane.protocol import codes, events
from dataplane.protocol.limits import Limits

ROOT = Path(__file__).resolve().parents[3]

EVENTS: list[tuple[int, Any, Any]] = [
    (
        events.REQUEST,
        events.RequestHead(1, b"G", b"s", b"a", b"/", [], True),
        events.RequestHead(1, b"G", b"s", b"a", b"/", [], False),
    ),
    (events.RESPONSE, events.ResponseHead(1, 200, b"OK", [], True), events.ResponseHead(1, 201, b"OK", [], True)),
    (events.DATA, events.Data(1, b"x", True), events.Data(1, b"x", False)),
    (events.TRAILERS, events.Trailers(1, []), events.Trailers(1, [(b"a", b"b", b"a")])),
    (events.RESET, events.Reset(1, 8, "why"), events.Reset(3, 8, "why")),
    (events.GOAWAY, events.Goaway(7, 0), events.Goaway(9, 0)),
    (events.WRITABLE, events.Writable(1), events.Writable(3)),
    (events.SETTINGS, events.SettingsChanged(5), events.SettingsChanged(6)),
    (events.FAILURE, events.Failure(1, 400, "why", "c"), events.Failure(1, 400, "why", "d")),
    (events.UPGRADED, events.Upgraded(1, b"websocket"), events.Upgraded(1, b"")),
    (events.PONG, events.Pong(b"12345678"), events.Pong(b"87654321")),
]


@pytest.mark.parametrize(("kind", "event", "other"), EVENTS, ids=[type(e).__name__ for _, e, _ in EVENTS])
def test_events_are_told_apart_by_kind_and_compared_by_value(kind: int, event: Any, other: Any) -> None:
    """And show what they hold."""
    assert event.kind == kind
    assert event == event  # noqa: PLR0124 - by value, as no two events are one object
    assert event != other
    assert event != "something else"
    assert repr(event) != repr(other)
    assert repr(event).startswith(type(event).__name__)


def test_kinds_are_distinct() -> None:
    """The driver dispatches on them."""
    assert len({kind for kind, _, _ in EVENTS}) == len(EVENTS)


def test_codes_have_the_names_of_the_rfc() -> None:
    """Unknown ones show as numbers."""
    assert (codes.name(0), codes.name(0xB), codes.name(0xD)) == ("NO_ERROR", "ENHANCE_YOUR_CALM", "HTTP_1_1_REQUIRED")
    assert (codes.name(0xE), codes.name(-1), codes.name(2**32 - 1)) == ("0xe", "-0x1", "0xffffffff")
    assert all(getattr(codes, codes.name(n)) == n for n in range(14))


@pytest.mark.parametrize(
    "bad",
    [
        {"stream_window": 65534},
        {"stream_window": 2**31},
        {"connection_window": 1},
        {"header_count": -1},
        {"premature_seconds": -0.5},
        {"hpack_table_bytes": 2**21},
    ],
)
def test_limits_no_codec_can_keep_are_refused(bad: dict[str, int]) -> None:
    """By name and value."""
    with pytest.raises(ValueError, match=next(iter(bad))):
        Limits(**bad)  # type: ignore[arg-type]


def test_every_limit_is_documented_with_its_default() -> None:
    """docs/limits.md has a row for each, as the code has it."""
    rows = {}
    for line in (ROOT / "docs/limits.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) >= 3 and cells[0].startswith("`"):
            rows[cells[0].strip("`")] = cells[1].replace(",", "")
    defaults = Limits()
    wanted = {
        name: f"{getattr(defaults, name):g}"
        if isinstance(getattr(defaults, name), float)
        else str(getattr(defaults, name))
        for name in Limits.__slots__
    }

    assert {name: rows.get(name) for name in wanted} == wanted
