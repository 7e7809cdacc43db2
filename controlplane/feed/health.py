"""How the feed of one kind goes: whether it was ever whole, when it was last heard of, and what is wrong.

In: what a Reflector meets. Out: words and numbers for readiness, metrics, conditions and `tulle check`. Time is the running loop's.
"""

from __future__ import annotations

import asyncio

PATIENCE_SECONDS = 20.0
"""How long a start waits for a kind that cannot be read and that it can do without."""


class Health:
    """One kind's feed."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._heard = self._clock()
        self._failing: float | None = None
        self.synced = asyncio.Event()
        """Set after the first whole list, or when it is known that there is nothing to list."""
        self.settled = asyncio.Event()
        """Set then too, or when reading it has failed for so long that it is no passing trouble."""
        self.error = ""
        """Why it cannot be read now; empty when it can."""
        self.version = ""
        """The resourceVersion up to which it is known."""
        self._reached = asyncio.Event()

    def listed(self, version: str) -> None:
        """Note a whole list."""
        self.heard(version)
        self.synced.set()
        self.settled.set()

    def heard(self, version: str) -> None:
        """Note a sign of life."""
        self._heard = self._clock()
        self.error, self._failing = "", None
        if version != self.version:
            self.version = version
            self._reached.set()
            self._reached = asyncio.Event()

    def failed(self, why: str) -> bool:
        """Note a failure; tells whether it is another one than before."""
        news = why != self.error
        self.error = why
        if self._failing is None:
            self._failing = self._clock()
        if self.lasting:
            self.settled.set()
        return news

    @property
    def age(self) -> float:
        """For how many seconds nothing has been heard."""
        return self._clock() - self._heard

    @property
    def lasting(self) -> bool:
        """Whether it has failed for so long that it is no passing trouble."""
        return self._failing is not None and self._clock() - self._failing >= PATIENCE_SECONDS

    async def reached(self, version: str, seconds: float) -> bool:
        """Wait until the kind is known up to a resourceVersion, for some seconds at most; tells whether it is. Versions are compared as numbers, as KEP-5504 allows."""
        if not version.isdecimal():
            return True
        try:
            async with asyncio.timeout(seconds):
                while not self.version.isdecimal() or int(self.version) < int(version):
                    await self._reached.wait()
        except TimeoutError:
            return False
        return True
