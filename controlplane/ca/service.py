"""The gRPC method `/tulle.ca.v1.CertificateAuthority/Issue`: bytes of a request in, bytes of a chain out.

In: a CertificateRequest and the call's metadata. Out: a CertificateChain with every root trusted now. Refuses with a status and one log line: no or
a bad token UNAUTHENTICATED, somebody else's name or pod PERMISSION_DENIED, a request that is none INVALID_ARGUMENT, no issuer or no API server UNAVAILABLE,
more than a pod or node may ask RESOURCE_EXHAUSTED. Signing is done in a thread beside the loop, one request after the other.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from controlplane.bounds import CERTIFICATES, Budgets, FullError, Who
from controlplane.ca import authority
from controlplane.ca.access import Denied, Identify, authorization_of
from controlplane.ca.authority import Issued, RefusedError
from controlplane.ca.rootchange import signed_for
from controlplane.ca.tokens import Caller
from controlplane.ca.trust import Trust
from meshapi import protos, xds

MAX_NOTED = 50_000

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Certificates:
    """What was issued: counts, and when each pod's certificate is over."""

    issued: int = 0
    refused: int = 0
    expires: dict[tuple[str, str], dt.datetime] = field(default_factory=dict)

    def note(self, pod: tuple[str, str], expires: dt.datetime, now: dt.datetime) -> None:
        """A certificate was issued to a pod; those of pods long gone are forgotten when they are over."""
        self.issued += 1
        if len(self.expires) >= MAX_NOTED:
            self.expires = {key: end for key, end in self.expires.items() if end > now}
        if len(self.expires) < MAX_NOTED:
            self.expires[pod] = expires


class Issuing:
    """The method, as grpc.aio calls it."""

    def __init__(
        self, trust: Trust, identify: Identify, where: Callable[[str, str], Who], book: Certificates, seconds: int
    ) -> None:
        self._trust = trust
        self._identify = identify
        self._where = where
        self._book = book
        self._seconds = seconds
        self._signing = ThreadPoolExecutor(1, thread_name_prefix="signing")
        self.budgets = Budgets("certificates", CERTIFICATES, pod_seconds=10.0, node_seconds=0.05)

    async def answer(self, raw: bytes, context: Any) -> bytes:
        """Answer one call."""
        try:
            return await self.issue(raw, authorization_of(context.invocation_metadata()), context.peer())
        except Denied as denied:
            self._book.refused += 1
            log.warning("certificate refused to %s: %s", context.peer(), denied)
            await context.abort(denied.code, str(denied))
            raise

    def close(self) -> None:
        """Sign no more."""
        self._signing.shutdown(wait=False, cancel_futures=True)

    async def issue(self, raw: bytes, authorization: str, peer: str) -> bytes:
        """Answer one request; raises Denied."""
        try:
            request = protos.message("tulle.ca.v1.CertificateRequest").FromString(raw)
        except DecodeError:
            raise Denied(grpc.StatusCode.INVALID_ARGUMENT, "these bytes are no CertificateRequest") from None
        caller = await self._identify(authorization, peer)
        if caller.pod and request.pod and request.pod != caller.pod:
            raise Denied(
                grpc.StatusCode.PERMISSION_DENIED,
                f"the request is for pod {request.pod!r}, the token is bound to pod {caller.pod!r}",
            )
        pod = caller.pod or request.pod
        try:
            self.budgets.spend(self._where(caller.identity.namespace, pod), time.monotonic())
        except FullError as error:
            raise Denied(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)) from error
        issued = await asyncio.get_running_loop().run_in_executor(self._signing, self._sign, request.csr, caller)
        self._book.note((caller.identity.namespace, pod), issued.expires, self._trust.now())
        log.info("issued %x to %s in pod %s until %s", issued.serial, caller.identity, pod, issued.expires.isoformat())
        chain = protos.message("tulle.ca.v1.CertificateChain")(chain=issued.chain, roots=self._trust.roots_pem)
        answer: bytes = chain.SerializeToString()
        return answer

    def _sign(self, csr: bytes, caller: Caller) -> Issued:
        if self._trust.issuer is None:
            raise Denied(grpc.StatusCode.UNAVAILABLE, "there is no issuer yet, try again")
        seconds = int(signed_for(self._trust.record, self._seconds))
        try:
            return authority.sign(self._trust.issuer, csr, caller.identity, now=self._trust.now(), seconds=seconds)
        except RefusedError as error:
            raise Denied(grpc.StatusCode.PERMISSION_DENIED, f"{caller.identity}: {error}") from error


def ca_handlers(issuing: Issuing) -> grpc.GenericRpcHandler[bytes, bytes]:
    """The method as gRPC serves it: bytes in, bytes out."""
    service, _, method = xds.CA_ISSUE.strip("/").partition("/")
    return grpc.method_handlers_generic_handler(service, {method: grpc.unary_unary_rpc_method_handler(issuing.answer)})
