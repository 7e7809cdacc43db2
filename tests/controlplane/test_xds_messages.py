"""Discovery requests as anybody with a token may write them: what they cost is bounded before it is looked at."""

from __future__ import annotations

from typing import Any

from controlplane.xds import messages
from controlplane.xds.messages import MAX_SAID, MAX_SENTENCE
from meshapi import protos, xds

_REQUEST = "envoy.service.discovery.v3.DeltaDiscoveryRequest"


def decoded(**fields: Any) -> Any:
    raw = protos.message(_REQUEST)(type_url=xds.Type.CLUSTER.url, **fields).SerializeToString()
    return messages.decode(raw, delta=True)


def test_refusal_is_read_as_far_as_a_sentence_goes() -> None:
    """Every name of a response is searched in it: four megabytes against ten thousand names held the loop for two minutes."""
    _, ask, _ = decoded(error_detail={"code": 3, "message": "shop/web:80: odd; " + "x" * 4_000_000})

    assert len(ask.error) == MAX_SENTENCE
    assert ask.error.startswith("shop/web:80: odd; ")


def test_of_a_node_only_what_somebody_asks_for_is_read() -> None:
    """What else it says may be megabytes, of any shape; numbers that are none ended the stream by a defect."""
    node = protos.message("envoy.config.core.v3.Node")(id="web-1.shop", user_agent_name=xds.SIDECAR_AGENT)
    node.metadata.update({"version": "1.2", xds.NODE_CONTRACT: "1", "else": [float("nan")], "deep": {"a": {"b": "c"}}})
    node.metadata.update({xds.NODE_PASSED: "x" * 2 * MAX_SAID, "certificate_expires_at": {"odd": "shape"}})
    _, _, told = decoded(node=node)

    assert (told.id, told.user_agent) == ("web-1.shop", xds.SIDECAR_AGENT)
    assert told.metadata == {
        "version": "1.2",
        xds.NODE_CONTRACT: "1",
        xds.NODE_PASSED: "x" * MAX_SAID,
        "certificate_expires_at": "",
    }
