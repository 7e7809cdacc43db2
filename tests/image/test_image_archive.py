"""Which archive counts for a tree, without building one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tools import image


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep archives elsewhere."""
    monkeypatch.setattr(image, "PLACE", tmp_path)
    monkeypatch.setattr(image, "ARCHIVE", tmp_path / "tulle.tar")


def written(*, sources: str = "", base: str = "") -> image.Built:
    """Leave an archive behind as a build does."""
    told = image.Built(
        sources=sources or image.sources(), base=base, digest="sha256:0", content_bytes=1, archive_bytes=1
    )
    image.ARCHIVE.write_bytes(b"0")
    image.ARCHIVE.with_suffix(".json").write_text(json.dumps(asdict(told)))
    return told


def test_the_archive_of_this_tree_counts() -> None:
    """It is not built again."""
    told = written()

    assert image.present() == image.ARCHIVE
    assert image.ensure() == told


def test_one_of_another_tree_or_on_another_base_does_not() -> None:
    """Nor one that nothing is told of."""
    written(sources="other")
    assert image.present() is None
    told = written(base="registry.example/debian:13")
    assert image.present() is None
    assert image.ensure(base="registry.example/debian:13") == told
    image.ARCHIVE.with_suffix(".json").unlink()
    assert image.present() is None
