"""The private pool: its messages are protobuf's own, whichever protobuf there is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.message import DecodeError, Message

from meshapi import protos

ROOT = Path(__file__).resolve().parents[2]
_ROUTE = {
    "match": {"prefix": "/a"},
    "route": {"cluster": "c", "timeout": "1.500s"},
    "metadata": {"filter_metadata": {"f": {"k": [1.0, "x"]}}},
}

_WRITTEN = """
import sys
if "no wheel" in sys.argv:
    sys.modules["google._upb._message"] = None
from meshapi import protos
from tests.meshapi.test_meshapi_protos import _ROUTE
made = protos.from_dict("envoy.config.route.v3.Route", _ROUTE)
back = protos.unpack(protos.pack(made))
assert back == made and protos.to_dict(back) == _ROUTE, back
print(made.SerializeToString(deterministic=True).hex(), end="")
"""


def written(*how: str) -> str:
    """What a process of its own makes of a route."""
    environment = os.environ | ({"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"} if "variable" in how else {})
    command = [sys.executable, "-c", _WRITTEN, *how]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True, text=True).stdout


@pytest.mark.parametrize("how", [("no wheel", "variable"), ("no wheel",), ("variable",)])
def test_messages_are_the_same_without_the_compiled_protobuf(how: tuple[str, ...]) -> None:
    """Where nobody builds a wheel for the machine, or somebody asks for it, protobuf is all in Python, and slower, and no other."""
    assert written() == written(*how) != ""


def test_message_is_made_once_and_is_one_of_protobufs() -> None:
    """Classes can be compared, and what cannot be parsed says so in protobuf's own way."""
    made = protos.message("envoy.config.route.v3.Route")

    assert made is protos.message("envoy.config.route.v3.Route")
    assert isinstance(made().route, Message)
    with pytest.raises(DecodeError):
        made.FromString(b"\xff")


def test_unknown_type_is_named() -> None:
    """An extension nobody carries."""
    wrapped = protos.message("google.protobuf.Any")(type_url="type.googleapis.com/a.B")

    with pytest.raises(protos.UnknownTypeError, match=r"a\.B"):
        protos.unpack(wrapped)
