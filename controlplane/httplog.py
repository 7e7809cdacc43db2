"""What aiohttp says about bytes that are no HTTP, in one line instead of a traceback.

In: the calls aiohttp's server makes on its logger. Out: a warning that names the port's work, the sender and what was wrong; everything else as it comes.
"""

from __future__ import annotations

import logging
from typing import Any

from aiohttp.http_exceptions import HttpProcessingError


class ServerLog(logging.LoggerAdapter[logging.Logger]):
    """The logger of one HTTP server."""

    def __init__(self, face: str) -> None:
        super().__init__(logging.getLogger("controlplane.http"), {})
        self._face = face

    def debug(self, msg: object, *args: Any, **more: Any) -> None:
        """Log something small; aiohttp counts a first line that is no HTTP to it."""
        if not self._told(args, more.get("exc_info")):
            super().debug(msg, *args, **more)

    def exception(self, msg: object, *args: Any, exc_info: Any = True, **more: Any) -> None:
        """Log a failure of ours with its traceback, one of the client's without."""
        if not self._told(args, exc_info):
            super().exception(msg, *args, exc_info=exc_info, **more)

    def _told(self, args: tuple[Any, ...], problem: object) -> bool:
        if not isinstance(problem, HttpProcessingError):
            return False
        sender = args[0] if args else "?"
        self.warning("%s: what %s sent is no HTTP: %s", self._face, sender, " ".join(problem.message.split())[:200])
        return True
