"""What the API server refuses, and how it says so: every refusal is a Kubernetes `Status` with a code, a reason and a sentence.

In: code, reason, message. Out: `StatusError`, rendered by the HTTP face. The helpers below make the usual ones with the real server's words.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


class StatusError(Exception):
    """A refused request; `status()` is the answer's body."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> Object:
        """Render as a `Status` object."""
        body: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            body["details"] = self.details
        return body


def not_found(group: str, plural: str, name: str) -> StatusError:
    """Say that an object is not there."""
    what = f"{plural}.{group}" if group else plural
    return StatusError(404, "NotFound", f'{what} "{name}" not found', {"name": name, "group": group, "kind": plural})


def already_exists(group: str, plural: str, name: str) -> StatusError:
    """Say that the name is taken."""
    what = f"{plural}.{group}" if group else plural
    details = {"name": name, "group": group, "kind": plural}
    return StatusError(409, "AlreadyExists", f'{what} "{name}" already exists', details)


def conflict(group: str, plural: str, name: str, why: str) -> StatusError:
    """Say that the object has moved on since the caller read it."""
    what = f"{plural}.{group}" if group else plural
    details = {"name": name, "group": group, "kind": plural}
    return StatusError(409, "Conflict", f'Operation cannot be fulfilled on {what} "{name}": {why}', details)


def bad_request(message: str) -> StatusError:
    """Say that the request makes no sense."""
    return StatusError(400, "BadRequest", message)


def forbidden(group: str, plural: str, name: str, why: str) -> StatusError:
    """Say that a rule of the cluster does not allow it."""
    what = f"{plural}.{group}" if group else plural
    named = f'{what} "{name}" is forbidden' if name else f"{what} is forbidden"
    return StatusError(403, "Forbidden", f"{named}: {why}", {"name": name, "group": group, "kind": plural})


def invalid(group: str, kind: str, name: str, causes: list[Object]) -> StatusError:
    """Say which fields of an object are wrong; a cause has `reason`, `message` (e.g. `Required value`) and `field`."""
    what = f"{kind}.{group}" if group else kind
    said = [f"{cause['field']}: {cause['message']}" for cause in causes]
    text = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    details = {"name": name, "group": group, "kind": kind, "causes": causes}
    return StatusError(422, "Invalid", f'{what} "{name}" is invalid: {text}', details)


def expired(message: str = "The resourceVersion for the provided list or watch is too old.") -> StatusError:
    """Say that the asked version is compacted away; clients list anew."""
    return StatusError(410, "Expired", message)
