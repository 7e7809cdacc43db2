"""A user who is not root is told what pods would lack, before anything is started."""

from __future__ import annotations

import os

import pytest

from devcluster.runtime import linux, users


@pytest.mark.parametrize(
    ("uid", "tool", "ranges", "words"),
    [
        (0, None, None, ""),
        (1000, "/usr/bin/newuidmap", (100000, 65536), ""),
        (1000, None, (100000, 65536), "apt-get install uidmap"),
        (1000, "/usr/bin/newuidmap", None, "usermod --add-subuids"),
    ],
)
def test_why_pods_have_one_user_only(
    monkeypatch: pytest.MonkeyPatch, uid: int, tool: str | None, ranges: tuple[int, int] | None, words: str
) -> None:
    """Root and users with ranges need no sentence; others get the command that helps."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr("shutil.which", lambda _: tool)
    monkeypatch.setattr(linux, "first_subordinate", lambda _: ranges)
    said = users.why_one_user()

    assert words in said
    assert bool(said) == bool(words)
