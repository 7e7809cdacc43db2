"""Write dataplane/xds/messages.binpb: of the contract's messages those a sidecar reads, so that it does not hold the others.

Run by `make messages` when a decoder begins to read something, and by `make protos`; a test says when it is due. A message whose name no
decoder has a word for is closed: it keeps its name and loses its fields, with a mark in their place (`watched.CLOSED`).
"""

from __future__ import annotations

import ast
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

from google.protobuf import descriptor_pb2

from dataplane.xds.watched import CLOSED
from meshapi.xds import Type

HERE = Path(__file__).resolve().parent.parent
TARGET = HERE / "dataplane" / "xds" / "messages.binpb"
_WHOLE = (".google.protobuf.", ".google.api.expr.")
"""Packages whose messages are taken as they are: Google's small ones are read whole, and expressions are refused with what is in them."""
_EXTENSIONS = ".envoy.extensions."
"""What comes packed and is not read is refused by its name."""
_PUT_TOGETHER = "}"
"""Before the ends of names that are put together, e.g. `f"{side}_headers_to_add"`."""
_Message = descriptor_pb2.DescriptorProto
_Enum = descriptor_pb2.EnumDescriptorProto


class Pruning:
    """All messages of a descriptor set, and which of them are open and which closed."""

    def __init__(self, files: descriptor_pb2.FileDescriptorSet, said: frozenset[str]) -> None:
        self._messages: dict[str, _Message] = {}
        self._words = frozenset(word for text in said for word in re.findall(r"\w+", text))
        self._ends = tuple(text[1:] for text in said if text.startswith(_PUT_TOGETHER))
        self.open: set[str] = set()
        self.closed: set[str] = set()
        for file in files.file:
            for message in file.message_type:
                self._note(message, f".{file.package}.{message.name}")
        inside = {field.type_name for message in self._messages.values() for field in message.field}
        for type_ in Type:
            self._visit("." + type_.url.rpartition("/")[2])
        for name in self._messages:
            packed = name not in inside or name.startswith(_EXTENSIONS)
            if name[1:] in said or (packed and name.rpartition(".")[2] in self._words):
                self._visit(name)
            elif name not in inside and name.startswith(_EXTENSIONS):
                self.closed.add(name)
        self.closed -= self.open
        self._used = {field.type_name for name in self.open for field in self._messages[name].field}

    def _note(self, message: _Message, name: str) -> None:
        self._messages[name] = message
        for nested in message.nested_type:
            self._note(nested, f"{name}.{nested.name}")

    def _visit(self, name: str) -> None:
        """Open a message, and those inside it that a decoder may come to."""
        if name in self.open:
            return
        self.open.add(name)
        message = self._messages[name]
        for field in message.field:
            if field.type_name not in self._messages:
                continue
            group = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
            entry = message.options.map_entry or self._messages[field.type_name].options.map_entry
            told = self._words & {field.name, group} or field.name.endswith(self._ends)
            if entry or told or field.type_name.startswith(_WHOLE):
                self._visit(field.type_name)
            else:
                self.closed.add(field.type_name)

    def prune(self, message: _Message, name: str) -> bool:
        """Take out of a message what is not kept; False where that is all of it."""
        nested = [one for one in message.nested_type if self.prune(one, f"{name}.{one.name}")]
        kept = _Message(name=message.name, nested_type=nested, enum_type=self.enums(message.enum_type, name))
        if name in self.open:
            kept.field.extend(_bare(field) for field in message.field)
            kept.oneof_decl.extend(descriptor_pb2.OneofDescriptorProto(name=one.name) for one in message.oneof_decl)
            kept.options.map_entry = message.options.map_entry
        elif name in self.closed or nested or kept.enum_type:
            kept.field.add(name=CLOSED, number=1, label=1, type=8)
        else:
            return False
        message.CopyFrom(kept)
        return True

    def enums(self, enums: Iterable[_Enum], home: str) -> list[_Enum]:
        """Keep the enums that fields of open messages have, without what documentation says of them."""
        return [_values(enum) for enum in enums if f"{home}.{enum.name}" in self._used]


def _bare(field: descriptor_pb2.FieldDescriptorProto) -> descriptor_pb2.FieldDescriptorProto:
    """A field without what validators and documentation say of it."""
    kept = descriptor_pb2.FieldDescriptorProto()
    kept.CopyFrom(field)
    kept.ClearField("options")
    kept.ClearField("json_name")
    return kept


def _values(enum: _Enum) -> _Enum:
    """An enum, likewise."""
    kept = _Enum(name=enum.name)
    kept.value.extend(descriptor_pb2.EnumValueDescriptorProto(name=one.name, number=one.number) for one in enum.value)
    if enum.options.allow_alias:
        kept.options.allow_alias = True
    return kept


def said(source: str) -> frozenset[str]:
    """What a module's code says: names, attributes and texts; prose is none of it."""
    tree = ast.parse(source)
    prose = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and isinstance(node.body[0], ast.Expr)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in prose:
                found.add(text)
            case ast.JoinedStr(values=[*_, ast.FormattedValue(), ast.Constant(value=str(end))]) if end.isidentifier():
                found.add(_PUT_TOGETHER + end)
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.keyword(arg=str(word)):
                found.add(word)
            case _:
                pass
    return frozenset(found)


def prune(raw: bytes, words: frozenset[str]) -> bytes:
    """Take from a descriptor set what decoders read that say these words."""
    files = descriptor_pb2.FileDescriptorSet.FromString(raw)
    homes: dict[str, str] = {}
    for file in files.file:
        for message in file.message_type:
            homes |= dict.fromkeys(_names(message, f".{file.package}.{message.name}"), file.name)
        homes |= {f".{file.package}.{enum.name}": file.name for enum in file.enum_type}
    pruning = Pruning(files, words)
    result = descriptor_pb2.FileDescriptorSet()
    for file in files.file:
        kept = result.file.add(name=file.name, package=file.package)
        if file.syntax:
            kept.syntax = file.syntax
        for message in file.message_type:
            if pruning.prune(message, f".{file.package}.{message.name}"):
                kept.message_type.append(message)
        kept.enum_type.extend(pruning.enums(file.enum_type, f".{file.package}"))
        kept.dependency.extend(sorted({homes[name] for one in kept.message_type for name in _uses(one)} - {file.name}))
    whole = descriptor_pb2.FileDescriptorSet(file=[one for one in result.file if one.message_type or one.enum_type])
    return whole.SerializeToString(deterministic=True)


def _names(message: _Message, name: str) -> list[str]:
    """What a message defines, itself included."""
    nested = [found for one in message.nested_type for found in _names(one, f"{name}.{one.name}")]
    return [name, *nested, *(f"{name}.{enum.name}" for enum in message.enum_type)]


def _uses(message: _Message) -> set[str]:
    """The types of a message's fields, and of those in it."""
    own = {field.type_name for field in message.field if field.type_name}
    return own.union(*(_uses(one) for one in message.nested_type))


def contract() -> bytes:
    """All messages there are, as a descriptor set."""
    return zlib.decompress((HERE / "meshapi" / "descriptors.binpb").read_bytes())


def made() -> bytes:
    """What the file is to hold."""
    words = frozenset[str]().union(*(said(path.read_text()) for path in (HERE / "dataplane" / "xds").glob("*.py")))
    return zlib.compress(prune(contract(), words), 9)


if __name__ == "__main__":
    TARGET.write_bytes(made())
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")
