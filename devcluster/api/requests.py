"""One HTTP request on a resource, with everything the verbs ask of it.

In: aiohttp's request, its target, the row it names and who asks. Out: `ApiRequest`, whose methods read parameters and bodies and make answers.
Refuses parameters that make no sense with 400.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from devcluster.api import bodies
from devcluster.api.bodies import Form
from devcluster.api.calls import Call
from devcluster.api.errors import Object, StatusError, bad_request
from devcluster.api.kinds import Resource
from devcluster.api.rendering import Renderer
from devcluster.api.targets import Target
from devcluster.api.users import User


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """A request whose caller may make it."""

    http: web.Request
    target: Target
    row: Resource
    user: User

    def parameter(self, name: str) -> str:
        """Give a query parameter, empty when it is not there."""
        return self.http.query.get(name, "")

    def flag(self, name: str) -> bool:
        """Give a query parameter that is true or false."""
        return self.parameter(name).lower() in {"true", "1", "t"}

    def number(self, name: str) -> int | None:
        """Give a query parameter that is a number; raises StatusError(400)."""
        text = self.parameter(name)
        if not text:
            return None
        if not text.lstrip("-").isdigit():
            raise bad_request(f"the parameter {name} must be a number, not {text!r}")
        return int(text)

    async def body(self) -> Any:
        """Read the body as an object; raises StatusError(400, 413 or 415)."""
        return bodies.read(await self.data(), self.http.headers.get("content-type", ""))

    async def data(self) -> bytes:
        """Read the body; raises StatusError(413)."""
        try:
            return await self.http.read()
        except web.HTTPRequestEntityTooLarge:
            said = f"Request entity too large: limit is {bodies.LIMIT}"
            raise StatusError(413, "RequestEntityTooLarge", said) from None

    def call(self, default_validation: str = "Warn") -> Call:
        """Say how this request writes; raises StatusError(400)."""
        validation = self.parameter("fieldValidation") or default_validation
        if validation not in {"Strict", "Warn", "Ignore"}:
            raise bad_request(f"the parameter fieldValidation must be Strict, Warn or Ignore, not {validation!r}")
        agent = self.http.headers.get("user-agent", "unknown").partition("/")[0]
        return Call(
            user=self.user,
            dry_run=self.dry_run(),
            manager=(self.parameter("fieldManager") or agent)[:128],
            validation=validation,
            version=self.target.version,
        )

    def dry_run(self, options: Object | None = None) -> bool:
        """Tell whether nothing is to be kept; raises StatusError(400)."""
        given = [*self.http.query.getall("dryRun", []), *((options or {}).get("dryRun") or [])]
        if any(value != "All" for value in given):
            raise bad_request(f"the parameter dryRun must be All, not {given}")
        return bool(given)

    def renderer(self) -> Renderer:
        """Say how answers are wanted; raises StatusError(406)."""
        forms = bodies.accepted(self.http.headers.get("accept", ""))
        renderer = Renderer(
            row=self.row,
            version=self.target.version,
            form=forms[0],
            include=self.parameter("includeObject") or "Metadata",
        )
        renderer.check()
        return renderer

    def answer(self, obj: Object, status: int = 200, warnings: Sequence[str] = ()) -> web.Response:
        """Answer with an object."""
        renderer = self.renderer()
        return respond(renderer.one(obj), renderer.form, status, warnings)


def respond(obj: Any, form: Form, status: int = 200, warnings: Sequence[str] = ()) -> web.Response:
    """Make an answer; warnings travel as headers, as RFC 7234 section 5.5 has them."""
    response = web.Response(body=bodies.write(obj, form), status=status, content_type=form.media)
    for warning in dict.fromkeys(warnings):
        text = " ".join(warning.split()).replace("\\", "\\\\").replace(chr(34), "\\" + chr(34))
        response.headers.add("Warning", f'299 - "{text}"')
    return response
