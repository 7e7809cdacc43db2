"""When a certificate ends, read from its DER by hand: the sidecar holds no cryptography library at rest.

In: PEM chain. Out: the leaf's validity in seconds since the epoch. Refuses what is not of the form of RFC 5280, section 4.1
with BadCertificateError; nothing else of a certificate is read here, checking is the TLS library's.
"""

from __future__ import annotations

import binascii
from datetime import UTC, datetime

from meshapi import names
from meshapi.records import record

_SEQUENCE = 0x30
_INTEGER = 0x02
_UTC_TIME = 0x17
_GENERALIZED_TIME = 0x18
_VERSION = 0xA0
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class BadCertificateError(ValueError):
    """Bytes that are no certificate; the message says where they stop being one."""


@record
class Validity:
    """From when to when a certificate holds, seconds since the epoch."""

    begins: float
    ends: float

    @property
    def life(self) -> float:
        """Seconds from its issue to its end: the mesh's authority lets validity begin some time before, and that is no part of its life."""
        whole = self.ends - self.begins
        return whole - names.BACKDATED_SECONDS if whole > names.BACKDATED_SECONDS else whole


def validity(pem: bytes) -> Validity:
    """Read the validity of the first certificate in a PEM text; raises BadCertificateError."""
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    start, stop = pem.find(begin), pem.find(end)
    if start < 0 or stop < start:
        raise BadCertificateError("there is no certificate in the PEM text")
    try:
        der = binascii.a2b_base64(pem[start + len(begin) : stop])
    except ValueError as problem:
        raise BadCertificateError(f"the PEM text cannot be read: {problem}") from None
    body = _expect(_expect(der, 0, _SEQUENCE)[0], 0, _SEQUENCE)[0]
    at = 0
    if body[:1] == bytes([_VERSION]):
        _, at = _expect(body, at, _VERSION)
    for tag in (_INTEGER, _SEQUENCE, _SEQUENCE):  # serial number, signature algorithm, issuer
        _, at = _expect(body, at, tag)
    times, _ = _expect(body, at, _SEQUENCE)
    first, at = _time(times, 0)
    last, _ = _time(times, at)
    return Validity(begins=first, ends=last)


def moment(words: str) -> float:
    """Read a time as OpenSSL writes it (`Jan  5 09:34:43 2018 GMT`), seconds since the epoch; raises BadCertificateError."""
    try:
        month, day, clock, year, zone = words.split()
        hour, minute, second = (int(part) for part in clock.split(":"))
        if zone != "GMT":
            raise ValueError(zone)
        return datetime(int(year), _MONTHS.index(month) + 1, int(day), hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:
        raise BadCertificateError(f"{words!r} is no time of a certificate") from None


def _expect(data: bytes, at: int, tag: int) -> tuple[bytes, int]:
    """Read one element of this tag (X.690, section 8.1); return its content and the position behind it."""
    if at + 2 > len(data) or data[at] != tag:
        raise BadCertificateError(f"at byte {at} a DER element of tag {tag:#x} was expected")
    length, at = data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(data[at : at + size], "big")
        at += size
    if length > len(data) - at:
        raise BadCertificateError(f"a DER element at byte {at} is longer than what holds it")
    return data[at : at + length], at + length


def _time(data: bytes, at: int) -> tuple[float, int]:
    """Read a UTCTime or GeneralizedTime; years of two digits below 50 are in this century (RFC 5280, 4.1.2.5.1)."""
    tag = data[at] if at < len(data) else 0
    if tag not in {_UTC_TIME, _GENERALIZED_TIME}:
        raise BadCertificateError("the validity holds no time")
    raw, behind = _expect(data, at, tag)
    text = raw.decode("ascii", "replace")
    if tag == _UTC_TIME:
        text = ("20" if text[:2] < "50" else "19") + text
    try:
        # Not by strptime: what it loads for this one form stays for the sidecar's life.
        if len(text) != len("YYYYMMDDHHMMSSZ") or text[-1] != "Z" or not text[:-1].isdigit():
            raise ValueError
        month, day, hour, minute, second = (int(text[at : at + 2]) for at in range(4, 14, 2))
        return datetime(int(text[:4]), month, day, hour, minute, second, tzinfo=UTC).timestamp(), behind
    except ValueError:
        raise BadCertificateError(f"{text!r} is no time of a certificate") from None
