"""Bytes and words of the API server: URLs, bodies, protobuf, SPDY, JSONPath, ages."""

from __future__ import annotations

import re
import zlib
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from devcluster.api import bodies, protobuf, spdy
from devcluster.api.cells import duration
from devcluster.api.errors import StatusError
from devcluster.api.jsonpath import find
from devcluster.api.messages import TABLE
from devcluster.api.targets import parse

NAMESPACE = (
    b'k8s\x00\n\x0f\n\x02v1\x12\tNamespace\x12\x1b\n\x13\n\x03foo\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12\x00'
    b'\x1a\x02\n\x00\x1a\x00"\x00'
)


def test_url_of_a_subresource_is_taken_apart() -> None:
    """Group, namespace, name, subresource and what follows."""
    target = parse("GET", "/api/v1/namespaces/n/pods/p:80/proxy/a/b", {})
    assert (target.namespace, target.plural, target.name, target.subresource, target.rest) == (
        "n",
        "pods",
        "p:80",
        "proxy",
        "a/b",
    )


@pytest.mark.parametrize(
    ("method", "path", "query", "verb"),
    [
        ("GET", "/apis/apps/v1/deployments", {}, "list"),
        ("GET", "/apis/apps/v1/deployments", {"watch": "true"}, "watch"),
        ("GET", "/api/v1/namespaces/n", {}, "get"),
        ("PUT", "/api/v1/namespaces/n/finalize", {}, "update"),
        ("DELETE", "/api/v1/namespaces/n/pods", {}, "deletecollection"),
        ("POST", "/api/v1/namespaces/n/pods", {}, "create"),
        ("GET", "/version", {}, "get"),
    ],
)
def test_url_and_method_name_the_verb(method: str, path: str, query: dict[str, str], verb: str) -> None:
    """The verb is what authorisation asks about."""
    assert parse(method, path, query).verb == verb


def test_protobuf_body_of_kubectl_is_read() -> None:
    """Bytes captured from `kubectl create namespace foo`; empty fields are left out."""
    assert protobuf.decode(NAMESPACE) == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "foo"}}


