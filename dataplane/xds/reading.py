"""What every decoder needs: refusals in sentences, and Envoy's small shared messages as plain values.

In: parts of xDS messages. Out: strings, seconds, matches, header changes. Refuses, with RefusedError, what the sidecar would have to
ignore although ignoring it changes what is let through or where it goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from dataplane.config import HeaderChange, StringMatch
from dataplane.xds import messages
from dataplane.xds.watched import miss, opened
from meshapi import patterns
from meshapi.patterns import PatternError
from meshapi.protos import UnknownTypeError
from meshapi.xds import UNCHANGEABLE

_TOKEN = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+\Z")
_BROKEN = re.compile(r"[\r\n\0]")
_SPACED = re.compile(r"[\0-\x20\x7f]")
SET, ADD = "OVERWRITE_IF_EXISTS_OR_ADD", "APPEND_IF_EXISTS_OR_ADD"


class RefusedError(ValueError):
    """A resource the sidecar cannot use; the message is the sentence of the NACK."""


class BadPatternError(RefusedError):
    """A regular expression that is not RE2's: what it stands in need not be lost with it."""


def unpacked(wrapped: Any, where: str) -> Any:
    """Unpack an extension's configuration."""
    if not wrapped.type_url:
        raise RefusedError(f"{where}: typed_config is missing")
    try:
        return opened(wrapped, lambda: messages.unpack(wrapped))
    except UnknownTypeError:
        raise RefusedError(f"{where}: {wrapped.type_url.rpartition('/')[2]} is not supported") from None


def kind_of(message: Any) -> str:
    """Tell a message's short type name."""
    name: str = message.DESCRIPTOR.name
    return name


def choice(message: Any, field: str, where: str) -> str:
    """Read an enum by name; a value of newer protos has none here."""
    value = getattr(message, field)
    known = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(value)
    if known is None:
        raise RefusedError(f"{where}: {field} is {value}, which this sidecar does not know")
    name: str = known.name
    return name


def seconds(message: Any, field: str, default: float) -> float:
    """Read a duration field."""
    if not message.HasField(field):
        return default
    value = getattr(message, field)
    return float(value.seconds) + float(value.nanos) / 1e9


def keepalive(options: Any) -> tuple[float, float] | None:
    """Read when HTTP/2 options have a silent peer asked whether it lives; None where they say nothing."""
    if not options.HasField("connection_keepalive"):
        return None
    told = options.connection_keepalive
    return seconds(told, "interval", 0.0), seconds(told, "timeout", 0.0)


def maybe_seconds(message: Any, field: str) -> float | None:
    """Read a duration field whose absence is told apart from zero."""
    return seconds(message, field, 0.0) if message.HasField(field) else None


def number(message: Any, field: str, default: int) -> int:
    """Read a wrapped number."""
    return int(getattr(message, field).value) if message.HasField(field) else default


def flag(message: Any, field: str, *, default: bool) -> bool:
    """Read a wrapped boolean."""
    return bool(getattr(message, field).value) if message.HasField(field) else default


def from_this_stream(source: Any, where: str) -> None:
    """Refuse a source of configuration that is another than the stream it is named on, or the file it stands in."""
    kind = source.WhichOneof("config_source_specifier")
    if kind not in {None, "ads", "self"} or choice(source, "resource_api_version", where) not in {"AUTO", "V3"}:
        raise RefusedError(f"{where}: configuration comes by ADS, version 3, and nowhere else")


def upgrades(configs: Iterable[Any]) -> tuple[tuple[str, bool], ...]:
    """Read which protocols may be upgraded to, and which not."""
    return tuple((one.upgrade_type.lower(), flag(one, "enabled", default=True)) for one in configs)


def socket_address(message: Any, where: str) -> tuple[str, int]:
    """Read a TCP address by number."""
    if message.WhichOneof("address") != "socket_address":
        raise RefusedError(f"{where}: only socket addresses are supported")
    address = message.socket_address
    if address.protocol:
        raise RefusedError(f"{where}: only TCP is supported")
    if address.WhichOneof("port_specifier") == "named_port":
        raise RefusedError(f"{where}: ports must be numbers")
    return address.address, address.port_value


def regex(text: str, where: str) -> str:
    """Check a regular expression."""
    try:
        patterns.pattern(text)
    except PatternError as error:
        raise BadPatternError(f"{where}: {error}") from None
    return text


