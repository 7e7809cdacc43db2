"""A sidecar's own messages are as good as all of the contract's: what is set is read, or refused by the same name."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from dataplane.xds import messages
from dataplane.xds.decode import Notes, RefusedError, decode_message
from dataplane.xds.watched import CLOSED, NEWER, unread, watch
from meshapi import protos
from meshapi.xds import Type
from tests.dataplane.xds.test_xds_any_message import Grower
from tests.support.contract import level
from tests.support.machines import FACTOR
from tools import gen_messages

STEPS = 400 * FACTOR
"""Messages of a type."""


def described(raw: bytes) -> dict[str, Any]:
    """Every message of a descriptor set, by its full name."""

    def all_of(message: Any, name: str) -> Iterator[tuple[str, Any]]:
        yield name, message
        for nested in message.nested_type:
            yield from all_of(nested, f"{name}.{nested.name}")

    files = descriptor_pb2.FileDescriptorSet.FromString(raw).file
    return dict(
        pair for file in files for one in file.message_type for pair in all_of(one, f"{file.package}.{one.name}")
    )


def told(message: Any) -> list[tuple[Any, ...]]:
    """What there is to know of a message's fields."""
    return [(one.name, one.number, one.label, one.type, one.type_name, one.proto3_optional) for one in message.field]


def test_messages_are_made_of_what_the_decoders_read_now() -> None:
    """`make messages` is due where this fails: a decoder has a word for another field, or has one no more."""
    held, wanted = zlib.decompress(gen_messages.TARGET.read_bytes()), zlib.decompress(gen_messages.made())
    mine, theirs = described(held), described(wanted)
    assert {name: told(one) for name, one in mine.items()} == {name: told(one) for name, one in theirs.items()}

    assert held == wanted


def test_message_has_all_of_its_fields_or_is_closed() -> None:
    """A field that went missing would be taken for one of newer protos, and passed over."""
    mine = described(zlib.decompress(gen_messages.TARGET.read_bytes()))
    contract = described(gen_messages.contract())
    closed = {name for name, one in mine.items() if [field.name for field in one.field] == [CLOSED]}

    assert len(closed) > 50
    assert {name: told(one) for name, one in mine.items() if name not in closed} == {
        name: told(one) for name, one in contract.items() if name in mine and name not in closed
    }


def test_closed_message_can_be_refused_and_not_read() -> None:
    """To ask whether it is there is not to read what is in it."""
    message = messages.message("envoy.config.route.v3.RouteAction")(cors={CLOSED: True})
    watched = watch(message)

    assert watched.HasField("cors")
    assert [one.path for one in unread(watched)] == ["cors"]
    with pytest.raises(LookupError, match="make messages"):
        _ = watched.cors


def outcome(type_: Type, message: Any) -> tuple[str, list[str], dict[str, int]]:
    """What becomes of a message: a noun or a sentence, what is lost, and what is passed over."""
    notes = Notes()
    try:
        said = repr(decode_message(type_, message, notes))
    except RefusedError as refused:
        said = str(refused)
    passed = {name: count for name, count in notes.passed.items() if name != NEWER}
    return said, notes.lost, passed


@pytest.mark.parametrize("type_", Type)
def test_any_message_fares_as_with_all_of_the_contract(type_: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages grown at random from their full descriptors: the same noun, the same sentence."""
    grower = Grower(7 * len(type_.name))
    seeds = [message for (kind, _), message in level(1).items() if kind is type_]
    own = messages.message(type_.url.rpartition("/")[2])
    refused = 0
    for step in range(STEPS):
        message = type(seeds[0])()
        message.CopyFrom(seeds[step % len(seeds)])
        for _ in range(grower.dice.randrange(1, 4)):
            grower.change(message)
        raw = message.SerializeToString()
        with monkeypatch.context() as whole:
            whole.setattr(messages, "unpack", protos.unpack)
            expected = outcome(type_, message)
        assert outcome(type_, own.FromString(raw)) == expected
        refused += "not supported" in expected[0]

    assert refused > STEPS / 100
