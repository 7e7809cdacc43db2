"""Bodies: what came in as bytes becomes an object, what goes out becomes bytes in the form the caller accepts.

In: bytes with a content type, or an object with an Accept header. Out: an object, or a form and bytes. Refuses what it does not read with
415, what is malformed with 400, and what nobody asked for with 406; each in a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import yaml

from devcluster.api import protobuf
from devcluster.api.calls import PatchKind
from devcluster.api.errors import StatusError, bad_request

JSON = "application/json"
LIMIT = 3 * 1024 * 1024
"""The largest body that is read, as the real server has it."""
_READ = "application/json, application/yaml, application/vnd.kubernetes.protobuf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How an answer is wanted."""

    media: str = JSON
    as_: str = ""
    """Table, PartialObjectMetadata, PartialObjectMetadataList, APIGroupDiscoveryList or nothing special."""


def media_type(header: str) -> str:
    """Give the media type of a Content-Type header, without its parameters."""
    return header.partition(";")[0].strip().lower()


def read(data: bytes, content_type: str) -> Any:
    """Decode a body; raises StatusError(400 or 415)."""
    media = media_type(content_type)
    if media == "application/vnd.kubernetes.protobuf" or data.startswith(protobuf.MAGIC):
        return protobuf.decode(data)
    try:
        if media in {"application/yaml", "application/apply-patch+yaml"}:
            return msgspec.json.decode(data) if data.lstrip()[:1] == b"{" else _yaml(data)
        if media in {"", JSON, "*/*", "text/plain", "application/octet-stream"} or media.endswith("+json"):
            return msgspec.json.decode(data)
    except (msgspec.DecodeError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        said = str(error).replace("\n", " ")
        raise bad_request(f"couldn't read the body as {media or JSON}: {said}") from error
    raise protobuf.unsupported(
        f"the body of the request was in an unknown format - accepted media types include: {_READ}"
    )


def _yaml(data: bytes) -> Any:
    return yaml.load(data.decode(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def patch_kind(content_type: str) -> PatchKind:
    """Tell which patch a body is; raises StatusError(415)."""
    media = media_type(content_type)
    try:
        return PatchKind(media)
    except ValueError:
        known = ", ".join(kind.value for kind in PatchKind)
        said = f"the body of the request was in an unknown format - accepted media types include: {known}"
        raise protobuf.unsupported(said) from None


def accepted(header: str) -> list[Form]:
    """Read an Accept header into the forms this server can give, best first; raises StatusError(406)."""
    forms: list[Form] = []
    for part in (header or "*/*").split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        options = dict(option.partition("=")[::2] for option in parameters)
        if media in {JSON, "*/*", "application/*"}:
            forms.append(Form(as_=options.get("as", "")))
        elif media == "application/yaml":
            forms.append(Form(media=media, as_=options.get("as", "")))
    if not forms:
        said = f"only the following media types are accepted: {JSON}, application/yaml"
        raise StatusError(406, "NotAcceptable", said)
    return forms


def write(obj: Any, form: Form) -> bytes:
    """Encode an answer."""
    if form.media == "application/yaml":
        return yaml.safe_dump(obj, sort_keys=False).encode()
    return msgspec.json.encode(obj) + b"\n"
