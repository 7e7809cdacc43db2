"""Text forms Kubernetes gives a meaning: names, label keys, quantities, and the string formats of OpenAPI.

In: a string. Out: what is wrong with it (the server's sentence), or None. Quantities also have a numeric value,
because CEL compares them.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from urllib.parse import urlsplit
from uuid import UUID

LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"
QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")
_BINARY: dict[str, int] = {f"{letter}i": 1024**power for power, letter in enumerate("KMGTPE", 1)}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DURATION = re.compile(r"[+-]?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+|0")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def dns_label(value: str) -> str | None:
    """RFC 1123 label: namespaces, containers, ports of Services."""
    if len(value) > 63:
        return "must be no more than 63 bytes"
    if re.fullmatch(LABEL, value):
        return None
    return (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
        f"an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{LABEL}')"
    )


def dns_subdomain(value: str) -> str | None:
    """RFC 1123 subdomain: most object names."""
    if len(value) > 253:
        return "must be no more than 253 bytes"
    if re.fullmatch(SUBDOMAIN, value):
        return None
    return (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
        f"with an alphanumeric character (e.g. 'example.com', regex used for validation is '{SUBDOMAIN}')"
    )


def dns_1035_label(value: str) -> str | None:
    """RFC 1035 label: names of Services, which become DNS names."""
    if len(value) > 63:
        return "must be no more than 63 bytes"
    if re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", value):
        return None
    return (
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and "
        "end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
        "'[a-z]([-a-z0-9]*[a-z0-9])?')"
    )


def path_segment(value: str) -> str | None:
    """Names that are only path segments: roles and bindings."""
    if value in {".", ".."}:
        return f"may not be '{value}'"
    return next((f"may not contain '{bad}'" for bad in "/%" if bad in value), None)


def qualified_name(value: str) -> str | None:
    """Keys of labels and annotations: `[prefix/]name`."""
    prefix, slash, name = value.rpartition("/")
    if slash and not prefix:
        return "prefix part must be non-empty"
    if slash and (wrong := dns_subdomain(prefix)):
        return f"prefix part {wrong}"
    if not name:
        return "name part must be non-empty"
    if len(name) > 63:
        return "name part must be no more than 63 bytes"
    if re.fullmatch(QUALIFIED, name):
        return None
    return (
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
        f"character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{QUALIFIED}')"
    )


def label_value(value: str) -> str | None:
    """Values of labels."""
    if len(value) > 63:
        return "must be no more than 63 bytes"
    if re.fullmatch(rf"({QUALIFIED})?", value):
        return None
    return (
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end "
        f"with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
        f"'({QUALIFIED})?')"
    )


def port_name(value: str) -> str | None:
    """IANA service names: ports of containers and named targets."""
    if len(value) > 15:
        return "must be no more than 15 characters"
    if not re.fullmatch(r"[-a-z0-9]+", value):
        return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
    if not re.search("[a-z]", value):
        return "must contain at least one letter (a-z)"
    if "--" in value:
        return "must not contain consecutive hyphens"
    return "must not begin or end with a hyphen" if value[0] == "-" or value[-1] == "-" else None


def env_name(value: str) -> str | None:
    """Names of environment variables: printable ASCII but '='."""
    if value and all(" " <= letter <= "~" and letter != "=" for letter in value):
        return None
    return "a valid environment variable name must consist only of printable ASCII characters other than '='"


def quantity(value: object) -> Decimal | None:
    """The number a resource quantity means, None when it is none."""
    found = _QUANTITY.fullmatch(str(value)) if isinstance(value, str | int | float) else None
    if not found:
        return None
    number, suffix = Decimal(found[1]), found[2] or ""
    if suffix in _BINARY:
        return number * _BINARY[suffix]
    exponent = int(suffix[1:]) if suffix[:1] in {"e", "E"} and suffix[1:] else _DECIMAL.get(suffix, 0)
    return number.scaleb(exponent)


def duration(value: str) -> float | None:
    """Seconds of a Go duration, None when it is none."""
    if not _DURATION.fullmatch(value):
        return None
    total = sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)", value))
    return -total if value.startswith("-") else total


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        try:
            parse(value)
        except (ValueError, binascii.Error):
            return False
        return True

    return check


def _rfc3339(value: str) -> datetime:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", value):
        raise ValueError(value)
    return datetime.fromisoformat(re.sub(r"\.(\d{1,6})\d*", r".\1", value.upper().replace("Z", "+00:00")))


FORMATS: Mapping[str, Callable[[str], bool]] = {
    "date-time": _parses(_rfc3339),
    "datetime": _parses(_rfc3339),
    "date": _parses(lambda v: datetime.strptime(v, "%Y-%m-%d")),  # noqa: DTZ007 - only the form is checked
    "ipv4": _parses(ipaddress.IPv4Address),
    "ipv6": _parses(ipaddress.IPv6Address),
    "cidr": _parses(lambda v: ipaddress.ip_network(v, strict=False) if "/" in v else ipaddress.ip_network("")),
    "byte": _parses(lambda v: base64.b64decode(v, validate=True)),
    "uuid": _parses(UUID),
    "uri": lambda v: bool(urlsplit(v).scheme) or v.startswith("/"),
    "email": lambda v: bool(re.fullmatch(r"[^@\s]+@[^@\s]+", v)),
    "hostname": lambda v: bool(re.fullmatch(rf"(?i){SUBDOMAIN}\.?", v)),
    "duration": lambda v: duration(v) is not None,
}
"""String formats that are checked; the server ignores the others."""

RANGES: Mapping[str, tuple[int, int]] = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
"""Formats of integers."""
