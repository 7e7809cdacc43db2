"""The kept fuzzing corpora hold, replayed without atheris, and so does what Hypothesis makes of random bytes."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

CORPORA = Path(__file__).resolve().parents[3] / "fuzz" / "corpora"
TARGETS = ["http1", "http2", "hpack", "client_hello", "detect", "grpc", "carrier"]


@pytest.mark.parametrize("target", TARGETS)
def test_kept_corpus_holds(target: str) -> None:
    """Every input that was ever worth keeping."""
    one = importlib.import_module(f"fuzz.fuzz_{target}").one
    inputs = sorted((CORPORA / target).iterdir())
    assert inputs
    for path in inputs:
        try:
            one(path.read_bytes())
        except Exception as error:
            raise AssertionError(f"{path} does not hold: {error!r}") from error


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=80))
def test_random_bytes_hold(target: str, data: bytes) -> None:
    """A short look beyond the corpus."""
    importlib.import_module(f"fuzz.fuzz_{target}").one(data)


def test_every_target_has_a_corpus_and_no_corpus_is_without_target() -> None:
    """What is not replayed here is not kept."""
    assert sorted(path.name for path in CORPORA.iterdir()) == sorted(TARGETS)
    assert sorted(path.stem for path in CORPORA.parent.glob("fuzz_*.py")) == sorted(f"fuzz_{t}" for t in TARGETS)
