"""Lines about refusals are bounded, and what was left out is told."""

from __future__ import annotations

import logging

from dataplane.telemetry.chatter import A_SECOND, AT_ONCE, bound
from dataplane.telemetry.metrics import Counter


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def test_flood_of_refusals_is_a_bounded_number_of_lines() -> None:
    """A burst, then a few a second; the count of the others stands in the next line, and warnings pass."""
    now, dropped, lines = [0.0], Counter(), Lines()
    logger = logging.Logger("x")  # noqa: LOG001 - nobody else's
    logger.addHandler(lines)
    for _ in range(2):
        bound(logger, lambda: now[0], dropped)
    for number in range(1000):
        logger.info("refused %d", number)
    assert len(lines.said) == AT_ONCE
    assert dropped.value == 1000 - AT_ONCE
    logger.warning("behind")
    assert lines.said[-1] == "behind"
    now[0] += 1.0
    for number in range(1000):
        logger.info("refused %d", number)

    assert len(lines.said) == AT_ONCE + 1 + A_SECOND
    assert lines.said[int(AT_ONCE) + 1] == "refused 0 (900 lines before this one were left out)"
    assert lines.said[-1] == "refused 9"
