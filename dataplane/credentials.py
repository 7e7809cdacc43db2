"""The sidecar's identity: the key it made, the chain it was given, the roots it trusts; and when to renew.

In: a key and request from `keymaker`, a chain from the CA, trust bundles from xDS. Out: PEM bytes for `net.tls`, which
rebuilds its contexts when `generation` moves. The key never leaves this process's memory. Refuses chains that cannot be read.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from dataplane.certificate import Validity, validity
from meshapi.records import field, record

log = logging.getLogger(__name__)

_KEYMAKER_SECONDS = 30.0
_JITTER = 0.1
"""Share of the life by which renewal is spread, so that pods made together do not renew together."""
_LEAST_PAUSE = 5.0
"""Seconds between two renewals at least: a leaf never outlives its issuer, so the last ones of an issuer live for moments."""
_TRIES = 6
_LONGEST_TRY = 20.0
_BUNDLE = "roots.pem"


class NoKeyError(RuntimeError):
    """The helper that makes keys did not; the message has its words."""


@record
class KeyRequest:
    """A new key and the request for its certificate."""

    key: bytes = field(repr=False)
    csr: bytes
    """PKCS#10, DER."""


@record(frozen=False, kw_only=False)
class Credentials:
    """What this sidecar shows and whom it believes, now."""

    roots_pem: bytes
    certificate_pem: bytes = b""
    key_pem: bytes = field(default=b"", repr=False)
    generation: int = 0
    """Moves with every change, so contexts built from older ones are known to be stale."""
    validity: Validity | None = None
    received: float = 0.0
    """When the certificate came, seconds by the caller's monotonic clock."""
    changed: list[Callable[[], None]] = field(default_factory=list)
    """Called after a change."""

    @property
    def ready(self) -> bool:
        """Whether there is a certificate to show."""
        return bool(self.certificate_pem)

    def install(self, key: bytes, chain: bytes, now: float) -> None:
        """Show this certificate from now on, `now` by a monotonic clock; connections made with the old one live on. Raises BadCertificateError."""
        self.validity = validity(chain)
        self.key_pem, self.certificate_pem, self.received = key, chain, now
        self._tell()

    def trust(self, roots: bytes) -> bool:
        """Believe these roots from now on; tell whether they are others than before."""
        if not roots or roots == self.roots_pem:
            return False
        self.roots_pem = roots
        self._tell()
        return True

    def renew_in(self, now: float, dice: float) -> float:
        """Seconds until the certificate should be renewed: half its life after it came, up to a tenth of it earlier by `dice` in [0, 1).

        It counts by the clock `install` was told of, which is monotonic: steps of the node's wall clock neither renew nor delay.
        """
        if self.validity is None:
            return 0.0
        due = max(self.validity.life * (0.5 - _JITTER * dice), _LEAST_PAUSE)
        return max(0.0, self.received + due - now)

    @property
    def patience(self) -> float:
        """Seconds one try to renew may take: a sixth of the certificate's life, so that others fit before its end."""
        return min(self.validity.life / _TRIES, _LONGEST_TRY) if self.validity is not None else _LONGEST_TRY

    def over(self, wall: float) -> bool:
        """Whether peers whose clock says `wall` (seconds since the epoch) refuse the certificate as ended; the monotonic clock stands still while a node sleeps."""
        return self.validity is not None and self.validity.ends <= wall

    def _tell(self) -> None:
        self.generation += 1
        for listener in self.changed:
            listener()


async def make_key(uri: str) -> KeyRequest:
    """Make a key in a short-lived helper process; raises NoKeyError."""
    try:
        helper = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "dataplane.keymaker",
            uri,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as problem:  # the pod is at its bound of processes or memory
        raise NoKeyError(f"the key maker cannot be started: {problem.strerror or problem}") from None
    try:
        out, err = await asyncio.wait_for(helper.communicate(), _KEYMAKER_SECONDS)
    except TimeoutError:
        helper.kill()
        await helper.wait()
        raise NoKeyError(f"no key was made in {_KEYMAKER_SECONDS:.0f} s") from None
    key, mark, csr = out.partition(b"-----BEGIN CERTIFICATE REQUEST-----")
    if helper.returncode or not mark or b"PRIVATE KEY" not in key:
        words = err.decode(errors="replace").strip().splitlines()
        raise NoKeyError(f"the key maker failed: {words[-1] if words else f'exit code {helper.returncode}'}")
    body = csr.partition(b"-----END")[0]
    return KeyRequest(key=key, csr=base64.b64decode(body))


def remembered_roots(directory: Path, given: bytes) -> bytes:
    """Return the bundle a former container of this pod learned, else the one the pod was made with (decision 0002)."""
    try:
        kept = (directory / _BUNDLE).read_bytes()
    except OSError:
        return given
    return kept if b"BEGIN CERTIFICATE" in kept else given


def remember_roots(directory: Path, roots: bytes) -> None:
    """Keep the newest bundle for the next container of this pod; where that cannot be written the old one stays."""
    fresh = directory / (_BUNDLE + ".new")
    try:
        fresh.write_bytes(roots)
        fresh.replace(directory / _BUNDLE)
    except OSError as problem:
        log.warning("the trust bundle cannot be kept in %s: %s", directory, problem)
