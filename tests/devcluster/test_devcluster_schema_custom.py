"""Custom kinds: pruned, defaulted, checked and judged by CEL as their definition says."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from devcluster.api.errors import StatusError
from devcluster.api.kinds import Resource, Resources
from devcluster.schema.cel import Environment, Rules
from devcluster.schema.structural import default, prune
from devcluster.schema.validate import Validator
from devcluster.schema.values import check

STRING = {"type": "string"}
SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["host"],
    "x-kubernetes-validations": [
        {"rule": "!has(self.weight) || self.weight < 50 || self.mode == 'B'", "message": "heavy needs B"},
        {"rule": "self.host == oldSelf.host", "message": "host is for ever", "fieldPath": ".host"},
        {"rule": "self.items.all(i, i.name != 'bad')", "messageExpression": "'no ' + self.items[0].name"},
    ],
    "properties": {
        "host": {"type": "string", "minLength": 2, "maxLength": 8, "pattern": "^[a-z]+$"},
        "mode": {"type": "string", "enum": ["A", "B"], "default": "A"},
        "weight": {"type": "integer", "minimum": 1, "maximum": 100},
        "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "at": {"type": "string", "format": "date-time"},
        "tags": {"type": "array", "items": STRING, "x-kubernetes-list-type": "set", "maxItems": 2},
        "items": {
            "type": "array",
            "default": [],
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": STRING,
                    "left": STRING,
                    "right": STRING,
                    "size": {"type": "integer", "default": 3},
                },
                "oneOf": [{"required": ["left"]}, {"required": ["right"]}, {"not": {"required": ["size"]}}],
            },
        },
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "maybe": {"type": "string", "nullable": True},
        "map": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
}
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": SPEC}}},
            }
        ],
    },
}
THINGS = Resource(group="example.com", version="v1", plural="things", kind="Thing", definition=CRD)


@pytest.fixture(scope="module")
def validator() -> Validator:
    return Validator()


def thing(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"host": "ab", **spec}}


def said(validator: Validator, obj: dict[str, Any], old: dict[str, Any] | None = None) -> str:
    for one in filter(None, (obj, old)):
        validator.default(THINGS, one)
    try:
        validator.validate(THINGS, obj, old)
    except StatusError as error:
        return error.message
    return ""


def test_unknown_fields_are_pruned_but_where_they_may_stay() -> None:
    """Pruning keeps metadata, free maps and typed maps, and tells what it took."""
    obj = thing(odd=1, free={"x": {"y": 1}}, map={"k": 1}, items=[{"name": "n", "no": 1}])
    schema = {"type": "object", "properties": {"spec": SPEC}}

    assert sorted(prune(schema, obj)) == ["spec.items[0].no", "spec.odd"]
    assert obj == thing(free={"x": {"y": 1}}, map={"k": 1}, items=[{"name": "n"}])


def test_defaults_fill_what_is_missing_at_every_depth() -> None:
    """A missing or null field gets its default, a nullable null stays."""
    spec: dict[str, Any] = {"host": "ab", "mode": None, "maybe": None, "items": [{"name": "n"}]}
    default(SPEC, spec)

    assert spec == {"host": "ab", "mode": "A", "maybe": None, "items": [{"name": "n", "size": 3}]}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"host": None}, "spec.host: Required value"),
        ({"host": "x"}, 'spec.host: Invalid value: "x": spec.host in body should be at least 2 chars long'),
        ({"host": "abcdefghi"}, "spec.host: Too long: may not be more than 8 bytes"),
        ({"host": "ab\n"}, "spec.host in body should match '^[a-z]+$'"),
        ({"mode": "C"}, 'spec.mode: Unsupported value: "C": supported values: "A", "B"'),
        ({"weight": 0}, "spec.weight: Invalid value: 0: spec.weight in body should be greater than or equal to 1"),
        ({"weight": "1"}, 'spec.weight: Invalid value: "string": spec.weight in body must be of type integer: "string"'),
        ({"port": 1.5}, "spec.port in body must be of type integer,string"),
        ({"at": "yesterday"}, 'spec.at in body must be of type date-time: "yesterday"'),
        ({"tags": ["a", "a"]}, 'spec.tags[1]: Duplicate value: "a"'),
        ({"tags": ["a", "b", "c"]}, "spec.tags: Too many: 3: must have at most 2 items"),
        ({"items": [{"name": "n", "left": "l"}] * 2}, 'spec.items[1]: Duplicate value: {"name":"n"}'),
        ({"items": [{"name": "n"}]}, "must validate one and only one schema (oneOf). Found none valid"),
        ({"map": {"k": "v"}}, "spec.map.k: Invalid value"),
        ({"weight": 60}, 'spec: Invalid value: "object": heavy needs B'),
        ({"items": [{"name": "bad", "left": "l"}]}, 'spec: Invalid value: "object": no bad'),
    ],
)  # fmt: skip
def test_value_is_refused_in_the_servers_words(validator: Validator, spec: dict[str, Any], expected: str) -> None:
    """Every keyword of the schema, and its rules, refuse with field, value and reason."""
    assert expected in said(validator, thing(**spec))


def test_right_object_passes(validator: Validator) -> None:
    """An object that keeps all of it is taken."""
    right = thing(weight=60, mode="B", port="http", at="2026-01-02T03:04:05.678Z", tags=["a"], map={"k": 1})
    right["spec"]["items"] = [{"name": "n", "left": "l"}]

    assert said(validator, right) == ""


def test_rules_wait_for_a_valid_object(validator: Validator) -> None:
    """With a blocking error the rules are not evaluated, and the answer says so."""
    message = said(validator, thing(host=None, weight=60))

    assert "some validation rules were not checked" in message
    assert "heavy needs B" not in message


def test_transition_rule_compares_with_the_old_object(validator: Validator) -> None:
    """`oldSelf` rules run on updates alone and may name the field."""
    assert (
        said(validator, thing(host="cd"), thing())
        == 'Thing.example.com "t" is invalid: spec.host: Invalid value: "object": host is for ever'
    )
    assert said(validator, thing(), thing()) == ""


def test_what_an_update_leaves_alone_is_not_judged_again(validator: Validator) -> None:
    """A stricter schema does not lock old objects."""
    old = thing(mode="OLD")
    new = copy.deepcopy(old)
    new["spec"]["weight"] = 2

    assert said(validator, new, old) == ""


def test_unknown_field_of_a_custom_kind_is_strict_too(validator: Validator) -> None:
    """Strict decoding names unknown fields of custom kinds and of their metadata."""
    obj = thing(odd=1)
    obj["metadata"]["nmae"] = "t"
    with pytest.raises(StatusError) as caught:
        validator.decode(THINGS, obj)

    assert 'unknown field "spec.odd"' in caught.value.message
    assert 'unknown field "metadata.nmae"' in caught.value.message


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("metadata.name", "other.example.com", 'must be spec.names.plural+"."+spec.group'),
        ("spec.scope", "World", 'spec.scope: Unsupported value: "World"'),
        ("spec.versions.0.storage", False, "must have exactly one version marked as storage version"),
        ("spec.versions.0.schema", {}, "schemas are required"),
        ("spec.versions.0.schema.openAPIV3Schema.properties.spec.properties.host.type", "text", "Unsupported value"),
        ("spec.versions.0.schema.openAPIV3Schema.properties.spec.properties.map.properties", {"a": STRING}, "mutual exclusive"),
        ("spec.versions.0.schema.openAPIV3Schema.properties.spec.properties.tags.items", None, "must be specified"),
        (
            "spec.versions.0.schema.openAPIV3Schema.properties.spec.x-kubernetes-validations",
            [{"rule": "self.host =="}],
            "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value",
        ),
    ],
)  # fmt: skip
def test_bad_definition_is_refused(validator: Validator, path: str, value: Any, expected: str) -> None:
    """A definition that is not structural, or whose rules do not compile, is refused where it is wrong."""
    crd = copy.deepcopy(CRD)
    inner: Any = crd
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        inner = inner[step]
    inner[last] = value
    resource = Resources().find("customresourcedefinitions.apiextensions.k8s.io")
    with pytest.raises(StatusError) as caught:
        validator.validate(resource, crd)

    assert expected in caught.value.message
    validator.validate(resource, CRD)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("isIP('10.0.0.1') && !isIP('10.0.0')", True),
        ("ip('fe80::1').family() == 6 && ip('127.0.0.1').isLoopback()", True),
        ("cidr('10.0.0.0/8').containsIP('10.1.1.1') && !cidr('10.0.0.0/8').containsCIDR('0.0.0.0/0')", True),
        ("url('https://a.example:8443/x?y=z').getHostname()", "a.example"),
        ("quantity('1Gi').isGreaterThan(quantity('1G')) && isQuantity('5m') && !isQuantity('5x')", True),
        ("[3, 1, 2].max() + [1, 2].sum()", 6),
        ("'a1b22'.findAll('[0-9]+')", ["1", "22"]),
        ("self.__namespace__", "n"),
        ("has(self.gone) || self.?gone.orValue('x') == 'x'", True),
    ],
)
def test_functions_of_kubernetes_are_there(expression: str, value: Any) -> None:
    """CEL knows what Kubernetes adds to it."""
    assert Environment("self").evaluate(expression, {"self": {"__namespace__": "n"}}) == value


def test_reserved_words_are_escaped_for_rules() -> None:
    """A property named like a CEL word is reached by its escaped name."""
    schema = {
        "type": "object",
        "properties": {"namespace": STRING, "a-b": STRING},
        "x-kubernetes-validations": [{"rule": "self.__namespace__ == 'n' && self.a__dash__b == 'c'"}],
    }

    assert list(Rules().check(schema, {"namespace": "n", "a-b": "c"})) == []
    assert [cause.field for cause in Rules().check(schema, {"namespace": "m", "a-b": "c"}, "spec")] == ["spec"]


def test_optional_old_self_is_an_optional() -> None:
    """`optionalOldSelf` rules also run on create."""
    rule = {"rule": "!oldSelf.hasValue() || oldSelf.value() <= self", "optionalOldSelf": True, "message": "never down"}
    schema = {"type": "integer", "x-kubernetes-validations": [rule]}

    assert list(Rules().check(schema, 1)) == []
    assert [cause.message for cause in Rules().check(schema, 1, "n", 2)] == ["Invalid value: 1: never down"]


def test_integer_format_bounds_the_value() -> None:
    """int32 is checked though Python's integers know no bounds."""
    assert [c.field for c in check({"type": "integer", "format": "int32"}, 2**31, "n")] == ["n"]
