"""The HTTPS face: reviews in, verdicts out, and nothing that is thrown at it stops it."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jsonpatch
import pytest

from controlplane.inject.options import InjectSettings
from controlplane.inject.webhook import MAX_BYTES, Webhook, serve
from meshapi import names

Object = dict[str, Any]
ON = {names.INJECT: names.ENABLED}


class Bench:
    """A webhook served on a port of its own, and its counts."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.labels: dict[str, dict[str, str]] = {}
        """What the feed has brought."""
        self.fresh: dict[str, dict[str, str]] = {}
        """What the API server has beside it."""
        self.asked: list[str] = []
        self.base = ""
        self.http: aiohttp.ClientSession

    async def words(self, namespace: str) -> dict[str, str]:
        if namespace in self.labels:
            return self.labels[namespace]
        self.asked.append(namespace)
        return self.fresh[namespace]

    def count(self, hook: str, outcome: str) -> None:
        self.counts[hook, outcome] += 1

    async def post(self, path: str, body: bytes) -> tuple[int, str]:
        async with self.http.post(self.base + path, data=io.BytesIO(body)) as answer:
            return answer.status, await answer.text()

    async def review(self, path: str, obj: Object, kind: str = "Pod", namespace: str = "shop", **more: Any) -> Object:
        request = {
            "uid": "u1",
            "namespace": namespace,
            "kind": {"kind": kind},
            "object": obj,
            "operation": "CREATE",
            **more,
        }
        status, text = await self.post(path, json.dumps({"request": request}).encode())
        assert status == 200, text
        answer = json.loads(text)
        assert (answer["apiVersion"], answer["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
        assert answer["response"]["uid"] == "u1"
        response: Object = answer["response"]
        return response


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A webhook whose validator dislikes the name `bad` and breaks on `broken`."""
    own = Bench()

    def validate(obj: Object) -> list[str]:
        if obj["metadata"]["name"] == "broken":
            raise RuntimeError("a fault of our own")
        return ["spec.mode is 'x'; allowed is STRICT"] if obj["metadata"]["name"] == "bad" else []

    face = Webhook(
        settings=lambda _: InjectSettings(),
        known_words=lambda n: own.labels.get(n, {}),
        namespace_words=own.words,
        validate=validate,
        patterns=lambda obj: obj["spec"],
        count=own.count,
    )
    runner = await serve(face, tls=None, port=0, host="127.0.0.1")
    own.base = "http://{}:{}".format(*runner.addresses[0][:2])
    async with aiohttp.ClientSession() as own.http:
        yield own
    await runner.cleanup()


def patched(obj: Object, response: Object) -> Object:
    after: Object = jsonpatch.apply_patch(obj, json.loads(base64.b64decode(response["patch"])))
    return after


def pod(annotations: dict[str, str]) -> Object:
    return {"metadata": {"generateName": "p-", "annotations": annotations}, "spec": {"containers": [{"name": "app"}]}}


async def test_pod_is_patched_by_rfc_6902(bench: Bench) -> None:
    """What the API server applies is the injected pod."""
    response = await bench.review("/inject", pod(ON))

    assert response["allowed"]
    assert response["patchType"] == "JSONPatch"
    after = patched(pod(ON), response)
    assert [c["name"] for c in after["spec"]["initContainers"]] == ["tulle-init", "tulle-proxy"]
    assert bench.counts["inject", "injected"] == 1


async def test_pod_asked_about_again_is_left_alone(bench: Bench) -> None:
    """Re-invocation costs no second patch and no second line in the log."""
    once = patched(pod(ON), await bench.review("/inject", pod(ON)))

    assert "patch" not in await bench.review("/inject", once)
    assert bench.counts["inject", "untouched"] == 1


async def test_namespace_speaks_for_pods_that_do_not(bench: Bench) -> None:
    """Labels are asked anew for every review."""
    bench.labels["shop"] = {}
    assert "patch" not in await bench.review("/inject", pod({}))
    bench.labels["shop"] = ON
    assert "patch" in await bench.review("/inject", pod({}))
    assert bench.counts["inject", "untouched"] == 1
    assert bench.asked == []


@pytest.mark.parametrize("behind", [None, {}, {names.INJECT: names.DISABLED}], ids=["unknown", "silent", "disabled"])
async def test_selection_of_the_api_server_is_trusted_where_the_feed_is_behind(
    bench: Bench, behind: dict[str, str] | None
) -> None:
    """One `kubectl apply` of a Namespace and its Deployment: the label was read by who asks, so no pod starts bare."""
    if behind is not None:
        bench.labels["shop"] = behind

    assert "patch" in await bench.review("/inject/namespace", pod({}))
    assert bench.asked == []


async def test_namespace_with_a_word_nobody_knows_refuses_its_pods(bench: Bench) -> None:
    """The API server selects every label but `disabled`; a typo in it is told."""
    bench.labels["shop"] = {names.INJECT: "yes"}
    response = await bench.review("/inject/namespace", pod({}))

    assert not response["allowed"]
    assert "(label of the namespace) is 'yes'" in response["status"]["message"]


async def test_namespace_the_feed_has_not_brought_is_read(bench: Bench) -> None:
    """A namespace opted in by annotation speaks for the first of its pods; where it cannot be read the failure policy decides."""
    bench.fresh["shop"] = ON

    assert "patch" in await bench.review("/inject", pod({}))
    assert "patch" in await bench.review("/inject", pod(ON), namespace="other")
    assert bench.asked == ["shop"]
    unread = {"uid": "u", "namespace": "gone", "kind": {"kind": "Pod"}, "object": pod({})}
    assert (await bench.post("/inject", json.dumps({"request": unread}).encode()))[0] == 500


async def test_bad_annotation_is_a_refusal_with_its_sentence(bench: Bench) -> None:
    """The sentence is what kubectl prints."""
    response = await bench.review("/inject", pod(ON | {names.PROXY_LOG_LEVEL: "chatty"}))

    assert not response["allowed"]
    assert names.PROXY_LOG_LEVEL in response["status"]["message"]
    assert "chatty" in response["status"]["message"]
    assert bench.counts["inject", "rejected"] == 1


async def test_new_workload_is_opted_in(bench: Bench) -> None:
    """Decision 0003."""
    obj = {"kind": "Deployment", "metadata": {"name": "web", "annotations": ON}, "spec": {"template": {"spec": {}}}}
    after = patched(obj, await bench.review("/workload", obj, "Deployment"))

    assert after["spec"]["template"]["metadata"]["annotations"][names.INJECT] == names.ENABLED
    assert "patch" not in await bench.review("/workload", obj, "Deployment", namespace="kube-system")


@pytest.mark.parametrize("kind", ["Deployment", "CronJob"])
async def test_workload_that_was_replaced_keeps_its_word_in_the_template(bench: Bench, kind: str) -> None:
    """`kubectl replace` and Argo CD's Replace strip what the mesh put into a template: it is there again before anything rolls."""
    stripped = workload(kind, ON, {})
    kept = patched(stripped, await bench.review("/workload", stripped, kind, operation="UPDATE"))

    assert annotations_of(kept) == ON | {names.INJECTED_BY: f"{kind}/web"}
    assert "patch" not in await bench.review("/workload", kept, kind, operation="UPDATE")
    left = workload(kind, {}, annotations_of(kept))
    assert annotations_of(patched(left, await bench.review("/workload", left, kind, operation="UPDATE"))) == {}
    turned = workload(kind, {names.INJECT: names.DISABLED}, annotations_of(kept))
    after = patched(turned, await bench.review("/workload", turned, kind, operation="UPDATE"))
    assert annotations_of(after)[names.INJECT] == names.DISABLED


async def test_typo_refuses_a_new_workload_and_warns_of_one_that_is_there(bench: Bench) -> None:
    """No rollout hangs on a word somebody wrote long ago."""
    typo = workload("Deployment", {names.INJECT: "yes"}, {})
    new, old = [await bench.review("/workload", typo, "Deployment", operation=o) for o in ("CREATE", "UPDATE")]

    assert (new["allowed"], old["allowed"]) == (False, True)
    assert "'yes'" in new["status"]["message"]
    assert "'yes'" in old["warnings"][0]


def workload(kind: str, own: dict[str, str], inside: dict[str, str]) -> Object:
    spec: Object = {"template": {"metadata": {"annotations": inside}, "spec": {}}}
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": spec}}
    return {"kind": kind, "metadata": {"name": "web", "annotations": own}, "spec": spec}


def annotations_of(obj: Object) -> dict[str, str]:
    spec = obj["spec"]["jobTemplate"]["spec"] if obj["kind"] == "CronJob" else obj["spec"]
    found: dict[str, str] = spec["template"]["metadata"]["annotations"]
    return found


async def test_own_kinds_are_judged_by_the_validator(bench: Bench) -> None:
    """Good ones pass, bad ones come back with what is wrong."""
    good = await bench.review("/validate", {"metadata": {"name": "good"}}, "PeerAuthentication")
    bad = await bench.review("/validate", {"metadata": {"name": "bad"}}, "PeerAuthentication")

    assert good["allowed"]
    assert (bad["allowed"], bad["status"]["message"]) == (False, "spec.mode is 'x'; allowed is STRICT")


async def test_pattern_is_refused_when_it_comes_and_warned_of_where_it_is(bench: Bench) -> None:
    """So a route from before the mesh can still be labelled, mended by halves, or deleted by its finalizer."""
    bad: Object = {"metadata": {"name": "r"}, "spec": ["spec.rules[0].path: '(' is none"]}
    moved: Object = {"metadata": {"name": "r"}, "spec": ["spec.rules[1].path: '(' is none"]}
    worse: Object = {"metadata": {"name": "r"}, "spec": [*moved["spec"], "spec.rules[2].path: ')' is none"]}
    good: Object = {"metadata": {"name": "r"}, "spec": []}

    new = await bench.review("/route", bad, "HTTPRoute")
    kept = await bench.review("/route", moved, "HTTPRoute", operation="UPDATE", oldObject=bad)
    more = await bench.review("/route", worse, "HTTPRoute", operation="UPDATE", oldObject=bad)
    mended = await bench.review("/route", good, "HTTPRoute", operation="UPDATE", oldObject=bad)

    assert (new["allowed"], new["status"]["message"]) == (False, bad["spec"][0])
    assert (kept["allowed"], kept["warnings"]) == (True, moved["spec"])
    assert (more["allowed"], more["status"]["message"]) == (False, worse["spec"][1])
    assert (mended["allowed"], "warnings" in mended) == (True, False)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"[]", b"{}", b'{"request": 1}', b'{"request": {"uid": 1}}', b'{"request": {"uid": "u"}}'],
)
async def test_broken_review_is_answered_and_logged_once(
    bench: Bench, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Garbage gets 400 and a sentence, one line is logged, and the next review is served."""
    with caplog.at_level(logging.INFO, logger="controlplane.inject"):
        status, text = await bench.post("/inject", body)

    assert status == 400
    assert text.startswith(("the body", "the request"))
    assert len(caplog.records) == 1
    assert bench.counts["inject", "malformed"] == 1
    assert (await bench.review("/inject", pod(ON)))["allowed"]


async def test_review_beyond_all_bounds_is_refused(bench: Bench) -> None:
    """Memory is not for whoever sends most."""
    status, text = await bench.post("/inject", b" " * (MAX_BYTES + 1))

    assert (status, "larger than" in text) == (413, True)


async def test_fault_of_our_own_is_500_so_that_the_failure_policy_decides(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a dropped connection nor a guess."""
    request = {"uid": "u", "kind": {"kind": "Mesh"}, "object": {"metadata": {"name": "broken"}}}
    status, _ = await bench.post("/validate", json.dumps({"request": request}).encode())

    assert status == 500
    assert "Mesh /broken" in caplog.text
    assert bench.counts["validate", "failed"] == 1
