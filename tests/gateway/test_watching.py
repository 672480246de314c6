"""What an operator sees: traces, the access log, metrics, the page's headers."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from maskserve_gateway import static_page as page
from maskserve_gateway.tracing import trace_headers
from tests.client.conftest import FakeTransport
from tests.gateway.conftest import PATH, Start, as_base64, encoded, listening

IMAGE = as_base64(encoded())
PARENT = f"00-{'1' * 32}-{'2' * 16}-01"
LOG_ID = "0f0e0d0c-0b0a-4908-8706-050403020100"


def test_a_callers_trace_goes_on_to_the_server(gateway: httpx.Client, transport: FakeTransport) -> None:
    headers = {"Traceparent": PARENT, "Tracestate": "vendor=1"}
    gateway.post(PATH, json={"image": IMAGE}, headers=headers)
    assert transport.requests[0][1].headers == {"traceparent": PARENT, "tracestate": "vendor=1"}


def test_without_one_a_trace_begins_whose_id_is_the_logid(gateway: httpx.Client, transport: FakeTransport) -> None:
    log_id = gateway.post(PATH, json={"image": IMAGE}).json()["logId"]
    assert transport.requests[0][1].headers["traceparent"].split("-")[1] == log_id.replace("-", "")


@pytest.mark.parametrize(
    "parent", ["", "00-1-2-01", PARENT.upper() + "x", f"00-{'0' * 32}-{'2' * 16}-01", "ff" + PARENT[2:], PARENT + "\n-"]
)
def test_damaged_contexts_do_not_go_on(parent: str) -> None:
    headers = trace_headers({"traceparent": parent, "tracestate": "vendor=1"}, LOG_ID)
    assert list(headers) == ["traceparent"]
    assert headers["traceparent"].startswith("00-0f0e0d0c0b0a49088706050403020100-")


@given(st.text(), st.text())
def test_whatever_comes_what_goes_on_is_a_header(parent: str, state: str) -> None:
    for headers in (trace_headers({"traceparent": parent, "tracestate": state}, LOG_ID),):
        assert all(value.isascii() and value.isprintable() for value in headers.values())


def test_the_access_log(gateway: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "maskserve.gateway.access"):
        log_id = gateway.post(PATH, json={"image": IMAGE}).json()["logId"]
        gateway.get("/a%0Ab%22")
        gateway.get("/health")  # the line of a request is written after its answer
    first, second = caplog.messages[:2]
    assert first.startswith(f"logId={log_id} client=127.0.0.1 method=POST path={PATH} status=200 ms=")
    assert f"trace=00-{log_id.replace('-', '')}-" in first
    assert "path='/a\\nb\"' status=404" in second


def test_metrics(gateway: httpx.Client) -> None:
    for image in (IMAGE, IMAGE, "?"):
        gateway.post(PATH, json={"image": image})
    gateway.get("/no/such/path")
    response = gateway.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = response.text.splitlines()
    for line in (
        f'maskserve_gateway_requests_total{{route="{PATH}",status="200"}} 2.0',
        f'maskserve_gateway_requests_total{{route="{PATH}",status="400"}} 1.0',
        'maskserve_gateway_requests_total{route="other",status="404"} 1.0',
        f'maskserve_gateway_request_seconds_count{{route="{PATH}"}} 3.0',
        "maskserve_gateway_instances_total 2.0",
        "maskserve_gateway_in_flight 0.0",
    ):
        assert line in lines


_WORKER = """
import sys
from maskserve_gateway.request_metrics import Metrics
metrics = Metrics()
metrics.answered("/health", 200, 0.1)
with metrics.under_way():
    if sys.argv[1:]:
        print(metrics.render().decode())
        sys.exit()
    import os
    os._exit(0)
"""


def test_metrics_of_several_processes_are_summed_and_the_dead_have_nothing_in_flight(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for arguments in ((), ("render",)):
        command = [sys.executable, "-W", "error", "-c", _WORKER, *arguments]
        output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    assert 'maskserve_gateway_requests_total{route="/health",status="200"} 2.0' in output
    assert "maskserve_gateway_in_flight 1.0" in output


def test_the_page_may_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>hello")
    (tmp_path / "main.js").write_text("export {};")
    app = FastAPI()
    page.mount(app, tmp_path)
    with listening(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        for path, kind in (("/", "text/html"), ("/page/index.html", "text/html"), ("/page/main.js", "text/javascript")):
            response = client.get(path)
            assert (response.status_code, response.headers["content-type"].split(";")[0]) == (200, kind)
            policy = response.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; ")
            assert "unsafe" not in policy
            assert "http" not in policy
            assert response.headers["x-content-type-options"] == "nosniff"
        assert client.get("/page/..%2f..%2fapp.py").status_code == 404


def test_a_gateway_without_a_page(start: Start) -> None:
    assert start(page=False).get("/").status_code == 404
