"""OpenAPI documents: made from the client's models and from definitions, with what kubectl looks for."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

from devcluster.api.kinds import Resource, Resources
from devcluster.schema.fields import Models
from devcluster.schema.openapi import OpenApi
from devcluster.schema.validate import Validator


def documents() -> OpenApi:
    resources = Resources()
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"host": {"type": "string"}}}}}
    version = {"name": "v1", "schema": {"openAPIV3Schema": schema}}
    crd = {"metadata": {}, "spec": {"group": "example.com", "names": {"kind": "Thing"}, "versions": [version]}}
    thing = Resource(group="example.com", version="v1", plural="things", kind="Thing", versions=("v1",), definition=crd)
    resources.add(thing)
    return OpenApi(resources, Validator())


def test_index_lists_every_group_and_version() -> None:
    """Clients find documents by the index; a definition adds one."""
    paths = documents().index()["paths"]

    assert {"api/v1", "apis/apps/v1", "apis/example.com/v1"} <= paths.keys()
    assert paths["apis/apps/v1"]["serverRelativeURL"].startswith("/openapi/v3/apis/apps/v1?hash=")
    assert documents().group("apis/none/v1") is None


def test_every_reference_leads_somewhere() -> None:
    """No document refers outside itself."""
    api = documents()
    for path in api.index()["paths"]:
        document = api.group(path)
        assert document
        wanted = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
        assert wanted <= document["components"]["schemas"].keys(), path


def test_fields_have_types_descriptions_and_merge_keys() -> None:
    """What `explain` prints and strategic merge needs is there."""
    document = documents().group("apis/apps/v1")
    assert document
    schemas = document["components"]["schemas"]
    kinds = {
        kind["kind"]: name
        for name, schema in schemas.items()
        for kind in schema.get("x-kubernetes-group-version-kind", [])
    }
    pod = schemas["io.k8s.v1.PodSpec"]["properties"]

    assert schemas[kinds["Deployment"]]["description"].startswith("Deployment enables declarative updates")
    assert schemas["io.k8s.v1.DeploymentStrategy"]["properties"]["type"]["type"] == "string"
    assert "Recreate" in schemas["io.k8s.v1.DeploymentStrategy"]["properties"]["type"]["description"]
    assert pod["containers"]["x-kubernetes-patch-merge-key"] == "name"
    port = json.dumps(schemas["io.k8s.v1.HTTPGetAction"]["properties"]["port"])
    assert "IntOrString" in port
    assert "containers" in schemas["io.k8s.v1.PodSpec"]["required"]
    assert schemas["io.k8s.v1.ResourceRequirements"]["properties"]["limits"]["type"] == "object"


def test_patch_of_a_kind_offers_field_validation() -> None:
    """Kubectl asks the server for strict validation only where a patch says it can."""
    document = documents().group("apis/example.com/v1")
    assert document
    patch: dict[str, Any] = document["paths"]["/apis/example.com/v1/namespaces/{namespace}/things/{name}"]["patch"]

    assert patch["x-kubernetes-group-version-kind"] == {"group": "example.com", "version": "v1", "kind": "Thing"}
    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]
    assert "host" in json.dumps(document["components"]["schemas"]["com.example.v1.Thing"])


def test_second_version_two_document_has_definitions() -> None:
    """Older clients read v2."""
    found = documents().v2()

    assert found["swagger"] == "2.0"
    assert "io.k8s.v1.Pod" in found["definitions"]
    assert "#/components" not in json.dumps(found)


def test_models_of_every_served_kind_are_found() -> None:
    """Each built-in kind has a model, and everything it refers to can be read."""
    models = Models()
    for row in Resources():
        model = models.of_kind(row.group, row.version, row.kind)
        assert model, row.name
        for one in models.reachable(model):
            for field in one.fields.values():
                assert not field.type[0].isupper() or models.get(field.type), (one.name, field)


def test_changed_definition_makes_a_new_document() -> None:
    """A document is kept until what it shows changes."""
    api = documents()
    first = api.group("apis/example.com/v1")
    assert api.group("apis/example.com/v1") is first
    row = api._resources.by_plural("example.com", "things")
    assert row
    assert row.definition
    crd = copy.deepcopy(row.definition)
    crd["metadata"]["resourceVersion"] = "2"
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["port"] = {
        "type": "integer"
    }
    api._validator.install(crd)
    api._resources.add(
        Resource(group="example.com", version="v1", plural="things", kind="Thing", versions=("v1",), definition=crd)
    )

    assert "port" in json.dumps(api.group("apis/example.com/v1"))
