"""The Secret of the issuer in use is written only as what it was when that was decided, and always again when nobody can use it."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from controlplane.ca import issuer as issuers
from controlplane.ca.changing import RootChange
from controlplane.ca.rootchange import Record, Stage
from controlplane.ca.trust import Step, Trust
from controlplane.feed.objects import ObjectStore
from controlplane.kube.client import ApiError, Cluster
from controlplane.replicas import Statement
from meshapi import names
from tests.controlplane.test_app_run import LOCAL
from tests.support.kubeserver import KubeServer, kube_server

NOW = dt.datetime.now(dt.UTC)
ONE, OTHER = (issuers.new_root("cluster.local", now=NOW) for _ in range(2))
LIFE = 3600.0


def secret(name: str, data: dict[str, str], record: Record | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": LOCAL.namespace}
    if record is not None:
        metadata["annotations"] = {names.ROOT_CHANGE: record.dumps()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


class Replica:
    """Trust and its part in a change, which sees what a test shows it."""

    def __init__(self, kube: KubeServer) -> None:
        self.kube, self.cluster = kube, Cluster(kube.connection)
        self.trust = Trust(replace(LOCAL, ca_create=False), lambda: NOW)
        self.steps: list[Step | None] = []
        self.change = RootChange(self.trust, ObjectStore(), self.said, self.steps.append)
        self.change._begun = True

    def said(self) -> dict[str, Statement | None]:
        used = self.trust.used
        signs, trusts = used.signer if used else "", sorted(self.trust.trusts)
        return {"me": Statement(pod="me", trusts=trusts, signs=signs, life=LIFE)}

    def sees(self, *objects: dict[str, Any]) -> None:
        for obj in objects:
            self.trust.apply("Secret", self.kube.put(obj))

    def decides(self) -> Step:
        self.change.look()
        step = self.steps[-1]
        assert step is not None
        return step

    async def keep(self, step: Step) -> None:
        await self.trust.keep(self.cluster, step)

    @property
    def kept(self) -> tuple[dict[str, str], Record]:
        found = self.kube.get("secrets", LOCAL.namespace, "tulle-signing") or {}
        return found["data"], Record.loads(found["metadata"]["annotations"][names.ROOT_CHANGE])


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    async with kube_server() as kube:
        made = Replica(kube)
        yield made
        await made.cluster.close()


@pytest.mark.parametrize("data", [{}, {"tls.crt": "b2Rk"}, {**ONE, "tls.key": OTHER["tls.key"]}])
async def test_issuer_in_use_that_nobody_can_use_is_replaced_by_the_one_that_was_brought(
    replica: Replica, data: dict[str, str]
) -> None:
    """Its root may have run out while nobody looked. Certificates under it may be out all the same, so the life they were given is kept."""
    replica.sees(
        secret("tulle-signing", data, Record(stage=Stage.TRUST, since=1.0, life=2 * LIFE)),
        secret("tulle-ca", OTHER),
    )
    await replica.keep(replica.decides())

    assert replica.kept == (OTHER, Record(life=2 * LIFE))


async def test_issuer_in_use_that_was_spoiled_is_written_again(replica: Replica) -> None:
    """What it held last goes on signing, and the next step of a change brings it back."""
    replica.sees(secret("tulle-signing", ONE, Record(life=LIFE)), secret("tulle-ca", OTHER))
    replica.sees(secret("tulle-signing", {}, Record(life=LIFE)))
    await replica.keep(replica.decides())

    assert (replica.kept[0], replica.kept[1].stage) == (ONE, Stage.ANNOUNCE)


async def test_step_that_was_decided_before_others_went_on_is_not_taken(replica: Replica) -> None:
    """A replica that comes to lead does what it wanted last, and may have seen what the former leader did in between: the change would go back two stages."""
    replica.sees(secret("tulle-signing", ONE, Record(stage=Stage.STEADY, since=1.0)), secret("tulle-ca", OTHER))
    step = replica.decides()
    gone_on = (OTHER, Record(stage=Stage.SIGN, since=2.0))
    replica.sees(secret("tulle-signing", *gone_on))
    with pytest.raises(ApiError, match="not as it was when this was decided"):
        await replica.keep(step)
    assert replica.kept == gone_on
    await replica.keep(replica.decides())

    assert replica.kept[1].stage is Stage.OUTLIVE


async def test_secret_that_was_removed_is_not_put_back_by_a_step_decided_before(replica: Replica) -> None:
    """Removing it is how an issuer is revoked in a hurry. It is written anew with what was brought, also where it was of no use."""
    replica.sees(secret("tulle-signing", {}, Record(stage=Stage.TRUST, since=1.0)), secret("tulle-ca", OTHER))
    step = replica.decides()
    replica.kube.delete("secrets", LOCAL.namespace, "tulle-signing")
    with pytest.raises(ApiError, match="not found"):
        await replica.keep(step)
    replica.trust.absent("Secret", "tulle-signing")
    await replica.keep(replica.decides())

    assert replica.kept == (OTHER, Record(life=LIFE))


async def test_roots_of_others_may_lie_under_the_name_of_the_issuer() -> None:
    """What is said of the ConfigMap is not said of the Secret: a Bundle of trust-manager and the issuer of cert-manager may share a name."""
    trust = Trust(replace(LOCAL, ca_create=False, ca_roots_config_map=LOCAL.ca_secret), lambda: NOW)
    trust.apply("Secret", secret("tulle-signing", ONE, Record(life=LIFE)))
    trust.apply("Secret", secret(LOCAL.ca_secret, ONE))
    lent = secret(LOCAL.ca_secret, {"ca.pem": "nothing"})

    trust.apply("ConfigMap", lent)
    assert (trust.refused, bool(trust.roots_refused)) == ("", True)
    trust.apply("ConfigMap", {**lent, "data": {"ca.pem": base64.b64decode(OTHER["ca.crt"]).decode()}})
    trust.remove("ConfigMap", LOCAL.namespace, LOCAL.ca_secret)
    assert (trust.brought is not None, trust.refused, bool(trust.roots_refused)) == (True, "", True)
    trust.absent("Secret", LOCAL.ca_secret)
    assert (trust.brought, bool(trust.refused)) == (None, True)
