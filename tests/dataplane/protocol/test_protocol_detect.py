"""First bytes name their protocol."""

import pytest

from dataplane.protocol import detect
from dataplane.protocol.http2.frames import PREFACE

HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"

KNOWN = [
    (b"GET / HTTP/1.1\r\n", detect.HTTP1),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", detect.HTTP1),
    (b"POST /x HTTP/1.0\r\n", detect.HTTP1),
    (b"PUT /x HTTP/9.9\r\n", detect.HTTP1),
    (b"PROPFIND /dav HTTP/1.1\n", detect.HTTP1),
    (b"CONNECT a:443 HTTP/1.1\r\n", detect.HTTP1),
    (PREFACE, detect.HTTP2),
    (PREFACE + b"\0\0\0", detect.HTTP2),
    (HELLO, detect.TLS),
    (b"\x16\x02\x01\x02\x00\x01", detect.OPAQUE),
    (b"\x16\x03\x03\x00\x40\x02", detect.OPAQUE),
    (b"GET key\r\n", detect.OPAQUE),
    (b"get key\r\n", detect.OPAQUE),
    (b"*1\r\n$4\r\nPING\r\n", detect.OPAQUE),
    (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", detect.OPAQUE),
    (b"EHLO mail.example\r\n", detect.OPAQUE),
    (b"SSH-2.0-OpenSSH_9\r\n", detect.OPAQUE),
    (b" GET / HTTP/1.1\r\n", detect.OPAQUE),
    (b"GET /\0 HTTP/1.1\r\n", detect.OPAQUE),
    (b"A" * 30, detect.OPAQUE),
    (b"GET /" + b"a" * detect.LONGEST_LINE, detect.HTTP1),
]


@pytest.mark.parametrize(("first", "answer"), KNOWN)
def test_detect_names_a_protocol_from_its_first_bytes(first, answer):
    """Whole first lines are told apart."""
    assert detect.classify(first) == answer


@pytest.mark.parametrize(("first", "answer"), KNOWN)
def test_detect_never_changes_its_mind_when_bytes_arrive_one_by_one(first, answer):
    """Every shorter beginning says either NEED_MORE or what the whole says."""
    if len(first) > 1000:
        first = first[:20]
        answer = detect.NEED_MORE
    assert {detect.classify(first[:n]) for n in range(len(first))} <= {detect.NEED_MORE, answer}
