"""A sidecar's configuration from a file: the `static_resources` of an Envoy bootstrap, so the same file can be given to Envoy.

In: YAML or JSON (JSON is YAML). Out: a `SidecarConfig`. Certificates may be named by file; they are read here, once. Refuses with BadFileError:
what is no YAML, what Envoy's own schema refuses, and what the sidecar cannot carry out, each with the resource it stands in.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from dataplane.config import Cluster, Endpoints, Listener, Secret, SidecarConfig
from dataplane.xds import messages
from dataplane.xds.decode import decode_message
from dataplane.xds.reading import RefusedError
from meshapi import protos
from meshapi.xds import Type

_STATIC = "envoy.config.bootstrap.v3.Bootstrap.StaticResources"
_DATA_SOURCES = frozenset({"certificate_chain", "private_key", "trusted_ca", "body"})


class BadFileError(ValueError):
    """A configuration file nobody can work with; the message says what is wrong."""


def load(path: Path) -> SidecarConfig:
    """Read a configuration file; raises BadFileError or OSError."""
    return parse(path.read_text(), path.parent)


def parse(text: str, directory: Path) -> SidecarConfig:
    """Read configuration text; relative file names in it start from `directory`."""
    document = _document(text)
    if not isinstance(document, dict) or not isinstance(document.get("static_resources"), dict):
        raise BadFileError("the file has no static_resources")
    told = _inlined(document["static_resources"], directory)
    try:
        return _config(_parsed(told))
    except json_format.ParseError as error:
        raise BadFileError(f"static_resources: {error}") from None
    except RefusedError as error:
        raise BadFileError(str(error)) from None


def _parsed(told: dict[str, Any]) -> Any:
    """Make messages of JSON; raises json_format.ParseError."""
    try:
        return messages.from_dict(_STATIC, told)
    except json_format.ParseError:
        # What a sidecar has no message for is refused by its decoders, as it is where it comes from a control plane.
        return messages.message(_STATIC).FromString(protos.from_dict(_STATIC, told).SerializeToString())


def _document(text: str) -> Any:
    """Read JSON, or YAML where it is none: a library of half a megabyte is loaded only where it is needed."""
    try:
        return json.loads(text)
    except ValueError:
        import yaml  # noqa: PLC0415 - see above
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadFileError(f"the file is neither YAML nor JSON: {error}") from None


def _inlined(value: Any, directory: Path, key: str = "") -> Any:
    """Replace data named by file by the data."""
    if isinstance(value, list):
        return [_inlined(one, directory, key) for one in value]
    if not isinstance(value, dict):
        return value
    if key in _DATA_SOURCES and isinstance(value.get("filename"), str):
        try:
            raw = (directory / value["filename"]).read_bytes()
        except OSError as error:
            raise BadFileError(f"{key}: {value['filename']} cannot be read: {error.strerror}") from None
        return {"inline_bytes": base64.b64encode(raw).decode()}
    return {name: _inlined(one, directory, str(name)) for name, one in value.items()}


def _config(resources: Any) -> SidecarConfig:
    listeners: dict[str, Listener] = {}
    clusters: dict[str, Cluster] = {}
    endpoints: dict[str, Endpoints] = {}
    secrets: dict[str, Secret] = {}
    for index, message in enumerate(resources.listeners):
        noun = decode_message(Type.LISTENER, message)
        if isinstance(noun, Listener):
            listeners[noun.name or f"listener-{index}"] = noun
    for message in resources.clusters:
        noun = decode_message(Type.CLUSTER, message)
        if isinstance(noun, Cluster):
            clusters[noun.name] = noun
            if isinstance(noun.static, Endpoints):
                endpoints[noun.name] = noun.static
    for message in resources.secrets:
        noun = decode_message(Type.SECRET, message)
        if isinstance(noun, Secret):
            secrets[noun.name] = noun
    return SidecarConfig(listeners=listeners, clusters=clusters, endpoints=endpoints, secrets=secrets)
