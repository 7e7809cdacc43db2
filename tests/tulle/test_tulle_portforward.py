"""One request to a pod's loopback through the API server: what it brings, and how it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fakeapi import fake_api
from tulle.kube import Kube, KubeError
from tulle.portforward import ask_port

POD = {"metadata": {"namespace": "tulle-system", "name": "a"}}
PATH = "/api/v1/namespaces/tulle-system/pods/a/portforward:15014/sidecars"


def test_answer_of_a_port_comes_whole(tmp_path: Path) -> None:
    """In however many messages; the query arrives as it was given."""
    body = bytes(range(256)) * 300
    with fake_api(tmp_path) as api:
        api.answers[PATH] = (200, body)
        found = ask_port(Kube.load(str(api.kubeconfig)), POD, 15014, "/sidecars", {"path": "/a b" + "x" * 200})

    assert found == body
    assert api.asked == [("GET", PATH, {"path": ["/a b" + "x" * 200]})]


def test_refusal_is_the_port_s_own_sentence(tmp_path: Path) -> None:
    """With its status."""
    with fake_api(tmp_path) as api:
        api.answers[PATH] = (421, b"it is not connected to this replica\n")
        with pytest.raises(KubeError, match=r"^it is not connected to this replica$") as told:
            ask_port(Kube.load(str(api.kubeconfig)), POD, 15014, "/sidecars")

    assert told.value.code == 421


@pytest.mark.parametrize(
    ("said", "told"), [(b"\x82\x06\1\x66\x3aoh!", "oh!"), (b"\x82\x7f", "ended"), (b"", "ended"), (b"\x88\0", "")]
)
def test_end_without_an_answer_is_one_sentence(tmp_path: Path, said: bytes, told: str) -> None:
    """A port nobody listens on, an API server that goes away, amid a message too."""
    with fake_api(tmp_path) as api:
        api.forwards = said
        with pytest.raises(KubeError, match=f"port 15014 of pod a in namespace tulle-system stopped answering.*{told}"):
            ask_port(Kube.load(str(api.kubeconfig)), POD, 15014, "/sidecars")


def test_refusal_of_the_api_server_is_its_own(tmp_path: Path) -> None:
    """Who may not forward ports is told so."""
    with fake_api(tmp_path) as api:
        api.forwards = None
        with pytest.raises(KubeError, match="may not") as told:
            ask_port(Kube.load(str(api.kubeconfig)), POD, 15014, "/sidecars")

    assert told.value.code == 403
