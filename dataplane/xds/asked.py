"""Questions of the control plane, answered by the handlers of the admin port: what the pod alone may see, its control plane may.

In: a question's name and path from the ADS stream. Out: a call with the answer, a slice at a time as the control plane takes it. Refuses other paths than `xds.ASKABLE` with 404; a connection that
is lost takes its answers with it.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable

from dataplane.admin import Admin, Answer, Request, text
from dataplane.slices import LongAnswer
from dataplane.xds.channel import CallListener, GrpcCall
from meshapi import xds

Begin = Callable[[str, CallListener], GrpcCall | None]
"""Begins the answer to a question."""


class Asked:
    """Answers questions."""

    def __init__(self, admin: Admin, begin: Begin) -> None:
        self._admin = admin
        self._begin = begin

    def take(self, question: str, asked: str) -> None:
        """Answer a question, now or later."""
        path, _, query = asked.partition("?")
        answering = _Answering()
        answering.call = self._begin(question, answering)
        if answering.call is None:
            return
        if path not in xds.ASKABLE:
            self._reply(answering, text(f"{path} cannot be asked for; {', '.join(xds.ASKABLE)} can", 404))
            return
        request = Request(
            method="GET",
            path=path,
            query=urllib.parse.parse_qs(query, keep_blank_values=True) if query else {},
            headers={},
            peer="127.0.0.1",  # the control plane gave this pod its identity; it may see what the pod sees
        )
        self._admin.answer(request, lambda answer: self._reply(answering, answer))

    def _reply(self, answering: _Answering, answer: Answer) -> None:
        answering.head = json.dumps({"status": answer.status, "kind": answer.kind}).encode()
        slices = answer.slices if answer.slices is not None else iter((answer.body,))
        turns = self._admin.turns
        answering.long = turns.answer(slices, answering, turns.control)
        if answering.lost:
            answering.long.gone()


class _Answering(CallListener):
    """One answer on its way; the `Client` of `slices`, and the listener of its call."""

    def __init__(self) -> None:
        self.call: GrpcCall | None = None
        self.head = b""
        self.long: LongAnswer | None = None
        self.lost = False

    def begin(self) -> None:
        """Send the head."""
        self._send(self.head)

    def slice(self, data: bytes) -> bool:
        """Send a slice."""
        self._send(data)
        return self.call is None or self.call.room

    def end(self) -> None:
        """Send the end."""
        if self.call is not None:
            self.call.finish()

    def refuse(self, sentence: str) -> None:
        """Say that there is no room."""
        self._send(json.dumps({"status": 503, "kind": "text/plain"}).encode())
        self._send(sentence.encode())
        self.end()

    def cut(self) -> None:
        """Give it up; what came is not whole."""
        if self.call is not None:
            self.call.cancel()

    def writable(self) -> None:
        """There is room again."""
        if self.long is not None:
            self.long.room()

    def finished(self, status: int, words: str) -> None:  # noqa: ARG002 - whether it was taken is the asker's to say
        """The control plane has it, or wants it no more."""
        self.lost = True
        if self.long is not None:
            self.long.gone()

    def _send(self, data: bytes) -> None:
        if self.call is not None:
            self.call.send(data)
