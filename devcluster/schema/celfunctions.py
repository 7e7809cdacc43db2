"""What Kubernetes adds to CEL: addresses, networks, URLs, quantities, lists and regular expressions.

In: the values CEL hands over. Out: function declarations for an environment. An address, network, URL or quantity travels inside CEL
as a one-key map, because the binding has no opaque types. A function that cannot answer raises; CEL makes that an error of the rule.
Not there, because the binding cannot declare a second receiver for them: `indexOf` and `lastIndexOf` of lists, and `format`'s library.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from cel_expr_python import cel

from devcluster.schema import formats

Type = cel.Type
STRING, BOOL, INT, DYN = Type.STRING, Type.BOOL, Type.INT, Type.DYN
LIST = Type.List(DYN)
BOX = Type.Map(STRING, DYN)
Box = dict[str, str]
Table = dict[str, list[tuple[bool, list[Any], Any, Callable[..., Any]]]]
"""By name: whether it is called on a value, what it takes, what it gives, and how it is done."""


def declarations() -> list[Any]:
    """Every function, ready for `cel.NewEnv(functions=...)`."""
    table = _texts() | _networks() | _urls() | _quantities()
    found = []
    for name, overloads in table.items():
        made = [
            cel.Overload(f"kubernetes_{name.replace('.', '_')}_{index}", returns, takes, member, call)
            for index, (member, takes, returns, call) in enumerate(overloads)
        ]
        found.append(cel.FunctionDecl(name, made))
    return found


def _texts() -> Table:
    """Lists and regular expressions."""
    return {
        "sum": [(True, [LIST], DYN, sum)],
        "min": [(True, [LIST], DYN, min)],
        "max": [(True, [LIST], DYN, max)],
        "isSorted": [(True, [LIST], BOOL, lambda items: all(a <= b for a, b in pairwise(items)))],
        "find": [
            (True, [STRING, STRING], STRING, lambda text, form: "".join([m[0] for m in re.finditer(form, text)][:1]))
        ],
        "findAll": [
            (True, [STRING, STRING], LIST, lambda text, form: [m[0] for m in re.finditer(form, text)]),
            (True, [STRING, STRING, INT], LIST, lambda text, form, n: [m[0] for m in re.finditer(form, text)][:n]),
        ],
    }


def _networks() -> Table:
    """Addresses and networks."""
    return {
        "isIP": [(False, [STRING], BOOL, _is(_address))],
        "ip": [(False, [STRING], BOX, lambda text: {"ip": str(_address(text))}), (True, [BOX], BOX, _network_ip)],
        "ip.isCanonical": [(False, [STRING], BOOL, lambda text: str(_address(text)) == text)],
        "family": [(True, [BOX], INT, lambda box: _address(box["ip"]).version)],
        "isLoopback": [(True, [BOX], BOOL, lambda box: _address(box["ip"]).is_loopback)],
        "isUnspecified": [(True, [BOX], BOOL, lambda box: _address(box["ip"]).is_unspecified)],
        "isLinkLocalUnicast": [(True, [BOX], BOOL, lambda box: _address(box["ip"]).is_link_local)],
        "isGlobalUnicast": [(True, [BOX], BOOL, lambda box: _is_global(_address(box["ip"])))],
        "isCIDR": [(False, [STRING], BOOL, _is(_network))],
        "cidr": [(False, [STRING], BOX, lambda text: {"cidr": text} if _network(text) else {})],
        "prefixLength": [(True, [BOX], INT, lambda box: _network(box["cidr"]).prefixlen)],
        "masked": [(True, [BOX], BOX, lambda box: {"cidr": str(_network(box["cidr"]))})],
        "containsIP": [(True, [BOX, kind], BOOL, _contains_ip) for kind in (STRING, BOX)],
        "containsCIDR": [(True, [BOX, kind], BOOL, _contains_cidr) for kind in (STRING, BOX)],
    }


def _urls() -> Table:
    """URLs."""
    return {
        "isURL": [(False, [STRING], BOOL, _is(_url))],
        "url": [(False, [STRING], BOX, lambda text: {"url": text} if _url(text) else {})],
        "getScheme": [(True, [BOX], STRING, lambda box: _url(box["url"]).scheme)],
        "getHost": [(True, [BOX], STRING, lambda box: _url(box["url"]).netloc.rpartition("@")[2])],
        "getHostname": [(True, [BOX], STRING, lambda box: _url(box["url"]).hostname or "")],
        "getPort": [(True, [BOX], STRING, lambda box: str(_url(box["url"]).port or ""))],
        "getEscapedPath": [(True, [BOX], STRING, lambda box: _url(box["url"]).path)],
        "getQuery": [(True, [BOX], BOX, lambda box: parse_qs(_url(box["url"]).query))],
    }


def _quantities() -> Table:
    """Resource quantities."""
    return {
        "isQuantity": [(False, [STRING], BOOL, lambda text: formats.quantity(text) is not None)],
        "quantity": [(False, [STRING], BOX, lambda text: {"quantity": str(_quantity(text))})],
        "isInteger": [(True, [BOX], BOOL, lambda box: _number(box) == _number(box).to_integral_value())],
        "asInteger": [(True, [BOX], INT, lambda box: int(_number(box)))],
        "asApproximateFloat": [(True, [BOX], Type.DOUBLE, lambda box: float(_number(box)))],
        "sign": [(True, [BOX], INT, lambda box: (_number(box) > 0) - (_number(box) < 0))],
        "isGreaterThan": [(True, [BOX, BOX], BOOL, lambda one, other: _number(one) > _number(other))],
        "isLessThan": [(True, [BOX, BOX], BOOL, lambda one, other: _number(one) < _number(other))],
        "compareTo": [(True, [BOX, BOX], INT, lambda a, b: (_number(a) > _number(b)) - (_number(a) < _number(b)))],
        "add": [
            (True, [BOX, kind], BOX, lambda a, b: {"quantity": str(_number(a) + _number(b))}) for kind in (BOX, INT)
        ],
        "sub": [
            (True, [BOX, kind], BOX, lambda a, b: {"quantity": str(_number(a) - _number(b))}) for kind in (BOX, INT)
        ],
    }


def _is(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return check


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    found = ipaddress.ip_address(text)
    if "%" in text or getattr(found, "ipv4_mapped", None):
        raise ValueError(f"IP Address {text!r} with a zone or mapped from IPv4 is not allowed")
    return found


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if not re.search(r"/\d+$", text):
        raise ValueError(f"{text!r} is no CIDR")
    return ipaddress.ip_network(text, strict=False)


def _network_ip(box: Box) -> Box:
    return {"ip": box["cidr"].split("/")[0]}


def _is_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    # Go's IsGlobalUnicast counts private addresses in.
    special = (address.is_multicast, address.is_loopback, address.is_link_local, address.is_unspecified)
    return not any(special) and str(address) != "255.255.255.255"


def _contains_ip(box: Box, other: str | Box) -> bool:
    return _address(other if isinstance(other, str) else other["ip"]) in _network(box["cidr"])


def _contains_cidr(box: Box, other: str | Box) -> bool:
    inner, outer = _network(other if isinstance(other, str) else other["cidr"]), _network(box["cidr"])
    return inner.version == outer.version and inner.network_address in outer and inner.prefixlen >= outer.prefixlen


def _url(text: str) -> SplitResult:
    found = urlsplit(text)
    if not (found.scheme or text.startswith("/")) or " " in text:
        raise ValueError(f"URL parse error during conversion from string: {text!r}")
    return found


def _quantity(text: str) -> Decimal:
    found = formats.quantity(text)
    if found is None:
        raise ValueError(f"{text!r} is no quantity")
    return found


def _number(value: Box | int) -> Decimal:
    return Decimal(value) if isinstance(value, int) else Decimal(value["quantity"])
