"""Bad input to the API server: each is answered with a Status that says what is wrong, and nothing else is disturbed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import config

from tests.support.cluster import Kube

Ask = Callable[..., tuple[int, dict[str, Any]]]
MAPS = "/api/v1/namespaces/{namespace}/configmaps"
JSON, MERGE, APPLY = "application/json", "application/merge-patch+json", "application/apply-patch+yaml"


@pytest.fixture(scope="module")
def ask(kube: Kube) -> Iterator[Ask]:
    """Send bytes as they are, as the administrator."""
    with config.new_client_from_config(str(kube.kubeconfig)) as api:
        headers: dict[str, Any] = {}
        api.update_params_for_auth(headers, [], ["BearerToken"], "", "", None)

        def send(
            method: str, path: str, body: bytes = b"", media: str = JSON, **more: str
        ) -> tuple[int, dict[str, Any]]:
            url = api.configuration.host + path.replace("{namespace}", kube.namespace)
            answer = api.rest_client.pool_manager.request(
                method, url, body=body, headers=headers | {"content-type": media} | more
            )
            return answer.status, json.loads(answer.data)

        yield send
        api.rest_client.pool_manager.clear()


@pytest.mark.parametrize(
    ("request_line", "body", "media", "codes"),
    [
        ("POST " + MAPS, b"{", JSON, {400, 422}),
        ("POST " + MAPS, b"[]", JSON, {400, 422}),
        ("POST " + MAPS, b'{"metadata": {"name": 5}}', JSON, {400, 422}),
        ("POST " + MAPS, b'{"metadata": {"name": "x", "labels": 5}}', JSON, {400, 422}),
        ("POST " + MAPS, b'{"metadata": {"name": "UPPER"}}', JSON, {422}),
        ("POST " + MAPS, b'{"metadata": {"name": "x"}}', "application/pdf", {415}),
        ("POST " + MAPS, b"k8s\x00garbage", "application/vnd.kubernetes.protobuf", {400, 422}),
        ("POST /api/v1/namespaces/nowhere/configmaps", b'{"metadata": {"name": "x"}}', JSON, {404}),
        ("PATCH " + MAPS + "/kube-root-ca.crt", b'{"metadata": 5}', MERGE, {400, 422}),
        ("PATCH " + MAPS + "/x", b'{"data": 5}', APPLY, {400, 422}),
        ("PATCH " + MAPS + "/kube-root-ca.crt", b"{}", "text/css", {415}),
        ("GET " + MAPS + "?limit=x", b"", JSON, {400, 422}),
        ("GET " + MAPS + "?continue=nonsense", b"", JSON, {400, 422}),
        ("GET " + MAPS + "?labelSelector=a%3Db%3Dc", b"", JSON, {400, 422}),
        ("GET /apis/nothing.example.com/v1/things", b"", JSON, {404}),
        ("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", b'{"spec": 5}', JSON, {400, 422}),
    ],
)
def test_bad_request_is_refused_in_a_sentence(
    ask: Ask, request_line: str, body: bytes, media: str, codes: set[int]
) -> None:
    """The code, and words."""
    method, path = request_line.split(" ", 1)
    query = "" if media != APPLY else "?fieldManager=hostile"
    status, said = ask(method, path + query, body, media)

    assert status in codes, said
    assert said["kind"] == "Status"
    assert said["message"]


def test_oversized_body_is_refused(ask: Ask) -> None:
    """More than the limit is 413."""
    huge = json.dumps({"metadata": {"name": "huge"}, "data": {"k": "x" * 4_000_000}}).encode()

    assert ask("POST", MAPS, huge)[0] == 413


def test_wrong_token_is_never_taken_for_nobody(ask: Ask, kube: Kube) -> None:
    """A bad credential is 401, also where anonymous callers may read."""
    with config.new_client_from_config(str(kube.kubeconfig)) as api:
        pool = api.rest_client.pool_manager
        pool.connection_pool_kw.pop("cert_file", None)
        pool.connection_pool_kw.pop("key_file", None)
        url = f"{api.configuration.host}/version"
        answer = pool.request("GET", url, headers={"authorization": "Bearer nonsense"})
        pool.clear()

    assert answer.status == 401


def test_server_serves_on_after_all_that(kube: Kube) -> None:
    """Nothing is disturbed."""
    assert kube("get", "--raw", "/readyz") == "ok"
    assert "kube-root-ca.crt" in kube("get", "cm")
