"""Events on users' objects: what somebody who runs `kubectl describe` should see.

In: an object as the API server has it, a word and a sentence. Out: an Event in the object's namespace. Refuses nothing: an Event that
cannot be written is logged, for it is news and no state.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Mapping
from typing import Any

import aiohttp

from controlplane.kube.client import ApiError, Cluster, path_of
from meshapi import names

log = logging.getLogger(__name__)


async def warn(cluster: Cluster, api: str, kind: str, obj: Mapping[str, Any], news: tuple[str, str]) -> None:
    """Record a warning about an object; `news` is its reason, one word, and its sentence."""
    metadata = obj["metadata"]
    namespace, (reason, message) = metadata["namespace"], news
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        # As client-go names them: by the object and the time.
        "metadata": {"name": f"{metadata['name']}.{time.time_ns():x}", "namespace": namespace},
        "involvedObject": {
            "apiVersion": api,
            "kind": kind,
            "name": metadata["name"],
            "namespace": namespace,
            "uid": metadata.get("uid", ""),
        },
        "type": "Warning",
        "reason": reason,
        "message": message,
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "source": {"component": names.FIELD_MANAGER},
    }
    try:
        await cluster.create(path_of("v1", "events", namespace), event)
    except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
        log.warning("an Event of %s %s/%s could not be written: %s", kind, namespace, metadata["name"], error)
