"""What ships is what is tested: Tulle's containers run from the image that was built of this tree."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.support.cluster import Kube
from tests.support.mesh import Mesh, ask, bring_pair, metrics
from tools import image

LOOK = (
    "import json, os, ssl, sys, dataplane\n"
    "try:\n open('/opt/mine', 'w'); wrote = True\n"
    "except OSError: wrote = False\n"
    "print(json.dumps({'python': sys.version_info[:2], 'openssl': ssl.OPENSSL_VERSION_INFO[:2], 'of': dataplane.__file__,\n"
    " 'uid': os.getuid(), 'wrote': wrote, 'root': sorted(os.listdir('/opt'))}))\n"
)


@pytest.mark.skipif(bool(os.environ.get("KUBECONFIG")), reason="of another cluster's image nothing is known")
@pytest.mark.skipif(image.present() is None, reason="`make image` has not built the image of this very tree")
def test_sidecar_and_control_plane_run_from_the_image(shop: Kube, mesh: Mesh) -> None:
    """On its file system, read-only and with nothing of the machine's in sight; the init container did, for calls are taken in."""
    bring_pair(shop)

    seen: list[dict[str, Any]] = [
        json.loads(shop("exec", "client", "-c", "tulle-proxy", "--", "python3", "-c", LOOK)),
        json.loads(mesh.system("exec", "deploy/tulle", "--", "python3", "-c", LOOK)),
    ]
    for one in seen:
        where = one.pop("of")
        assert where == "/opt/tulle/lib/python3.13/site-packages/dataplane/__init__.py"
        assert one == {
            "python": [3, 13],
            "openssl": one["openssl"],
            "uid": one["uid"],
            "wrote": False,
            "root": ["tulle"],
        }
        assert one["openssl"] >= [3, 5]
        assert one["uid"] != 0
    assert ask(shop, "client", "http://server/")[0][0] == 200
    assert 'connection_security_policy="mutual_tls"' in metrics(shop, "client")
