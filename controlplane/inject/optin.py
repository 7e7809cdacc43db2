"""Who is in the mesh: the word `tulle.dev/inject` wherever it may stand, and the namespaces that are never asked.

In: metadata of pods, workloads, templates and namespaces. Out: the word said, or whether a pod is to get a sidecar: the word nearest the pod wins.
Refuses, with BadAnnotationError, a word that is neither `enabled` nor `disabled`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from controlplane.inject.refusal import BadAnnotationError
from meshapi import names

Metadata = Mapping[str, Any]


def untouched(system: str, more: Iterable[str] = ()) -> frozenset[str]:
    """Namespaces in which nothing is injected or rolled: the cluster's own parts, the control plane's (`system`), and those the operator named."""
    return frozenset({"kube-system", system, *more})


def read_word(words: Mapping[str, str], what: str = "annotation") -> bool | None:
    """Read `tulle.dev/inject`: True, False, or None where nothing is said; raises BadAnnotationError."""
    word = words.get(names.INJECT)
    if word is None:
        return None
    if word not in (names.ENABLED, names.DISABLED):
        name = names.INJECT if what == "annotation" else f"{names.INJECT} ({what})"
        raise BadAnnotationError(name, word, f"{names.ENABLED} or {names.DISABLED}")
    return word == names.ENABLED


def own_word(metadata: Metadata) -> str | None:
    """Find the word a pod or template says itself, its annotation before its label, whatever it is; None where it says nothing."""
    said = (metadata.get("annotations") or {}).get(names.INJECT)
    return said if said is not None else (metadata.get("labels") or {}).get(names.INJECT)


def namespace_words(metadata: Metadata, *, annotated: bool = True) -> dict[str, str]:
    """Lay a namespace's labels over its annotations, which the API server cannot select by and are read where they count (`annotated`)."""
    return {**((metadata.get("annotations") or {}) if annotated else {}), **(metadata.get("labels") or {})}


def opted_in(metadata: Metadata, namespace: Mapping[str, str]) -> bool:
    """Tell whether a pod is to get a sidecar: its own word first, then its namespace's; raises BadAnnotationError."""
    for words, what in (
        (metadata.get("annotations") or {}, "annotation"),
        (metadata.get("labels") or {}, "label"),
        (namespace, "label of the namespace"),
    ):
        word = read_word(words, what)
        if word is not None:
            return word
    return False
