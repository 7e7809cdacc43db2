"""What is not about one kind: health, version, discovery and OpenAPI documents.

In: a path. Out: documents. Refuses paths that lead nowhere with 404.
"""

from __future__ import annotations

import platform
from typing import Any

from aiohttp import web

from devcluster.api import discovery
from devcluster.api.bodies import Form, accepted
from devcluster.api.discovery import missing
from devcluster.api.errors import Object
from devcluster.api.registry import Registry
from devcluster.api.requests import respond
from devcluster.schema.openapi import V2_PROTOBUF, OpenApi

VERSION = "v1.36.0"
_HEALTH = frozenset({"/healthz", "/livez", "/readyz"})


class Information:
    """Answers paths that name no resource."""

    def __init__(self, registry: Registry, openapi: OpenApi, address: str) -> None:
        self._registry = registry
        self._openapi = openapi
        self._address = address

    def answer(self, http: web.Request) -> web.Response:
        """Answer; raises StatusError(404 or 406)."""
        path = http.path.rstrip("/") or "/"
        head = "/" + path.split("/")[1]
        if head in _HEALTH:
            return web.Response(text="ok")
        if head == "/openapi":
            return self._document(http, path)
        forms = accepted(http.headers.get("accept", ""))
        if any(form.as_ == discovery.AGGREGATED for form in forms) and path in {"/api", "/apis"}:
            body = discovery.aggregated(self._registry.resources, path == "/api")
            response = respond(body, Form())
            response.headers["Content-Type"] = f"application/json;g=apidiscovery.k8s.io;v=v2;as={discovery.AGGREGATED}"
            return response
        return respond(self._discover(path), Form())

    def _discover(self, path: str) -> Object:
        resources = self._registry.resources
        match path.strip("/").split("/"):
            case ["version"]:
                return version()
            case ["api"]:
                return discovery.core_versions(self._address)
            case ["api", found]:
                return discovery.resource_list(resources, "", found)
            case ["apis"]:
                return discovery.group_list(resources)
            case ["apis", group]:
                return discovery.group(resources, group)
            case ["apis", group, found]:
                return discovery.resource_list(resources, group, found)
            case [""]:
                return {
                    "paths": [
                        "/api",
                        "/apis",
                        "/healthz",
                        "/livez",
                        "/openapi/v2",
                        "/openapi/v3",
                        "/readyz",
                        "/version",
                    ]
                }
            case _:
                raise missing()

    def _document(self, http: web.Request, path: str) -> web.Response:
        document: Any = None
        if path == "/openapi/v2":
            if "protobuf" in http.headers.get("accept", ""):
                kind = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
                return web.Response(body=V2_PROTOBUF, content_type=kind)
            document = self._openapi.v2()
        elif path == "/openapi/v3":
            document = self._openapi.index()
        elif path.startswith("/openapi/v3/"):
            document = self._openapi.group(path.removeprefix("/openapi/v3/"))
        if document is None:
            raise missing()
        if isinstance(document, bytes | str):
            return web.Response(body=document, content_type="application/json")
        return respond(document, Form())


def version() -> Object:
    """Answer /version."""
    major, minor, _ = VERSION.lstrip("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": f"{VERSION}+devcluster",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": platform.python_implementation(),
        "platform": f"linux/{'amd64' if platform.machine() == 'x86_64' else 'arm64'}",
    }
