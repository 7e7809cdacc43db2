"""Rules as rows: a path into an object, and what its value must be.

In: rows such as `Row("containers[].name", needed, text(dns_label))` and an object. Out: `Cause`s. `[]` stands for every item of a list, `{}` for every value of a map.
A path ends where its parent is not there; the last step is looked at even when it is missing, so that `needed` can say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from devcluster.schema.causes import Cause, duplicate, invalid, required, unsupported

Check = Callable[[str, Any], Iterable[Cause]]


class Row:
    """A path and its checks, in order; the first that refuses ends the row for that value."""

    __slots__ = ("checks", "steps")

    def __init__(self, path: str, *checks: Check) -> None:
        self.steps = tuple(path.replace("[]", ".[]").replace("{}", ".{}").split("."))
        self.checks = checks

    def problems(self, value: Any, path: str) -> Iterator[Cause]:
        """Judge what this row's path leads to, from `value` at `path` on."""
        for where, found in reach(value, self.steps, path):
            for check in self.checks:
                causes = list(check(where, found))
                yield from causes
                if causes:
                    break


def reach(value: Any, steps: tuple[str, ...], path: str) -> Iterator[tuple[str, Any]]:
    """Give every (path, value) the steps lead to."""
    if not steps:
        yield path, value
        return
    step, rest = steps[0], steps[1:]
    if step == "[]":
        for index, item in enumerate(value if isinstance(value, list) else ()):
            yield from reach(item, rest, f"{path}[{index}]")
    elif step == "{}":
        for name, item in (value if isinstance(value, dict) else {}).items():
            yield from reach(item, rest, f"{path}[{name}]")
    elif isinstance(value, dict):
        yield from reach(value.get(step), rest, f"{path}.{step}" if path else step)


def apply(rows: Iterable[Row], value: Any, path: str = "") -> Iterator[Cause]:
    """Judge by all rows."""
    for row in rows:
        yield from row.problems(value, path)


def needed(path: str, value: Any) -> Iterator[Cause]:
    """There must be something."""
    if value is None or value in ("", [], {}):
        yield required(path)


def text(judge: Callable[[str], str | None]) -> Check:
    """What is there must be text of this form."""

    def check(path: str, value: Any) -> Iterator[Cause]:
        if value and (wrong := judge(str(value))):
            yield invalid(path, value, wrong)

    return check


def between(low: int, high: int) -> Check:
    """What is there must be a number in this range."""

    def check(path: str, value: Any) -> Iterator[Cause]:
        if isinstance(value, int) and not low <= value <= high:
            yield invalid(path, value, f"must be between {low} and {high}, inclusive")

    return check


def at_least(low: int) -> Check:
    """What is there must not be less."""

    def check(path: str, value: Any) -> Iterator[Cause]:
        if isinstance(value, int) and value < low:
            yield invalid(
                path,
                value,
                f"must be greater than or equal to {low}" if low == 0 else f"must be greater than {low - 1}",
            )

    return check


def one_of(*allowed: str) -> Check:
    """What is there must be one of these."""

    def check(path: str, value: Any) -> Iterator[Cause]:
        if value is not None and value not in allowed:
            yield unsupported(path, value, sorted(allowed))

    return check


def keys(judge: Callable[[str], str | None]) -> Check:
    """The keys of a map must be of this form."""

    def check(path: str, value: Any) -> Iterator[Cause]:
        for key in value if isinstance(value, dict) else ():
            if wrong := judge(key):
                yield invalid(path, key, wrong)

    return check


def unique(*names: str, show: str = "") -> Check:
    """Items of a list must differ in these fields; `show` names the field the server puts behind the index."""

    def check(path: str, value: Any) -> Iterator[Cause]:
        seen = []
        for index, item in enumerate(value if isinstance(value, list) else ()):
            key = {name: item.get(name) for name in names if item.get(name) is not None}
            if key and key in seen:
                yield duplicate(f"{path}[{index}]{show and '.' + show}", key[show] if show else key)
            seen.append(key)

    return check


port = between(1, 65535)
"""A TCP or UDP port."""
