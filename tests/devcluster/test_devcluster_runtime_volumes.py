"""What a container finds in its environment and its volumes."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from devcluster.api.registry import Registry
from devcluster.runtime.environment import ConfigError, environment, expand, quantity, resource
from devcluster.runtime.images import Image
from devcluster.runtime.volumes import Volumes, Written, write_atomically
from tests.support.node import FakeTokens, Node, in_node
from tests.support.objects import container, pod


@pytest.fixture
async def registry() -> Registry:
    """A registry with a namespace, a ConfigMap, a Secret and a Service."""
    registry = Registry()
    await registry.create("namespaces", {"metadata": {"name": "default"}})
    await registry.create(
        "configmaps", {"metadata": {"name": "conf", "namespace": "default"}, "data": {"a": "1", "b": "2"}}
    )
    secret = {"metadata": {"name": "key", "namespace": "default"}, "data": {"k": base64.b64encode(b"v").decode()}}
    await registry.create("secrets", secret)
    service = {
        "metadata": {"name": "my-db", "namespace": "default"},
        "spec": {"ports": [{"port": 5432, "name": "sql"}]},
    }
    await registry.create("services", service)
    return registry


def a_pod(**more: object) -> dict:
    made = pod("p", labels={"app": "p", "x/y": "z"})
    made["metadata"] |= {"namespace": "default", "uid": "u-1"}
    made["spec"] |= more
    return made | {"status": {"podIP": "10.244.0.9", "podIPs": [{"ip": "10.244.0.9"}]}}


def test_references_are_expanded_and_unknown_ones_stay() -> None:
    """`$$` is a dollar."""
    assert expand("$(A)-$(B)-$$(A)-$", {"A": "1"}) == "1-$(B)-$(A)-$"


async def test_environment_is_made_of_all_its_sources(registry: Registry) -> None:
    """Image, services, envFrom, values, fields, keys, resources."""
    given = container(
        envFrom=[{"configMapRef": {"name": "conf"}, "prefix": "C_"}, {"secretRef": {"name": "none", "optional": True}}],
        env=[
            {"name": "V", "value": "x$(C_a)"},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['x/y']"}}},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}},
            {"name": "NOT", "valueFrom": {"secretKeyRef": {"name": "key", "key": "no", "optional": True}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        ],
        resources={"limits": {"cpu": "1500m"}},
    )
    found = environment(a_pod(), given, Image(path=("/img/bin",), env={"I": "1"}), registry)
    ours = {k: found[k] for k in ("I", "C_a", "C_b", "V", "IP", "LABEL", "KEY", "CPU", "HOSTNAME")}

    assert ours == {
        "I": "1", "C_a": "1", "C_b": "2", "V": "x1", "IP": "10.244.0.9", "LABEL": "z", "KEY": "v", "CPU": "2", "HOSTNAME": "p",
    }  # fmt: skip
    assert "NOT" not in found
    assert found["PATH"].startswith("/img/bin:")
    assert found["MY_DB_SERVICE_PORT_SQL"] == "5432"


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ({"configMapKeyRef": {"name": "none", "key": "a"}}, 'configmaps "none" not found'),
        ({"configMapKeyRef": {"name": "conf", "key": "no"}}, "couldn't find key no in ConfigMap default/conf"),
        ({"secretKeyRef": {"name": "key", "key": "no"}}, "couldn't find key no in Secret default/key"),
    ],
)
async def test_missing_references_are_said_in_a_sentence(registry: Registry, reference: dict, sentence: str) -> None:
    """As the kubelet says it."""
    with pytest.raises(ConfigError, match=sentence):
        environment(a_pod(), container(env=[{"name": "X", "valueFrom": reference}]), Image(), registry)


def test_quantities_and_divisors() -> None:
    """Rounded up to whole divisors."""
    assert quantity("1500m") == quantity("1.5")
    given = {"resources": {"requests": {"memory": "100Mi"}}}
    assert resource(given, {"resource": "requests.memory", "divisor": "1Mi"}) == "100"


def test_files_change_all_at_once(tmp_path: Path) -> None:
    """By one rename; what is the same is not written again; what is gone goes."""
    write_atomically(tmp_path, {"a": Written(b"1", 0o644), "d/b": Written(b"2", 0o600)})
    first = (tmp_path / "..data").resolve()
    write_atomically(tmp_path, {"a": Written(b"1", 0o644), "d/b": Written(b"2", 0o600)})
    assert (tmp_path / "..data").resolve() == first
    assert (tmp_path / "d" / "b").stat().st_mode & 0o777 == 0o600
    write_atomically(tmp_path, {"a": Written(b"3", 0o644)})

    assert (tmp_path / "a").read_bytes() == b"3"
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("..")) == ["a"]
    assert not first.exists()


async def test_projected_volume_brings_its_sources_together(registry: Registry, tmp_path: Path) -> None:
    """Token, ConfigMap with items, downward API."""
    sources = [
        {"serviceAccountToken": {"path": "token", "audience": "x", "expirationSeconds": 600}},
        {"configMap": {"name": "conf", "items": [{"key": "a", "path": "deep/a"}]}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]
    made = a_pod(volumes=[{"name": "all", "projected": {"sources": sources}}], serviceAccountName="web")
    volumes = Volumes(tmp_path, registry, FakeTokens())
    volumes.write(made)
    volumes.write(made)

    assert (tmp_path / "all/token").read_text() == "default/web/x/1"
    assert (tmp_path / "all/deep/a").read_text() == "1"
    assert (tmp_path / "all/labels").read_text() == 'app="p"\nx/y="z"'
    assert volumes.refresh_at() is not None


@pytest.mark.parametrize(
    ("volume", "sentence"),
    [
        ({"configMap": {"name": "none"}}, 'configmaps "none" not found'),
        ({"configMap": {"name": "conf", "items": [{"key": "no", "path": "x"}]}}, "non-existent config key: no"),
        ({"persistentVolumeClaim": {"claimName": "c"}}, "persistentVolumeClaim volumes are not supported"),
        ({"hostPath": {"path": "/not/here"}}, "hostPath /not/here is not there"),
    ],
)
async def test_volumes_that_cannot_be_are_said(registry: Registry, tmp_path: Path, volume: dict, sentence: str) -> None:
    """In a sentence that names what is missing."""
    with pytest.raises(ConfigError, match=sentence):
        Volumes(tmp_path, registry, FakeTokens()).write(a_pod(volumes=[{"name": "v"} | volume]))


def test_volumes_are_at_their_places_and_stay_fresh(tmp_path: Path) -> None:
    """ConfigMap, Secret, memory, shared directory and token, read by a user who is not root; a change arrives."""

    async def scenario(node: Node) -> None:
        conf = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"a": "1"}}
        mounts = [
            {"name": "conf", "mountPath": "/etc/app/conf"},
            {"name": "conf", "mountPath": "/etc/app/one", "subPath": "a"},
            {"name": "mem", "mountPath": "/var/run/mem"},
            {"name": "token", "mountPath": "/var/run/secrets/t"},
        ]
        made = pod(
            "vol",
            securityContext={"runAsUser": 1000, "fsGroup": 2000},
            # Only one of them serves: on one port the second would die, and whatever runs in it then is killed with it.
            containers=[
                container(volumeMounts=mounts),
                container("other", ["sleep", "1000"], volumeMounts=[mounts[2]]),
            ],
        )
        made["spec"]["volumes"] = [
            {"name": "conf", "configMap": {"name": "conf"}},
            {"name": "mem", "emptyDir": {"medium": "Memory"}},
            {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "me"}}]}},
        ]
        await node.make(made)
        await node.until(lambda: node.events("FailedMount"))
        assert node.events("FailedMount")[0] == 'MountVolume.SetUp failed: configmaps "conf" not found'
        await node.make(conf)
        await node.ready("vol")
        words = "cat /etc/app/conf/a /etc/app/one /var/run/secrets/t/t; echo x > /var/run/mem/f; touch /etc/app/conf/n"
        _, said = await node.run("vol", "sh", "-c", words, container="app")
        assert said.startswith("11default/default/me/1")
        assert "Read-only file system" in said
        assert await node.run("vol", "cat", "/var/run/mem/f", container="other") == (0, "x")
        await node.change("configmaps", "conf", lambda o: o["data"].update(a="2"))
        wait = "until grep -q 2 /etc/app/conf/a; do sleep 0.02; done; cat /etc/app/conf/a"
        assert await node.run("vol", "sh", "-c", wait, container="app") == (0, "2")
        states = node.get("pods", "vol")["status"]["containerStatuses"]
        assert [state["restartCount"] for state in states] == [0, 0]

    in_node(tmp_path, scenario)
