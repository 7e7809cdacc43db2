"""Whether a webhook configuration is one the real server takes.

In: a Mutating- or ValidatingWebhookConfiguration. Out: `Cause`s. What is refused here can not fail later in the middle of a user's request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from devcluster.schema.causes import Cause, duplicate, invalid, required
from devcluster.schema.cel import CompileError, Environment
from devcluster.schema.table import Row, apply, between, needed, one_of

CONDITION_VARIABLES = ("object", "oldObject", "request", "authorizer")
"""What match conditions may name."""

ROWS = (
    Row("webhooks[].name", needed),
    Row("webhooks[].failurePolicy", one_of("Fail", "Ignore")),
    Row("webhooks[].matchPolicy", one_of("Exact", "Equivalent")),
    Row("webhooks[].reinvocationPolicy", one_of("Never", "IfNeeded")),
    Row("webhooks[].sideEffects", needed, one_of("None", "NoneOnDryRun")),
    Row("webhooks[].admissionReviewVersions", needed),
    Row("webhooks[].timeoutSeconds", between(1, 30)),
    Row("webhooks[].clientConfig", needed),
    Row("webhooks[].clientConfig.service.name", needed),
    Row("webhooks[].clientConfig.service.namespace", needed),
    Row("webhooks[].clientConfig.service.port", between(1, 65535)),
    Row("webhooks[].rules[].operations", needed),
    Row("webhooks[].rules[].operations[]", one_of("*", "CREATE", "UPDATE", "DELETE", "CONNECT")),
    Row("webhooks[].rules[].apiGroups", needed),
    Row("webhooks[].rules[].apiVersions", needed),
    Row("webhooks[].rules[].resources", needed),
    Row("webhooks[].rules[].scope", one_of("*", "Cluster", "Namespaced")),
)


def problems(obj: Mapping[str, Any], conditions: Environment) -> Iterator[Cause]:
    """Say what is wrong with a configuration."""
    yield from apply(ROWS, obj)
    names: set[str] = set()
    for index, hook in enumerate(obj.get("webhooks") or []):
        path, name = f"webhooks[{index}]", hook.get("name") or ""
        if name and name.count(".") < 2:
            yield invalid(f"{path}.name", name, "should be a domain with at least three segments separated by dots")
        if name in names:
            yield duplicate(f"{path}.name", name)
        names.add(name)
        config = hook.get("clientConfig") or {}
        if ("url" in config) == ("service" in config):
            yield required(f"{path}.clientConfig", "exactly one of url or service is required")
        elif not config.get("url", "https://").startswith("https://"):
            yield invalid(f"{path}.clientConfig.url", config["url"], "'https' is the only allowed URL scheme")
        accepted = hook.get("admissionReviewVersions")
        if accepted and "v1" not in accepted:
            why = "must include at least one of v1, v1beta1"
            yield invalid(f"{path}.admissionReviewVersions", accepted, why)
        for place, condition in enumerate(hook.get("matchConditions") or []):
            try:
                conditions.compile(condition.get("expression", ""))
            except CompileError as error:
                where = f"{path}.matchConditions[{place}].expression"
                yield invalid(where, condition.get("expression", ""), str(error))
