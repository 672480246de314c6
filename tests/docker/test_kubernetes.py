"""The Kubernetes resources follow their schema and name each other; pods are confined, and few may talk to them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.docker.container_files import K8S, PODS, RESOURCES


@pytest.mark.parametrize(
    "resource", RESOURCES, ids=lambda document: f"{document['kind']}-{document['metadata']['name']}"
)
def test_kubernetes_resources_follow_their_schema(resource: dict[str, Any]) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    validator.validate(resource, "1.33", strict=True)


def test_kubernetes_resources_name_each_other() -> None:
    assert {path.name for path in K8S.iterdir()} == {
        *yaml.safe_load((K8S / "kustomization.yaml").read_text())["resources"],
        "kustomization.yaml",
        "prometheus-adapter.yaml",
    }
    pods = {d["metadata"]["name"]: d["spec"]["template"] for d in RESOURCES if d["kind"] == "Deployment"}
    for document in RESOURCES:
        spec = document["spec"]
        if document["kind"] == "Service":
            (pod,) = (p for p in pods.values() if p["metadata"]["labels"] == spec["selector"])
            ports = {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}
            assert {port["targetPort"] for port in spec["ports"]} <= ports
        if document["kind"] == "HorizontalPodAutoscaler":
            assert spec["scaleTargetRef"]["name"] in pods
            metric = spec["metrics"][0]["pods"]["metric"]["name"]
            adapter = yaml.safe_load((K8S / "prometheus-adapter.yaml").read_text())
            assert [rule["name"]["as"] for rule in adapter["rules"]["custom"]] == [metric]
        if document["kind"] in ("PodDisruptionBudget", "NetworkPolicy"):
            selector = spec.get("selector") or spec["podSelector"]
            assert selector["matchLabels"] in [pod["metadata"]["labels"] for pod in pods.values()]


@pytest.mark.parametrize("resource", PODS, ids=lambda document: str(document["metadata"]["name"]))
def test_pods_are_confined(resource: dict[str, Any]) -> None:
    spec = resource["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
    assert all("sizeLimit" in volume["emptyDir"] for volume in spec["volumes"] if "emptyDir" in volume)


def test_each_pod_has_a_network_policy() -> None:
    policies = [document["spec"] for document in RESOURCES if document["kind"] == "NetworkPolicy"]
    for pod in PODS:
        labels = pod["spec"]["template"]["metadata"]["labels"]
        (policy,) = (spec for spec in policies if spec["podSelector"]["matchLabels"] == labels)
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert all(rule["from"] and rule["ports"] for rule in policy["ingress"])  # nobody is let in unnamed
        assert all(rule["to"] and rule["ports"] for rule in policy["egress"])
        ports = {
            port["name"] for container in pod["spec"]["template"]["spec"]["containers"] for port in container["ports"]
        }
        assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} <= ports


def test_the_gateway_may_call_the_server_it_is_told_of() -> None:
    (policy,) = (
        document["spec"]
        for document in RESOURCES
        if document["kind"] == "NetworkPolicy" and document["metadata"]["name"] == "maskserve-gateway"
    )
    server = next(pod for pod in PODS if pod["metadata"]["name"] == "maskserve-server")
    gateway = next(pod for pod in PODS if pod["metadata"]["name"] == "maskserve-gateway")
    (container,) = gateway["spec"]["template"]["spec"]["containers"]
    port = int(re.findall(r"--url=grpc://maskserve-server:(\d+)", str(container["args"]))[0])
    (rule,) = (
        rule
        for rule in policy["egress"]
        if rule["to"] == [{"podSelector": {"matchLabels": server["spec"]["template"]["metadata"]["labels"]}}]
    )
    assert {"port": port} in rule["ports"]
