"""A pod as its containers see it: one noun, made by `pod`, shared by the pod's containers and what watches over them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster.runtime.facilities import Changes, Facilities
from devcluster.runtime.network import PodNetwork
from devcluster.runtime.volumes import Volumes

Object = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Home:
    """The pod, as its containers see it."""

    node: Facilities
    pod: Object
    """The latest version."""
    volumes: Volumes
    network: PodNetwork
    directory: Path
    changed: asyncio.Event
    """Set when a status is to be told."""
    configs: Changes
    """Rings when a ConfigMap or Secret of the namespace changed."""

    @property
    def full_name(self) -> str:
        """How the kubelet's sentences name a pod."""
        metadata = self.pod["metadata"]
        return f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
