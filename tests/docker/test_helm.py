"""The chart in docker/helm: by default it renders docker/k8s, and it refuses values that cannot work."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskserve_tools.cli import build_parser
from tests.conftest import ROOT
from tests.docker.conftest import DOCKER
from tests.docker.helm import CHART, NAMESPACE, HelmRefusal, default_values, helm, merged, render

MANIFESTS = {
    (document["kind"], document["metadata"]["name"]): document
    for file in ("server.yaml", "gateway.yaml")
    for document in yaml.safe_load_all((DOCKER / "k8s" / file).read_text(encoding="utf-8"))
}
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
COLLECTOR = {"endpoint": "http://collector.observability:4318/", "namespace": "observability", "everyNth": 1000000}
EVERYTHING: dict[str, Any] = {
    "imagePullSecrets": ["pull"],
    "server": {
        "image": {"digest": "sha256:" + "a" * 64},
        "resources": {"limits": {"nvidia.com/gpu": 1}},
        "autoscaling": {"enabled": False},
        "replicas": 3,
        "startSeconds": 605,
        "extraArgs": ["--log-verbose=1"],
        "env": [{"name": "MASKSERVE_THREADS", "value": "2"}],
        "nodeSelector": {"gpu": "yes"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "podLabels": {"team": "vision", "app.kubernetes.io/name": "something-else"},
        "podAnnotations": {"note": "a: b"},
    },
    "gateway": {"models": ["people", "dogs"], "apiKey": {"secretName": "keys", "required": True}},
    "networkPolicy": {"gatewayEgress": [{"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"port": 443}]}]},
    "ingress": {"enabled": True, "host": "masks.example.org", "tlsSecretName": "tls"},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "tracing": COLLECTOR,
}


def pod(document: Mapping[str, Any]) -> Any:
    return document["spec"]["template"]["spec"]


def container(document: Mapping[str, Any]) -> Any:
    (only,) = pod(document)["containers"]
    return only


def test_the_chart_has_the_product_s_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    assert chart["appVersion"] == version


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_helm_lints_the_chart(values: dict[str, Any], tmp_path: Path) -> None:
    helm("lint", values, tmp_path)


def test_the_defaults_render_the_manifests(tmp_path: Path) -> None:
    """Each object in whole. Only the namespace, further labels and the pull policy come on top."""
    rendered = render({}, tmp_path)
    assert rendered.keys() == MANIFESTS.keys()
    for key, manifest in MANIFESTS.items():
        document = rendered[key]
        assert document["metadata"].pop("namespace") == NAMESPACE
        labels = document["metadata"].pop("labels")
        assert labels["app.kubernetes.io/instance"] == "maskserve"
        assert manifest["metadata"].get("labels", {}).items() <= labels.items(), key
        if document["kind"] == "Deployment":
            assert container(document).pop("imagePullPolicy") == "IfNotPresent"
        bare = {name: value for name, value in manifest["metadata"].items() if name != "labels"}
        assert document == {**manifest, "metadata": bare}, key


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_what_is_rendered_follows_the_schemas_of_kubernetes(values: dict[str, Any], tmp_path: Path) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for (kind, _), document in render(values, tmp_path).items():
        if kind != "ServiceMonitor":  # of the Prometheus Operator
            validator.validate(document, "1.33", strict=True)


def test_values_reach_the_server(tmp_path: Path) -> None:
    rendered = render(EVERYTHING, tmp_path)
    server = rendered["Deployment", "maskserve-server"]
    assert server["spec"]["replicas"] == 3
    assert ("HorizontalPodAutoscaler", "maskserve-server") not in rendered
    assert container(server)["image"] == "registry.example.org/maskserve-server@sha256:" + "a" * 64
    assert container(server)["resources"]["limits"] == {"cpu": "4", "memory": "6Gi", "nvidia.com/gpu": 1}
    assert container(server)["startupProbe"]["failureThreshold"] == 61
    assert container(server)["env"] == [{"name": "MASKSERVE_THREADS", "value": "2"}]
    assert container(server)["args"] == [
        "--trace-config=mode=opentelemetry",
        "--trace-config=rate=1000000",
        "--trace-config=level=TIMESTAMPS",
        "--trace-config=opentelemetry,url=http://collector.observability:4318/v1/traces",
        "--log-verbose=1",
    ]
    assert pod(server)["nodeSelector"] == {"gpu": "yes"}
    assert pod(server)["tolerations"] == EVERYTHING["server"]["tolerations"]
    assert pod(server)["imagePullSecrets"] == [{"name": "pull"}]
    metadata = server["spec"]["template"]["metadata"]
    assert metadata["labels"] == {"app.kubernetes.io/name": "maskserve-server", "team": "vision"}
    assert metadata["annotations"] == {"note": "a: b"}  # the ServiceMonitor scrapes


def test_values_reach_the_gateway(tmp_path: Path) -> None:
    rendered = render(EVERYTHING, tmp_path)
    gateway = container(rendered["Deployment", "maskserve-gateway"])
    assert gateway["args"] == [
        "--url=grpc://maskserve-server:8001",
        "--model=people",
        "--model=dogs",
        "--allow-host=masks.example.org",
    ]
    build_parser().parse_args(["gateway", *gateway["args"]])
    key, endpoint = gateway["env"]
    assert key["valueFrom"]["secretKeyRef"] == {"name": "keys", "key": "api-key", "optional": False}
    assert endpoint == {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": COLLECTOR["endpoint"]}


def test_the_ingress_opens_what_clients_call(tmp_path: Path) -> None:
    ingress = render(EVERYTHING, tmp_path)["Ingress", "maskserve-gateway"]
    assert ingress["spec"]["tls"] == [{"hosts": ["masks.example.org"], "secretName": "tls"}]
    (rule,) = ingress["spec"]["rules"]
    assert rule["host"] == "masks.example.org"
    paths = {entry["path"]: entry["backend"]["service"] for entry in rule["http"]["paths"]}
    assert set(paths) == {"/instance-segmentation", "/models", "/info"}  # /metrics stays inside
    assert all(service == {"name": "maskserve-gateway", "port": {"name": "http"}} for service in paths.values())


def test_service_monitors_scrape_ports_that_there_are(tmp_path: Path) -> None:
    rendered = render(EVERYTHING, tmp_path)
    for name, port in (("maskserve-server", "metrics"), ("maskserve-gateway", "http")):
        monitor = rendered["ServiceMonitor", name]
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        assert monitor["spec"]["endpoints"] == [{"port": port, "path": "/metrics", "interval": "15s"}]
        service = rendered["Service", name]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert port in {entry["name"] for entry in service["spec"]["ports"]}


@pytest.mark.parametrize(
    ("endpoint", "port"), [("http://a.b:4318", 4318), ("https://a.b/otlp", 443), ("http://a.b", 80)]
)
def test_spans_pass_the_network_policies(endpoint: str, port: int, tmp_path: Path) -> None:
    rendered = render({"tracing": {**COLLECTOR, "endpoint": endpoint}}, tmp_path)
    to_collector = {
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "observability"}}}],
        "ports": [{"port": port}],
    }
    for name in ("maskserve-server", "maskserve-gateway"):
        egress = rendered["NetworkPolicy", name]["spec"]["egress"]
        assert to_collector in egress
        assert [rule for rule in egress if {"port": 53, "protocol": "UDP"} in rule["ports"]]


def test_two_releases_share_nothing(tmp_path: Path) -> None:
    names = [{name for _, name in render({}, tmp_path, release)} for release in ("people", "dogs")]
    assert names[0] == {"people-maskserve-server", "people-maskserve-gateway"}
    assert not names[0] & names[1]
    text = json.dumps(list(render({}, tmp_path, "people").values()), default=str).replace("people-maskserve-", "")
    assert set(re.findall(r'"maskserve-[a-z]+', text)) == {'"maskserve-client', '"maskserve-models'}
    for override, name in ({"fullnameOverride": "masks"}, "masks"), ({"nameOverride": "masks"}, "people-masks"):
        named = {name for _, name in render(override, tmp_path, "people")}
        assert named == {f"{name}-server", f"{name}-gateway"}
    longest = render({}, tmp_path, "r" * 53)  # the longest that Helm takes
    assert max(len(name) for _, name in longest) <= 63


def test_a_server_without_the_gateway(tmp_path: Path) -> None:
    rendered = render({"gateway": {"enabled": False}, "serviceMonitor": {"enabled": True}}, tmp_path)
    assert {name for _, name in rendered} == {"maskserve-server"}
    assert "maskserve-gateway" not in str(rendered)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no server image": ({"server": {"image": {"repository": ""}}}, "/server/image/repository"),
    "no gateway image": ({"gateway": {"image": {"repository": None}}}, "/gateway/image"),
    "no tag and no digest": ({"server": {"image": {"tag": ""}}}, "/server/image"),
    "a space in the name": ({"server": {"image": {"repository": "a b"}}}, "/server/image/repository"),
    "a tag that is a number": ({"server": {"image": {"tag": 26.07}}}, "/server/image/tag"),
    "half a digest": ({"gateway": {"image": {"digest": "sha256:abc"}}}, "/gateway/image/digest"),
    "0 replicas": ({"gateway": {"replicas": 0}}, "/gateway/replicas"),
    "0 replicas of the server": ({"server": {"replicas": 0}}, "/server/replicas"),
    "autoscaler from 0": ({"server": {"autoscaling": {"minReplicas": 0}}}, "/server/autoscaling/minReplicas"),
    "replicas in words": ({"gateway": {"replicas": "two"}}, "/gateway/replicas"),
    "unknown at the top": ({"replicaCount": 2}, "replicaCount"),
    "unknown below": ({"server": {"replica": 2}}, "replica"),
    "unknown deep below": ({"server": {"resources": {"limit": {"cpu": 1}}}}, "limit"),
    "no limit of memory": ({"gateway": {"resources": {"limits": {"memory": None}}}}, "/gateway/resources/limits"),
    "no quantity": ({"server": {"shmSize": "1 GB"}}, "/server/shmSize"),
    "no models": ({"gateway": {"models": []}}, "/gateway/models"),
    "a word that is no flag": ({"server": {"extraArgs": ["log-verbose"]}}, "/server/extraArgs/0"),
    "an ingress without a host": ({"ingress": {"enabled": True}}, "/ingress/host"),
    "an ingress of an address": (
        {"ingress": {"enabled": True, "host": "https://a.example.org"}},
        "/ingress/host",
    ),
    "an endpoint without a scheme": ({"tracing": {"endpoint": "collector:4318"}}, "/tracing/endpoint"),
    "no claim": ({"server": {"models": {"existingClaim": ""}}}, "/server/models/existingClaim"),
}
CROSSED: dict[str, tuple[dict[str, Any], str]] = {
    "fewer than the fewest": (
        {"server": {"autoscaling": {"minReplicas": 4, "maxReplicas": 3}}},
        "server.autoscaling.maxReplicas is 3, fewer than minReplicas, which is 4: raise",
    ),
    "an ingress to nothing": (
        {"gateway": {"enabled": False}, "ingress": {"enabled": True, "host": "a.example.org"}},
        "ingress.enabled needs the gateway",
    ),
    "spans that no policy lets out": (
        {"tracing": {"endpoint": "http://collector:4318"}},
        "tracing.endpoint needs tracing.namespace",
    ),
}


@pytest.mark.parametrize(("values", "named"), BAD.values(), ids=BAD)
def test_the_schema_refuses_bad_values(values: dict[str, Any], named: str) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    validator = jsonschema.Draft7Validator(SCHEMA)
    errors = list(validator.iter_errors(merged(default_values(), values)))
    assert len(errors) == 1
    (error,) = errors
    assert named in "/" + "/".join(map(str, error.absolute_path)) + f" {error.message}"


@pytest.mark.parametrize(
    "values",
    [{}, EVERYTHING, {"global": {"anything": 1}}, {"ingress": {"enabled": True, "host": "*.example.org"}}],
    ids=["defaults", "everything", "global", "wildcard"],
)
def test_the_schema_lets_good_values_in(values: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.Draft7Validator(SCHEMA).validate(merged(default_values(), values))


@pytest.mark.parametrize(("values", "named"), (BAD | CROSSED).values(), ids=BAD | CROSSED)
def test_helm_refuses_bad_values(values: dict[str, Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(HelmRefusal) as refusal:
        render(values, tmp_path)
    said = str(refusal.value)
    words = [named, named.strip("/").replace("/", ".")]  # Helm before 3.18 writes a.b.c
    assert any(word in said for word in words), said
