"""The files in docker/ as tests read them: Compose, the Dockerfile, the Kubernetes resources, and sizes in them."""

from __future__ import annotations

import re

import yaml

from tests.docker.conftest import DOCKER

COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
K8S = DOCKER / "k8s"
RESOURCES = [
    document for file in ("server.yaml", "gateway.yaml") for document in yaml.safe_load_all((K8S / file).read_text())
]
PODS = [document for document in RESOURCES if document["kind"] == "Deployment"]
UNITS = {"mb": 1 << 20, "gb": 1 << 30, "Mi": 1 << 20, "Gi": 1 << 30, "m": 1 << 20}


def amount(text: str) -> int:
    """Bytes, of a size in a compose file or a manifest; of a variable its default."""
    number, unit = re.findall(r"(\d+)([a-zA-Z]+)\}?$", text)[0]
    return int(number) * UNITS[unit]
