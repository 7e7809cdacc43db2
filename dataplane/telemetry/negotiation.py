"""What a scraper wants to have, read from its `Accept` and `Accept-Encoding` (RFC 9110, 12.5).

In: the two fields' values. Out: a form and whether it may be gzip. Refuses nothing: who names nothing we have gets text, as it always was.
"""

from __future__ import annotations

from collections.abc import Iterator


def gzip(accept_encoding: str) -> bool:
    """Whether a body may be gzip."""
    named = dict(weighed(accept_encoding))
    return named.get("gzip", named.get("x-gzip", named.get("*", 0.0))) > 0.0


def openmetrics(accept: str) -> bool:
    """Whether OpenMetrics 1.0 is wanted at least as much as text."""
    wanted = text = 0.0
    for named, weight in weighed(accept):
        kind, *parameters = named.split(";")
        version = next((value for value in parameters if value.startswith("version=")), "version=1.0.0")
        if kind == "application/openmetrics-text" and version == "version=1.0.0":
            wanted = max(wanted, weight)
        elif kind in {"text/plain", "text/*", "*/*"}:
            text = max(text, weight)
    return wanted > 0.0 and wanted >= text


def weighed(field: str) -> Iterator[tuple[str, float]]:
    """Yield each element of a field without its weight, and the weight; one that is no number is 0."""
    for element in field.split(","):
        what, *parameters = (part.strip() for part in element.split(";"))
        weight = 1.0
        kept = [what.lower()]
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
            else:
                kept.append(parameter.lower().replace('"', ""))
        yield ";".join(kept), weight
