"""SPIFFE ids of workloads: parse, format, and the rules a mesh identity must meet.

Follows the SPIFFE-ID standard (section 2) for the URI form and Kubernetes naming rules for its two path segments:
`spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>`. Anything else is refused with a sentence.
"""

from __future__ import annotations

import re

from meshapi.records import record

_TRUST_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?\Z")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_ACCOUNT = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?\Z")


class BadIdentityError(ValueError):
    """A string that is no workload identity of this mesh; the message says why."""


@record
class Identity:
    """Who a workload is: its service account, in its namespace, in a trust domain."""

    trust_domain: str
    namespace: str
    account: str

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/sa/{self.account}"

    def __lt__(self, other: Identity) -> bool:
        return (self.trust_domain, self.namespace, self.account) < (other.trust_domain, other.namespace, other.account)

    def __post_init__(self) -> None:
        """Refuse parts that could not have come from Kubernetes; raises BadIdentityError."""
        if not _TRUST_DOMAIN.match(self.trust_domain):
            raise BadIdentityError(f"trust domain {self.trust_domain!r} is not a lower-case domain name")
        if not _LABEL.match(self.namespace):
            raise BadIdentityError(f"namespace {self.namespace!r} is not a Kubernetes namespace name")
        if not _ACCOUNT.match(self.account):
            raise BadIdentityError(f"service account {self.account!r} is not a Kubernetes name")


def parse(uri: str) -> Identity:
    """Read a SPIFFE URI; raises BadIdentityError when it is not of the mesh's form."""
    scheme, _, rest = uri.partition("://")
    parts = rest.split("/")
    if scheme != "spiffe" or len(parts) != 5 or parts[1] != "ns" or parts[3] != "sa":
        raise BadIdentityError(
            f"{uri!r} is not of the form spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>"
        )
    return Identity(trust_domain=parts[0], namespace=parts[2], account=parts[4])
