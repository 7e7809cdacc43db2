"""An authority that outlives what signs with it, and who is stranded where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from meshapi import names
from tests.support.fakeapi import FakeApi, fake_api
from tulle import helm
from tulle.cli import cli
from tulle.stranding import remedies, stranded

Object = dict[str, Any]
OLD, NEW = (f"-----BEGIN CERTIFICATE-----\n{word}\n-----END CERTIFICATE-----\n" for word in ("b2xk", "bmV3"))
SYSTEM = "/api/v1/namespaces/tulle-system"


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    """An API server with the control plane's namespace, and a Helm that does all it is told."""
    monkeypatch.setattr(helm, "call", lambda *_, **__: {"revision": 1, "status": "deployed", "found": True})
    monkeypatch.setattr("tulle.commands.install.await_webhooks", lambda *_: None)
    with fake_api(tmp_path) as fake:
        labels = {"app.kubernetes.io/managed-by": "tulle-cli"}
        fake.answers[SYSTEM] = {"metadata": {"name": "tulle-system", "labels": labels}}
        yield fake


def run(api: FakeApi, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--kubeconfig", str(api.kubeconfig), *arguments])


def pod(name: str, roots: str = OLD, owner: str = "ReplicaSet/web-5") -> Object:
    kind, _, owned_by = owner.partition("/")
    metadata = {
        "name": name,
        "namespace": "shop",
        "annotations": {names.STATUS: "{}"},
        "labels": {"pod-template-hash": "5"},
        "ownerReferences": [{"kind": kind, "name": owned_by, "controller": True}],
    }
    proxy = {"name": names.PROXY_CONTAINER, "env": [{"name": names.ENV_CA_ROOTS, "value": roots}]}
    return {"metadata": metadata, "spec": {"initContainers": [proxy]}}


def test_who_was_made_with_none_of_the_roots_is_stranded() -> None:
    """One root in common is enough, however it is written."""
    pods = [pod("web-1"), pod("web-2"), pod("cart-0", OLD + NEW, "StatefulSet/cart"), pod("job-1", OLD, "Job/job")]

    assert stranded(pods, NEW.replace("\n", "\r\n")) == [("shop", "Deployment/web"), ("shop", "Job/job")]
    assert stranded(pods, OLD) == []
    assert remedies([("shop", "Deployment/web"), ("shop", "Job/job")]) == [
        "kubectl -n shop rollout restart deployment/web",
        "make Job/job in namespace shop anew",
    ]


def deleted(api: FakeApi) -> set[str]:
    return {
        path.removeprefix(SYSTEM) for method, path, _ in api.asked if method == "DELETE" and path.startswith(SYSTEM)
    }


@pytest.mark.parametrize(
    ("arguments", "pods", "gone"),
    [
        ((), [pod("web-1")], set()),
        (("--ca",), [pod("web-1")], {""}),
        ((), [], {""}),
    ],
    ids=["somebody trusts it", "taken all the same", "nobody does"],
)
def test_authority_outlives_an_uninstall_while_somebody_trusts_it(
    api: FakeApi, arguments: tuple[str, ...], pods: list[Object], gone: set[str]
) -> None:
    """With it stays its namespace; without sidecars nothing is left."""
    api.answers["/api/v1/pods"] = {"items": pods}
    done = run(api, "uninstall", "--no-wait", *arguments)

    assert done.exit_code == 0, done.output
    assert deleted(api) == gone
    assert ("the authority they trust stays in namespace tulle-system" in done.output) is (bool(pods) and not arguments)


def test_install_says_before_and_after_whom_another_root_strands(api: FakeApi) -> None:
    """Before, for then it can be prevented; after, with what makes them anew."""
    api.answers["/api/v1/pods"] = {"items": [pod("web-1")]}
    trust = {"data": {"roots": NEW}}
    api.answers[f"{SYSTEM}/configmaps/tulle-trust"] = lambda _: trust if asked_before(api) else None
    done = run(api, "install")

    assert done.exit_code == 0, done.output
    before, _, after = done.output.partition("sidecars were made with other roots")
    assert "there are sidecars of shop/Deployment/web" in before
    assert "kubectl -n shop rollout restart deployment/web" in after


def asked_before(api: FakeApi) -> bool:
    return sum(path.endswith("tulle-trust") for _, path, _ in api.asked) > 1


@pytest.mark.parametrize("roots", [OLD, OLD + NEW])
def test_install_that_finds_the_authority_says_nothing(api: FakeApi, roots: str) -> None:
    """An upgrade, or an installation after an uninstall that kept it."""
    api.answers["/api/v1/pods"] = {"items": [pod("web-1")]}
    api.answers[f"{SYSTEM}/configmaps/tulle-trust"] = {"data": {"roots": roots}}

    assert "sidecars" not in run(api, "install").output
