"""kopf, as an operator would use it: it finds a custom kind, handles it, patches its status, and lets it go by its finalizer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.cluster import Kube

GROUP = "fruit.example.com"
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"apples.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "apples", "singular": "apple", "kind": "Apple", "shortNames": ["ap"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    {"name": "Colour", "type": "string", "jsonPath": ".spec.colour"},
                    {"name": "Ripe", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ripe")].status'},
                ],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "colour": {"type": "string", "enum": ["red", "green"], "default": "green"},
                                    "weight": {"type": "integer", "minimum": 1},
                                },
                                "x-kubernetes-validations": [
                                    {
                                        "rule": "!has(self.weight) || self.weight < 1000",
                                        "message": "no apple is that heavy",
                                    }
                                ],
                            },
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}
OPERATOR = """
import kopf

@kopf.on.startup()
def configure(settings, **_):
    settings.posting.enabled = False

@kopf.on.create("apples")
@kopf.on.update("apples")
def ripen(spec, patch, **_):
    patch.status["conditions"] = [{"type": "Ripe", "status": "True", "reason": spec["colour"]}]

@kopf.on.delete("apples")
def eaten(name, **_):
    print("eaten", name, flush=True)
"""


@pytest.fixture(scope="module", autouse=True)
def apples(kube: Kube) -> None:
    """A custom kind."""
    kube.apply(DEFINITION)
    kube("wait", "--for=condition=Established", f"crd/apples.{GROUP}", "--timeout=10s")


def apple(name: str, **spec: object) -> dict[str, object]:
    return {"apiVersion": f"{GROUP}/v1", "kind": "Apple", "metadata": {"name": name}, "spec": spec}


def test_kopf_handles_a_custom_kind_from_creation_to_deletion(kube: Kube, tmp_path: Path) -> None:
    """The operator sees the object, writes its status, and its finalizer holds the object until the handler has run."""
    program = tmp_path / "operator.py"
    program.write_text(OPERATOR)
    kopf = [sys.executable, "-m", "kopf", "run", "--standalone", "-n", kube.namespace, str(program)]
    environment = {"KUBECONFIG": str(kube.kubeconfig), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(
        kopf, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as operator:
        try:
            kube.apply(apple("one"))
            kube("wait", "--for=condition=Ripe", "apple/one", "--timeout=20s")
            listed = kube("get", "ap")
            kube("patch", "apple", "one", "--type=merge", "-p", '{"spec": {"colour": "red"}}')
            kube("wait", "--for=jsonpath={.status.conditions[0].reason}=red", "apple/one", "--timeout=20s")
            held = kube.get("apple", "one")["metadata"]["finalizers"]
            kube("delete", "apple", "one", "--timeout=20s")
        finally:
            operator.terminate()
        said, _ = operator.communicate(timeout=20)

    assert listed.split() == ["NAME", "COLOUR", "RIPE", "one", "green", "True"]
    assert held
    assert "eaten one" in said


def test_custom_kind_is_defaulted_pruned_and_validated(kube: Kube) -> None:
    """Defaults are filled in, unknown fields are refused or dropped, rules are said in their own words."""
    kube.apply(apple("two", weight=5))
    assert kube.get("apple", "two")["spec"] == {"colour": "green", "weight": 5}
    assert "unknown field" in kube.fails("create", "-f", "-", stdin=json.dumps(apple("odd", taste="sour")))
    assert "no apple is that heavy" in kube.fails("create", "-f", "-", stdin=json.dumps(apple("big", weight=2000)))
    assert "Unsupported value" in kube.fails("create", "-f", "-", stdin=json.dumps(apple("blue", colour="blue")))
    loose = yaml.safe_dump(apple("loose", taste="sour"))
    said = subprocess.run(
        kube.command("create", "--validate=warn", "-f", "-"), input=loose, capture_output=True, text=True, check=True
    )

    assert 'unknown field "spec.taste"' in said.stderr
    assert kube.get("apple", "loose")["spec"] == {"colour": "green"}


def test_custom_kind_counts_generations_of_its_spec_alone(kube: Kube) -> None:
    """Labels and status leave the generation alone, the spec raises it."""
    kube.apply(apple("three"))
    kube("label", "apple", "three", "a=b")
    kube("patch", "apple", "three", "--subresource=status", "--type=merge", "-p", '{"status": {"seen": true}}')
    assert kube.get("apple", "three")["metadata"]["generation"] == 1
    kube("patch", "apple", "three", "--type=merge", "-p", '{"spec": {"colour": "red"}, "status": {"seen": false}}')
    found = kube.get("apple", "three")

    assert found["metadata"]["generation"] == 2
    assert found["status"] == {"seen": True}


def test_deleting_a_definition_takes_its_objects_with_it(kube: Kube) -> None:
    """When the kind goes, so do its objects, and it is no longer served."""
    other = json.loads(json.dumps(DEFINITION).replace("apple", "pear").replace("Apple", "Pear"))
    other["spec"]["names"]["shortNames"] = ["pe"]
    kube.apply(other)
    kube("wait", "--for=condition=Established", f"crd/pears.{GROUP}", "--timeout=10s")
    kube.apply({"apiVersion": f"{GROUP}/v1", "kind": "Pear", "metadata": {"name": "p"}, "spec": {}})
    kube("delete", "crd", f"pears.{GROUP}", "--timeout=10s")

    assert "the server could not find the requested resource" in kube.fails(
        "get", "--raw", f"/apis/{GROUP}/v1/namespaces/{kube.namespace}/pears"
    )
