"""kubectl on objects: everything a user types to make, read, change and remove them."""

from __future__ import annotations

import json
import subprocess

from tests.support.cluster import Kube
from tests.support.objects import deployment, service

MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "labels": {"a": "b"}}, "data": {"k": "1"}}


def test_apply_creates_then_changes_then_leaves_alone(kube: Kube) -> None:
    """Client-side apply tells created, configured and unchanged apart."""
    assert "created" in kube.apply(MAP)
    assert "unchanged" in kube.apply(MAP)
    assert "configured" in kube.apply(MAP | {"data": {"k": "2"}})
    assert kube("get", "cm", "m", "-o", "jsonpath={.data.k}") == "2"


def test_apply_removes_what_is_no_longer_said(kube: Kube) -> None:
    """A key taken out of the manifest goes away by the three-way merge."""
    one = MAP | {"metadata": {"name": "three-way"}, "data": {"keep": "1", "drop": "1"}}
    kube.apply(one)
    kube.apply(one | {"data": {"keep": "1"}})

    assert json.loads(kube("get", "cm", "three-way", "-o", "jsonpath={.data}")) == {"keep": "1"}


def test_server_side_apply_keeps_owners_apart(kube: Kube) -> None:
    """Two managers own their own fields; taking another's is a conflict unless forced."""
    one = MAP | {"metadata": {"name": "owned"}}
    kube.apply(one, server_side=True)
    theirs = json.dumps(one | {"data": {"k": "theirs"}})
    said = kube.fails("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=theirs)

    assert "conflict" in said
    assert ".data.k" in said
    kube("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", stdin=theirs)
    assert kube("get", "cm", "owned", "-o", "jsonpath={.data.k}") == "theirs"


def test_get_speaks_every_output_form(kube: Kube) -> None:
    """Tables, wide, json, yaml, name, jsonpath, labels and all namespaces."""
    kube.apply(MAP)

    assert kube("get", "cm", "m").split()[:3] == ["NAME", "DATA", "AGE"]
    assert "m" in kube("get", "cm", "-l", "a=b")
    assert kube("get", "cm", "-l", "a=b", "-o", "name").split() == ["configmap/m"]
    assert kube("get", "cm", "-l", "a in (c)", "-o", "name") == ""
    assert "kind: ConfigMap" in kube("get", "cm", "m", "-o", "yaml")
    assert kube.namespace in kube("get", "cm", "-A")
    assert kube.get("cm", "m")["metadata"]["namespace"] == kube.namespace


def test_the_three_patch_types_change_what_they_say(kube: Kube) -> None:
    """Strategic merge by container name, JSON merge, and JSON patch."""
    kube.apply(deployment("patched", replicas=0))
    spec = {"spec": {"template": {"spec": {"containers": [{"name": "app", "env": [{"name": "A", "value": "1"}]}]}}}}
    kube("patch", "deploy", "patched", "-p", json.dumps(spec))
    kube("patch", "deploy", "patched", "--type=merge", "-p", '{"metadata": {"labels": {"x": "y"}}}')
    kube(
        "patch", "deploy", "patched", "--type=json", "-p", '[{"op": "add", "path": "/metadata/labels/z", "value": "w"}]'
    )
    found = kube.get("deploy", "patched")

    assert found["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "A", "value": "1"}]
    assert found["spec"]["template"]["spec"]["containers"][0]["image"]
    assert found["metadata"]["labels"] == {"x": "y", "z": "w"}


def test_annotate_and_label_add_and_remove(kube: Kube) -> None:
    """A trailing dash takes an annotation or label away again."""
    kube.apply(MAP | {"metadata": {"name": "tagged"}})
    kube("annotate", "cm", "tagged", "tulle.dev/x=1")
    kube("label", "cm", "tagged", "tier=web")
    assert kube.get("cm", "tagged")["metadata"]["labels"] == {"tier": "web"}
    kube("annotate", "cm", "tagged", "tulle.dev/x-")
    kube("label", "cm", "tagged", "tier-")

    assert "tulle.dev/x" not in kube.get("cm", "tagged")["metadata"].get("annotations", {})


def test_server_dry_run_answers_and_keeps_nothing(kube: Kube) -> None:
    """What a dry run made is not there afterwards."""
    one = json.dumps(MAP | {"metadata": {"name": "ghost"}})

    assert "(server dry run)" in kube("apply", "--dry-run=server", "-f", "-", stdin=one)
    assert "not found" in kube.fails("get", "cm", "ghost")


def test_watch_tells_of_a_change(kube: Kube) -> None:
    """`get -w` prints a row when an object changes."""
    kube.apply(MAP | {"metadata": {"name": "watched"}})
    command = kube.command("get", "cm", "watched", "-w", "-o", "jsonpath={.data.k}{'\\n'}")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        assert watch.stdout.readline().strip() == "1"
        kube("patch", "cm", "watched", "--type=merge", "-p", '{"data": {"k": "2"}}')
        line = watch.stdout.readline().strip()
        watch.kill()

    assert line == "2"


def test_describe_shows_object_and_events(kube: Kube) -> None:
    """`describe` prints the parts users look for."""
    kube.apply(service("described"))
    said = kube("describe", "service", "described")

    assert "Selector:" in said
    assert "app=described" in said


def test_explain_knows_builtin_and_own_fields(kube: Kube) -> None:
    """`explain` reads the served OpenAPI."""
    assert "FIELDS" in kube("explain", "deployment.spec.strategy") or "FIELD" in kube(
        "explain", "deployment.spec.strategy"
    )
    assert "matchLabels" in kube("explain", "deployment.spec.selector")


def test_api_resources_lists_kinds_with_short_names(kube: Kube) -> None:
    """Discovery tells plurals, short names, groups and verbs."""
    said = kube("api-resources", "--api-group=apps")

    assert "deployments" in said
    assert "deploy" in said


def test_auth_can_i_answers_by_rbac(kube: Kube) -> None:
    """The administrator may, a service account without a role may not, with a role may."""
    who = f"--as=system:serviceaccount:{kube.namespace}:default"
    assert kube("auth", "can-i", "create", "pods").strip() == "yes"
    done = subprocess.run(
        kube.command("auth", "can-i", "list", "secrets", who), capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "no"
    kube("create", "role", "reader", "--verb=list", "--resource=secrets")
    kube("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={kube.namespace}:default")

    assert kube("auth", "can-i", "list", "secrets", who).strip() == "yes"
    assert kube("get", "secrets", who) is not None


def test_forbidden_says_who_may_not_do_what(kube: Kube) -> None:
    """RBAC is enforced with the server's own sentence."""
    said = kube.fails("get", "pods", f"--as=system:serviceaccount:{kube.namespace}:nobody")

    assert f'User "system:serviceaccount:{kube.namespace}:nobody" cannot list resource "pods"' in said


def test_unknown_field_is_refused_by_name(kube: Kube) -> None:
    """Strict validation names the field."""
    bad = service("odd")
    bad["spec"]["selctor"] = {}

    assert "selctor" in kube.fails("create", "-f", "-", stdin=json.dumps(bad))


def test_invalid_object_is_refused_with_its_field(kube: Kube) -> None:
    """A selector that does not match its template is said so."""
    bad = deployment("mismatch")
    bad["spec"]["selector"]["matchLabels"] = {"app": "other"}

    assert "selector" in kube.fails("create", "-f", "-", stdin=json.dumps(bad))
