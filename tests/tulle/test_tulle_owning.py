"""What Helm says of fields that others own, read."""

from __future__ import annotations

import pytest

from tulle.owning import conflict_in

APPLYING = "conflict occurred while applying object "


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            APPLYING
            + 'tulle-system/tulle apps/v1, Kind=Deployment: Apply failed with 1 conflict: conflict with "bob" using apps/v1: .spec.replicas',
            ".spec.replicas of Deployment tulle-system/tulle is owned by bob",
        ),
        (
            APPLYING
            + '/tulle rbac.authorization.k8s.io/v1, Kind=ClusterRole: Apply failed with 2 conflicts: conflicts with "ann":; .rules; conflicts with "bob" using v1:; .metadata.labels',
            ".rules, .metadata.labels of ClusterRole tulle is owned by ann, bob",
        ),
    ],
)
def test_owner_field_and_object_are_read(said: str, sentence: str) -> None:
    """One conflict and several are written differently."""
    assert str(conflict_in(said)) == sentence


@pytest.mark.parametrize(
    "said",
    ["", "timed out waiting for the condition", APPLYING + "tulle-system/tulle apps/v1, Kind=Deployment: forbidden"],
)
def test_other_words_are_no_conflict(said: str) -> None:
    """They are told as they are."""
    assert conflict_in(said) is None
