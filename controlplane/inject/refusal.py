"""Why a pod or workload is refused at admission: one kind of error for every reason, whose message is what kubectl shows.

In: nothing. Out: `RefusedPodError`, raised by whoever reads a pod, caught where the refusal is answered or printed.
"""

from __future__ import annotations


class RefusedPodError(ValueError):
    """A pod that may not start as it is; the message says what is wrong and what would be right."""


class BadAnnotationError(RefusedPodError):
    """An annotation nobody can follow; the message names it, its value and what is allowed."""

    def __init__(self, name: str, value: object, allowed: str) -> None:
        super().__init__(f"annotation {name} is {value!r}; allowed is {allowed}")