def varint(number: int) -> bytes:
    """Write a number seven bits at a time."""
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def field(number: int, value: bytes | int) -> bytes:
    """Write a field: bytes with their length, a number as it is."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def messages() -> st.SearchStrategy[bytes]:
    """Write messages of any fields, whatever their types are."""
    leaf = st.one_of(st.integers(0, 2**64 - 1), st.binary(max_size=8))

    def written(values: st.SearchStrategy[bytes | int]) -> st.SearchStrategy[bytes]:
        return st.lists(st.builds(field, st.integers(1, 6), values), max_size=4).map(b"".join)

    return st.recursive(written(leaf), written, max_leaves=8)


def enveloped() -> st.SearchStrategy[bytes]:
    """Write objects of kinds the server knows."""
    kinds = st.sampled_from(re.findall(r"^(\w+): ", TABLE, re.MULTILINE)).map(lambda name: field(2, name.encode()))
    return st.tuples(kinds, messages()).map(lambda both: field(1, both[0]) + field(2, both[1]))


@given(st.binary(max_size=80))
@example(b"\x08\x00")
def test_protobuf_garbage_is_refused_never_a_fault(data: bytes) -> None:
    """Whatever comes, the answer is a Status or an object."""
    code = 200
    try:
        protobuf.decode(protobuf.MAGIC + data)
    except StatusError as error:
        code = error.code

    assert code in {200, 400, 415}


@given(st.data())
def test_any_wire_type_of_any_field_is_refused_never_a_fault(data: st.DataObject) -> None:
    """Fields of messages the server knows, with values of kinds they never have, some levels deep."""
    code = 200
    try:
        protobuf.decode(protobuf.MAGIC + data.draw(enveloped()))
    except StatusError as error:
        code = error.code

    assert code in {200, 400, 415}


def test_json_nested_beyond_reason_inside_protobuf_is_refused() -> None:
    """Python's own depth is no fault of the server's."""
    with pytest.raises(StatusError) as refused:
        protobuf.decode(
            protobuf.MAGIC + field(1, field(2, b"ManagedFieldsEntry")) + field(2, field(7, field(1, b"[" * 100_000)))
        )

    assert refused.value.code == 400


@pytest.mark.parametrize(
    ("data", "media", "code"),
    [
        (b"{", "application/json", 400),
        (b"a: [", "application/yaml", 400),
        (b"\xff\xfe", "application/yaml", 400),
        (b"x", "application/pdf", 415),
        (b"[" * 100_000, "application/json", 400),
    ],
)
def test_malformed_bodies_are_refused_in_a_sentence(data: bytes, media: str, code: int) -> None:
    """Broken JSON, broken YAML, bad UTF-8, an unknown type, endless nesting."""
    with pytest.raises(StatusError) as caught:
        bodies.read(data, media)

    assert caught.value.code == code


def test_accept_header_gives_the_first_form_that_is_known() -> None:
    """The first known form wins; nothing known is 406."""
    header = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    assert bodies.accepted(header)[0].as_ == "Table"
    assert bodies.accepted("application/vnd.kubernetes.protobuf,application/json")[0].media == "application/json"
    with pytest.raises(StatusError):
        bodies.accepted("text/html")


def test_spdy_dictionary_is_the_one_of_the_standard() -> None:
    """Its Adler-32 is the one every SPDY/3 header block names."""
    assert zlib.adler32(spdy.dictionary()) == 0xE3C6A7C2


@given(st.lists(st.integers(min_value=1, max_value=7), min_size=1, max_size=40))
def test_spdy_frames_are_found_however_bytes_are_cut(cuts: list[int]) -> None:
    """A stream with headers and data, delivered in pieces."""
    deflate = zlib.compressobj(zdict=spdy.dictionary())
    names = [(b"port", b"8080"), (b"StreamType".lower(), b"data")]
    block = len(names).to_bytes(4, "big")
    for pair in names:
        block += b"".join(len(part).to_bytes(4, "big") + part for part in pair)
    body = (1).to_bytes(4, "big") + bytes(6) + deflate.compress(block) + deflate.flush(zlib.Z_SYNC_FLUSH)
    wire = b"\x80\x03\x00\x01\x00" + len(body).to_bytes(3, "big") + body + spdy.data_frame(1, b"hi", last=True)
    session, events, at, number = spdy.Session(), [], 0, 0
    while at < len(wire):
        size = cuts[number % len(cuts)]
        events += session.receive(wire[at : at + size])
        at, number = at + size, number + 1

    assert events == [
        spdy.StreamOpened(1, {"port": "8080", "streamtype": "data"}),
        spdy.DataReceived(1, b"hi", last=True),
    ]


def test_spdy_refuses_another_version_and_huge_frames() -> None:
    """Neither is guessed at."""
    for data in (b"\x80\x02\x00\x01" + bytes(4), b"\x80\x03\x00\x01\x00\xff\xff\xff"):
        with pytest.raises(spdy.SpdyError):
            list(spdy.Session().receive(data))


def test_jsonpath_follows_what_printer_columns_use() -> None:
    """Fields, indexes, all, filters, and a path that leads nowhere."""
    obj = {"a": {"b.c": [1, 2]}, "s": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]}

    assert find(obj, ".a.b\\.c[1]") == [2]
    assert find(obj, '.s[?(@.type=="Ready")].status') == ["True"]
    assert find(obj, ".s[*].type") == ["Ready", "Other"]
    assert find(obj, ".s[?(@.type in x)]") == []
    assert find(obj, ".nope.deeper") == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (5, "5s"),
        (119, "119s"),
        (125, "2m5s"),
        (3600, "60m"),
        (4 * 3600 + 60, "4h1m"),
        (30 * 3600, "30h"),
        (9 * 86400, "9d"),
    ],
)
def test_ages_are_written_as_kubectl_does(seconds: int, words: str) -> None:
    """Two units while small, one when large."""
    assert duration(timedelta(seconds=seconds)) == words
