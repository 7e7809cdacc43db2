"""Ports a user lists by number or range, in a form whose size does not follow how many they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

LARGEST = 65_535


@dataclass(frozen=True, slots=True)
class Ports:
    """Some TCP ports: a bit for each in one number, 8 KiB at most, so that `1-65535` costs a pod no set of all of them."""

    bits: int = 0

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and bool(self.bits >> port & 1)


NO_PORTS = Ports()


def ports(ranges: Iterable[tuple[int, int]]) -> Ports:
    """Put the ranges together, both ends included; what is no port (1 to 65,535) is left out."""
    bits = 0
    for first, last in ranges:
        low, high = max(first, 1), min(last, LARGEST)
        if low <= high:
            bits |= (1 << high + 1) - (1 << low)
    return Ports(bits)
