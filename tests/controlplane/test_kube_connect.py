"""Where the API server is, and what is said when nobody can know."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import yaml

from controlplane.kube.connect import from_kubeconfig, in_cluster
from controlplane.settings import BadSettingError, load


def kubeconfig(directory: Path, **user: str) -> Path:
    path = directory / "config"
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [
            {
                "name": "k",
                "cluster": {
                    "server": "https://1.2.3.4:6443/",
                    "certificate-authority-data": base64.b64encode(b"PEM").decode(),
                },
            }
        ],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


def test_kubeconfig_gives_server_roots_and_token(tmp_path: Path) -> None:
    """The current context's."""
    found = from_kubeconfig(kubeconfig(tmp_path, token="t"))

    assert (found.server, found.ca, found.token()) == ("https://1.2.3.4:6443", b"PEM", "t")


def test_token_is_read_anew_from_its_file(tmp_path: Path) -> None:
    """Kubernetes rotates it."""
    for name, text in (("ca.crt", "PEM"), ("token", "one")):
        (tmp_path / name).write_text(text)
    found = in_cluster(("fd00::1", "443"), tmp_path)
    assert (found.server, found.token()) == ("https://[fd00::1]:443", "one")
    (tmp_path / "token").write_text("two\n")

    assert found.token() == "two"


def test_neither_pod_nor_kubeconfig_is_one_sentence(tmp_path: Path) -> None:
    """It says what was looked for."""
    with pytest.raises(BadSettingError, match="KUBECONFIG is not set and this is no pod"):
        in_cluster(None, tmp_path)


def test_broken_kubeconfig_is_one_sentence(tmp_path: Path) -> None:
    """It names the file and what is missing."""
    path = kubeconfig(tmp_path)
    path.write_text(path.read_text().replace("current-context: c", "current-context: other"))

    with pytest.raises(BadSettingError, match="no context named 'other'"):
        from_kubeconfig(path)
    path.write_text("[]")
    with pytest.raises(BadSettingError, match="cannot be used"):
        from_kubeconfig(path)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TULLE_XDS_PORT", "many", "whole number from 0 to 65535"),
        ("TULLE_CERTIFICATE_SECONDS", "59", "from 60"),
        ("TULLE_LOG_LEVEL", "chatty", "one of debug, info, warning, error"),
        ("TULLE_NATIVE_SIDECAR", "maybe", "one of auto, true, false"),
        ("TULLE_TRUST_DOMAIN", "Not A Domain", "not a lower-case domain name"),
        ("TULLE_CA_SECRET", "tulle-signing", "keeps the issuer in use there"),
        ("TULLE_CA_ROOTS_CONFIG_MAP", "tulle-trust", "remembers the mesh's own roots there"),
    ],
)
def test_bad_setting_is_refused_by_name_and_value(name: str, value: str, words: str) -> None:
    """The sentence names the variable, what it held, and what is right."""
    with pytest.raises(BadSettingError, match=words) as caught:
        load({name: value})

    assert name in str(caught.value)
    assert value in str(caught.value)


def test_settings_name_the_services_dns_names() -> None:
    """What the serving certificate answers to, and what sidecars dial."""
    found = load({"TULLE_NAMESPACE": "mesh", "TULLE_SERVICE": "cp", "TULLE_CLUSTER_DOMAIN": "example.org"})

    assert found.dns_names == ("cp.mesh.svc", "cp.mesh.svc.example.org", "cp.mesh")
    assert found.xds_address == "cp.mesh.svc:15012"
