r"""Reading bodies in `application/vnd.kubernetes.protobuf`: kubectl and Helm send built-in kinds so, and take JSON back.

In: bytes with the `k8s\0` envelope. Out: the object as JSON would have had it. Refuses kinds and fields that are not in `messages`
with 415 and a sentence, rather than dropping what was said.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from devcluster.api.errors import Object, StatusError, bad_request
from devcluster.api.messages import TABLE

MAGIC = b"k8s\x00"
Field = tuple[str, str]


@functools.cache
def _messages() -> dict[str, dict[int, Field]]:
    found: dict[str, dict[int, Field]] = {}
    for line in TABLE.replace("\n  ", " ").strip().splitlines():
        name, _, fields = line.partition(": ")
        split = [field.split() for field in fields.split(";")]
        found[name] = {int(number): (json_name, type_) for number, json_name, type_ in split}
    return found


def decode(body: bytes) -> Object:
    """Decode an enveloped object; raises StatusError(400 or 415)."""
    if not body.startswith(MAGIC):
        raise bad_request("the body is not in Kubernetes protobuf: it does not begin with 'k8s\\0'")
    try:
        envelope = dict(_fields(body[4:]))
        meta = {number: _bytes(value).decode() for number, value in _fields(envelope[1])}
        kind = meta.get(2, "")
        if kind not in _messages():
            raise unsupported(f"kind {kind!r} is not read in protobuf by this server, send application/json")
        return {"apiVersion": meta.get(1, ""), "kind": kind} | _message(kind, envelope.get(2, b""))
    except (IndexError, KeyError, ValueError, OverflowError, RecursionError) as error:
        raise _malformed(error) from error


def _malformed(why: object) -> StatusError:
    return bad_request(f"the protobuf body is malformed: {why}")


def unsupported(message: str) -> StatusError:
    """Say that a body's encoding is not read."""
    return StatusError(415, "UnsupportedMediaType", message)


def _fields(message: Any) -> Iterator[tuple[int, Any]]:
    data = _bytes(message)
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value: Any
            value, at = _varint(data, at)
        elif wire == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError("a field is longer than the body")
            value, at = data[at : at + size], at + size
        elif wire in {1, 5}:
            size = 8 if wire == 1 else 4
            value, at = data[at : at + size], at + size
        else:
            raise ValueError(f"wire type {wire} is unknown")
        yield key >> 3, value


def _bytes(raw: Any) -> bytes:
    """Insist on what is written with a length: the body may give any field any wire type."""
    if not isinstance(raw, bytes):
        raise _malformed(f"the number {raw} stands where bytes belong")
    return raw


def _number(raw: Any) -> int:
    if not isinstance(raw, int):
        raise _malformed("bytes stand where a number belongs")
    return raw - (1 << 64) if raw >= 1 << 63 else raw


def _joined(raw: Any) -> bytes:
    return b"".join(_bytes(value) for _, value in _fields(raw))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _message(name: str, data: bytes) -> Object:
    known = _messages()[name]
    found: Object = {}
    for number, raw in _fields(data):
        if number not in known:
            if raw:
                raise unsupported(f"field {number} of {name} is not read in protobuf by this server, send JSON")
            continue
        json_name, type_ = known[number]
        if type_ == "x":
            continue
        kept = type_.startswith("?")
        type_ = type_.lstrip("?")
        if type_.startswith("*"):
            found.setdefault(json_name, []).append(_value(type_[1:], raw))
        elif type_ in {"m", "M", "Q", "X"}:
            key, value = _entry(type_, raw)
            found.setdefault(json_name, {})[key] = value
        else:
            value = _value(type_, raw)
            if json_name == "-":
                found.update(value)
            elif kept or value not in ("", 0, False, None, {}):
                found[json_name] = value
    return found


def _entry(type_: str, raw: bytes) -> tuple[str, Any]:
    parts = dict(_fields(raw))
    value = parts.get(2, b"")
    match type_:
        case "M":
            decoded: Any = base64.b64encode(_bytes(value)).decode()
        case "Q":
            decoded = _value("q", value)
        case "X":
            decoded = [_bytes(item).decode() for _, item in _fields(value)]
        case _:
            decoded = _bytes(value).decode()
    return _bytes(parts.get(1, b"")).decode(), decoded


def _value(type_: str, raw: Any) -> Any:
    match type_:
        case "s":
            return _bytes(raw).decode()
        case "b":
            return bool(_number(raw))
        case "i":
            return _number(raw)
        case "y":
            return base64.b64encode(_bytes(raw)).decode()
        case "t":
            return _time(dict(_fields(raw)))
        case "q":
            return _joined(raw).decode()
        case "o":
            parts = dict(_fields(raw))
            return _bytes(parts[3]).decode() if parts.get(1) else _number(parts.get(2, 0))
        case "f":
            return json.loads(_joined(raw) or b"{}")
        case _:
            return _message(type_, raw)


def _time(parts: dict[int, Any]) -> str | None:
    if not parts.get(1):
        return None
    moment = datetime.fromtimestamp(_number(parts[1]), UTC)
    if nanos := _number(parts.get(2, 0)):
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{nanos // 1000:06}Z"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
