"""Events on users' objects: what somebody who runs `kubectl describe` should see.

In: an object as the API server has it, and `News`. Out: an Event in the object's namespace. Refuses nothing: an Event that
cannot be written is logged, for it is news and no state.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from controlplane.feed.kinds import Kind
from controlplane.kube.client import ApiError, Cluster, path_of
from meshapi import names

MAX_MESSAGE = 1024
"""The API server refuses Events with longer ones."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What happened to an object: a word and a sentence."""

    reason: str
    message: str
    warning: bool = False


async def record(cluster: Cluster, kind: Kind, obj: Mapping[str, Any], news: News) -> None:
    """Record what happened to an object."""
    metadata = obj["metadata"]
    namespace = metadata["namespace"]
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        # As client-go names them: by the object and the time.
        "metadata": {"name": f"{metadata['name']}.{time.time_ns():x}", "namespace": namespace},
        "involvedObject": {
            "apiVersion": kind.first,
            "kind": kind.name,
            "name": metadata["name"],
            "namespace": namespace,
            "uid": metadata.get("uid", ""),
        },
        "type": "Warning" if news.warning else "Normal",
        "reason": news.reason,
        "message": news.message[:MAX_MESSAGE],
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "source": {"component": names.FIELD_MANAGER},
    }
    try:
        await cluster.create(path_of("v1", "events", namespace), event)
    except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
        log.warning("an Event of %s %s/%s could not be written: %s", kind.name, namespace, metadata["name"], error)
