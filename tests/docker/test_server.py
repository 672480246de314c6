"""What the image's start and health check do, shown on a real tritonserver."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from maskserve import create_pipeline
from tests.conftest import DEMO
from tests.docker.conftest import ADMIN_KEY, DOCKER, UNKNOWN_TO_EMBEDDED, Container, load, start_container
from tests.docker.scraping import Series, scrape

promql = pytest.importorskip("promql_parser", reason="reading PromQL needs promql-parser")
START = load(DOCKER / "start.py")
DASHBOARD = json.loads((DOCKER / "grafana" / "dashboards" / "maskserve.json").read_text(encoding="utf-8"))


def known_flags(container: Container) -> set[str]:
    import subprocess

    line = [*START.command({})[:1], "--help"]
    text = subprocess.run(
        line, env=dict(container.environment), capture_output=True, text=True, check=False, encoding="utf-8"
    )
    return set(re.findall(r"^\s*--([a-z0-9-]+)", text.stdout + text.stderr, re.MULTILINE))


def test_tritonserver_knows_every_flag(container: Container) -> None:
    known = known_flags(container)
    assert "model-repository" in known
    for environment in ({}, {"MASKSERVE_GPU": "1"}):
        flags = {word[2:].partition("=")[0] for word in START.command(environment)[1:]}
        assert flags - known == set(UNKNOWN_TO_EMBEDDED)


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_clients_are_served(container: Container, two_people: Path, scheme: str) -> None:
    url = container.grpc_url if scheme == "grpc" else container.http_url
    (result,) = create_pipeline(DEMO, url=url).predict(str(two_people))
    assert len(result["boxes"]) >= 2


CLOSED = (
    ("POST", "/v2/repository/index"),
    ("POST", f"/v2/repository/models/{DEMO}/unload"),
    ("GET", "/v2/systemsharedmemory/status"),
    ("POST", "/v2/systemsharedmemory/region/mine/register"),
    ("GET", "/v2/trace/setting"),
    ("GET", "/v2/logging"),
)


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_what_no_client_needs_is_closed(container: Container, method: str, path: str) -> None:
    with httpx.Client(base_url=container.http_url, trust_env=False) as client:
        assert client.request(method, path, headers={"Connection": "close"}).status_code == 403
        wrong = {START.KEY_HEADER: ADMIN_KEY + "x", "Connection": "close"}
        assert client.request(method, path, headers=wrong).status_code == 403


def test_the_admin_key_opens_it(container: Container) -> None:
    headers = {START.KEY_HEADER: ADMIN_KEY, "Connection": "close"}
    answer = httpx.post(f"{container.http_url}/v2/repository/index", headers=headers, trust_env=False)
    assert DEMO in {model["name"] for model in answer.json()}


def test_it_is_closed_over_grpc_too(container: Container) -> None:
    from tritonclient import grpc
    from tritonclient.utils import InferenceServerException

    with grpc.InferenceServerClient(container.grpc_url.removeprefix("grpc://")) as client:
        for call in (
            client.get_model_repository_index,
            client.get_system_shared_memory_status,
            client.get_log_settings,
        ):
            with pytest.raises(InferenceServerException, match="restricted"):
                call()
        client.get_model_config(DEMO)


def test_nobody_can_load_models_even_with_the_key(container: Container) -> None:
    headers = {START.KEY_HEADER: ADMIN_KEY, "Connection": "close"}
    answer = httpx.post(f"{container.http_url}/v2/repository/models/{DEMO}/unload", headers=headers, trust_env=False)
    assert answer.status_code == 503
    assert "explicit" in answer.text


def test_without_a_key_one_is_drawn() -> None:
    def key(environment: dict[str, str]) -> str:
        flag = next(word for word in START.command(environment) if word.startswith("--http-restricted-api"))
        return flag.rpartition("=")[2]

    assert key({}) != key({})
    assert len(key({})) == 32
    assert key({"MASKSERVE_ADMIN_KEY": "mine"}) == "mine"


def expressions() -> Iterator[tuple[str, str]]:
    """Every PromQL expression that we ship, with where it is."""
    import yaml

    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"].replace("$__rate_interval", "1m")
    for variable in DASHBOARD["templating"]["list"]:
        yield f"variable {variable['name']}", re.sub(r"label_values\((.*), \w+\)", r"\1", variable["query"]["query"])
    for group in yaml.safe_load((DOCKER / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]
    for document in yaml.safe_load_all((DOCKER / "k8s" / "prometheus-adapter.yaml").read_text(encoding="utf-8")):
        for rule in document["rules"]["custom"]:
            yield (
                "adapter",
                re.sub(r"<<\.LabelMatchers>>", 'pod="x"', rule["metricsQuery"]).replace("<<.GroupBy>>", "pod"),
            )


def selectors(expression: Any) -> Iterator[Any]:
    """The vector selectors in a parsed expression."""
    if isinstance(expression, promql.VectorSelector):
        yield expression
    elif isinstance(expression, promql.MatrixSelector):
        yield expression.vector_selector
    elif isinstance(expression, promql.Call):
        for argument in expression.args:
            yield from selectors(argument)
    elif isinstance(expression, promql.BinaryExpr):
        yield from selectors(expression.lhs)
        yield from selectors(expression.rhs)
    elif isinstance(expression, (promql.AggregateExpr, promql.ParenExpr, promql.SubqueryExpr)):
        yield from selectors(expression.expr)


def test_every_expression_asks_for_what_there_is(container: Container, two_people: Path) -> None:
    seen = {name: labels for name, labels in [*_labels(_gateway(container, two_people)), *_labels(_server(container))]}
    seen["up"] = {"job"}  # Prometheus' own
    asked = 0
    for where, text in expressions():
        for selector in selectors(promql.parse(text)):
            asked += 1
            assert selector.name in seen, f"{where} asks for {selector.name}"
            wanted = {matcher.name for matcher in selector.matchers.matchers} - {"pod"}
            assert wanted <= seen[selector.name], f"{where}: {selector.name} has {seen[selector.name]}"
    assert asked >= 25


def _server(container: Container) -> Series:
    return scrape(f"http://127.0.0.1:{container.metrics_port}/metrics")


def _gateway(container: Container, image: Path) -> Series:
    """What a gateway in front of the server says, after one request."""
    import base64

    from maskserve_gateway.app import create_app
    from maskserve_gateway.settings import Settings
    from tests.gateway.conftest import PATH, listening

    with listening(create_app(Settings(urls=(container.grpc_url,), model=DEMO))) as url:
        body = {"image": base64.b64encode(image.read_bytes()).decode(), "visualize": False}
        assert httpx.post(url + PATH, json=body, timeout=30, trust_env=False).status_code == 200
        return scrape(f"{url}/metrics")


def _labels(series: Series) -> Iterator[tuple[str, set[str]]]:
    for name, labels in series:
        yield name, {label for label, _ in labels}


def test_without_a_supervisor_a_model_whose_process_died_is_noticed_and_ends_the_server(
    demo_repository: Path, tmp_path: Path
) -> None:
    import os
    import signal

    from maskserve_tools.embedded import session

    pytest.importorskip("pytriton", reason="the embedded server needs nvidia-pytriton", exc_type=ImportError)
    with start_container(demo_repository, tmp_path, supervised=False) as container:
        for process in session.members(container.process.pid):
            if f"{DEMO}.core" in Path(f"/proc/{process.pid}/cmdline").read_text(encoding="utf-8"):
                os.kill(process.pid, signal.SIGKILL)
        with urllib.request.urlopen(f"{container.http_url}/v2/health/ready", timeout=10) as answer:
            assert answer.status == 200  # Triton has noticed nothing
        stopping = ("--stop-after=2", f"--server-pid={container.process.pid}")
        first = container.check_health(*stopping)
        assert (first.returncode, f"{DEMO} fails at a test image" in first.stderr) == (1, True)
        assert container.process.poll() is None
        assert container.check_health(*stopping).returncode == 1
        container.process.wait(60)
