r"""Tell a protocol test as a play: `>>` what happens to the codec, `<<` what it must do, and see a diff if it does not.

    play = Playbook(Http1Server(Limits()))
    play >> b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    play << RequestHead(1, b"GET", b"http", b"a", b"/", [], True)
    play >> call("send_response", 1, 204, b"", [], True)
    play << b"HTTP/1.1 204 No Content\r\n\r\n"
    play.done()

In: bytes to receive, `EOF`, or `call(...)`. Out: nothing, or an AssertionError that shows both sides line by line.
Expected events are compared by value; an event class, or a function that takes the event, accept by kind or by test.
"""

import difflib
from typing import Any


class Eof:
    """The peer stops sending."""


EOF = Eof()


class Call:
    """A method of the codec, called by the driver."""

    def __init__(self, name: str, *args: Any) -> None:
        self.name = name
        self.args = args


def call(name: str, *args: Any) -> Call:
    """Name a command to give the codec."""
    return Call(name, *args)


class Playbook:
    """A codec on stage. Each `>>` collects what came of it; each `<<` takes the next thing off the list."""

    def __init__(self, codec: Any) -> None:
        self.codec = codec
        self.returned: Any = None
        self._script: list[str] = []
        self._waiting: list[Any] = []

    def __rshift__(self, step: bytes | Eof | Call) -> "Playbook":
        """Let something happen."""
        events: list[Any] = []
        if isinstance(step, bytes):
            events = self.codec.receive(step)
        elif isinstance(step, Eof):
            events = self.codec.receive_eof()
        else:
            self.returned = getattr(self.codec, step.name)(*step.args)
        self._script.append(f">> {step!r}" if isinstance(step, bytes) else f">> {getattr(step, 'name', 'EOF')}")
        self._waiting.extend(events)
        written = self.codec.output()
        if written:
            self._waiting.append(written)
        return self

    def __lshift__(self, expected: Any) -> "Playbook":
        """Demand the next event, or the next bytes written."""
        if not self._waiting:
            raise AssertionError(self._story(f"expected {expected!r}, but nothing more came"))
        found = self._waiting.pop(0)
        if not _accepts(expected, found):
            diff = "\n".join(difflib.ndiff(_lines(expected), _lines(found)))
            raise AssertionError(self._story(f"expected (-) is not what came (+):\n{diff}"))
        self._script.append(f"<< {found!r}")
        return self

    def done(self) -> None:
        """Demand that nothing is left."""
        if self._waiting:
            raise AssertionError(self._story(f"nothing more was expected, but came: {self._waiting!r}"))

    def _story(self, problem: str) -> str:
        return "\n".join([*self._script, problem])


def _accepts(expected: Any, found: Any) -> bool:
    if isinstance(expected, type):
        return isinstance(found, expected)
    if callable(expected):
        return bool(expected(found))
    return bool(expected == found)


def _lines(value: Any) -> list[str]:
    if isinstance(value, bytes):
        return [repr(line) for line in value.splitlines(keepends=True)]
    return repr(value).replace(", (", ",\n (").splitlines()
