"""Counts how often one warm request crosses from one module into another; run by itself, it prints the calls.

Only sources can be seen through, so they are loaded also where compiled modules lie beside them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
REQUEST = b"GET /reviews/1 HTTP/1.1\r\nhost: reviews\r\nuser-agent: curl/8\r\naccept: */*\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"


def module(code: CodeType) -> str:
    """Name the module of a function in `dataplane/`; empty for all others."""
    path = Path(code.co_filename)
    inside = path.is_relative_to(ROOT / "dataplane")
    return str(path.relative_to(ROOT / "dataplane").with_suffix("")) if inside else ""


def watched(do: Callable[[], object]) -> list[tuple[str, str, str]]:
    """Do it; return each call into `dataplane/`: from which module, into which, the function."""
    calls: list[tuple[str, str, str]] = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        into = module(frame.f_code) if event == "call" else ""
        if into:
            calls.append((module(frame.f_back.f_code) if frame.f_back else "", into, frame.f_code.co_qualname))

    sys.setprofile(note)
    try:
        do()
    finally:
        sys.setprofile(None)
    return calls


def one_request() -> dict[str, list[tuple[str, str, str]]]:
    """Watch the head on its way to the server, and the answer on its way back, where all connections are there."""
    from tests.dataplane.proxy.rig import Rig, cluster, config

    rig: Any = Rig(config(clusters=(cluster("10.1.0.1"),)))
    client = rig.client(target=("10.0.0.1", 80))
    seen: dict[str, list[tuple[str, str, str]]] = {}
    for warm in (False, False, True):
        client.sock.send(REQUEST)
        seen["head"] = watched(rig.poller.turn) if warm else rig.turn() or []
        assert rig.servers[-1].read()
        rig.servers[-1].sock.send(ANSWER)
        seen["answer"] = watched(rig.poller.turn) if warm else rig.turn() or []
        assert client.read().endswith(b"hello")
    rig.close()
    return seen


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from fuzz import pure

    pure.install()
    seen = one_request()
    told: dict[str, dict[str, int]] = {}
    for which, calls in seen.items():
        if "--calls" in sys.argv:
            lines = [f"{'*' if a != b else ' '} {a or '-'} > {b}: {name}" for a, b, name in calls]
            sys.stdout.write("\n  ".join((which, *lines)) + "\n")
        pairs = [(a, b) for a, b, _ in calls if a != b]
        inside = sum("proxy/" in a + b for a, b in pairs)
        told[which] = {"calls": len(calls), "borders": len(pairs), "proxy": inside}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