def rewrite(text: str, replacement: str, where: str) -> tuple[str, str]:
    """Check a replacement by regular expression."""
    try:
        patterns.Substitution(text, replacement)
    except PatternError as error:
        raise BadPatternError(f"{where}: {error}") from None
    return text, replacement


def string_match(matcher: Any, where: str, *, invert: bool = False) -> StringMatch:
    """Read a StringMatcher."""
    which = matcher.WhichOneof("match_pattern")
    ignore = bool(matcher.ignore_case)
    if which == "safe_regex":
        return StringMatch(regex=regex(matcher.safe_regex.regex, where), invert=invert)
    if which == "exact":
        return StringMatch(exact=matcher.exact, ignore_case=ignore, invert=invert)
    if which == "prefix":
        return StringMatch(prefix=matcher.prefix, ignore_case=ignore, invert=invert)
    if which == "suffix":
        return StringMatch(suffix=matcher.suffix, ignore_case=ignore, invert=invert)
    if which == "contains":
        return StringMatch(contains=matcher.contains, ignore_case=ignore, invert=invert)
    raise RefusedError(f"{where}: a string match by {which or 'nothing'} is not supported")


def header_change(message: Any, side: str, where: str) -> HeaderChange | None:
    """Read header modifications of the "request" or the "response"; None when there are none. One that is not made is noted, and the rest is."""
    added, removed = f"{side}_headers_to_add", f"{side}_headers_to_remove"
    changes: dict[str, list[tuple[str, str]]] = {SET: [], ADD: []}
    for option in getattr(message, added):
        action = choice(option, "append_action", where)
        if option.HasField("append"):
            action = ADD if option.append.value else SET
        if action not in changes:
            raise RefusedError(f"{where}: append_action {action} is not supported")
        name, value = field_name(option.header.key, where), _literal(option.header.value, where)
        if (option.keep_empty_value or value) and _changeable(message, added, name, where):
            changes[action].append((name, value))
    names = [field_name(name, where) for name in getattr(message, removed)]
    gone = tuple(name for name in names if _changeable(message, removed, name, where))
    change = HeaderChange(set=tuple(changes[SET]), add=tuple(changes[ADD]), remove=gone)
    return change if change != HeaderChange() else None


def _changeable(message: Any, field: str, name: str, where: str) -> bool:
    if name.lower() not in UNCHANGEABLE:
        return True
    miss(message, field, f"{where}: header {name!r} is changed by no modification, each proxy writes its own")
    return False


def both(inner: HeaderChange | None, outer: HeaderChange | None) -> HeaderChange | None:
    """Put the changes of a route and of what it stands in one after the other."""
    if inner is None or outer is None:
        return inner or outer
    return HeaderChange(set=inner.set + outer.set, add=inner.add + outer.add, remove=inner.remove + outer.remove)


def field_name(name: str, where: str) -> str:
    """Check the name of a header (RFC 9110, section 5.1): what is no token would be read as something else behind us."""
    if not _TOKEN.match(name):
        raise RefusedError(f"{where}: {name!r} is no header name")
    return name


def in_target(value: str, where: str) -> str:
    """Check text that becomes part of a request line, an authority or a `location`: it has no spaces and no controls."""
    if _SPACED.search(value):
        raise RefusedError(f"{where}: {value!r} has a space or a control character in it")
    return value


def _literal(value: str, where: str) -> str:
    """Read a header value; `%%` is a percent sign, a single one begins a command, which would need an interpreter."""
    if _BROKEN.search(value):
        raise RefusedError(f"{where}: header value {value!r} holds CR, LF or NUL (RFC 9110, section 5.5)")
    if "%" not in value:
        return value
    if "%" in value.replace("%%", ""):
        raise RefusedError(f"{where}: header value {value!r} holds a command, only plain text is supported")
    return value.replace("%%", "%")


def plain(struct: Any) -> tuple[tuple[str, object], ...]:
    """Read a metadata Struct as sorted pairs of plain values."""
    return tuple(sorted((key, _value(value)) for key, value in struct.fields.items()))


def _value(value: Any) -> object:
    match value.WhichOneof("kind"):
        case "string_value":
            return str(value.string_value)
        case "bool_value":
            return bool(value.bool_value)
        case "number_value":
            number_ = value.number_value
            return int(number_) if number_.is_integer() else float(number_)
        case "list_value":
            return tuple(_value(one) for one in value.list_value.values)
        case "struct_value":
            return plain(value.struct_value)
        case _:
            return None
