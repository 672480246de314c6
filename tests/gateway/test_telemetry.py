"""Traces from a caller through the gateway and the client to Triton, with a collector in the process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.tools.embedded.conftest import needs_triton

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

_PROGRAM = """
import asyncio, http.server, json, os, sys, threading
spans = []
class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        import gzip
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if "json" in self.headers["Content-Type"]:  # as Triton sends it
            for resource in json.loads(body)["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    for span in scope["spans"]:
                        spans.append({"name": span["name"], "trace": span["traceId"], "id": span["spanId"],
                                      "parent": span.get("parentSpanId", "")})
            body = b""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = {each.key: each.value.string_value for each in resource.resource.attributes}["service.name"]
            for scope in resource.scope_spans:
                for span in scope.spans:
                    spans.append({"service": service, "name": span.name, "trace": span.trace_id.hex(),
                                  "id": span.span_id.hex(), "parent": span.parent_span_id.hex(), "kind": span.kind,
                                  "attributes": {a.key: a.value.string_value or a.value.int_value
                                                 for a in span.attributes}})
        self.send_response(200); self.end_headers()
    def log_message(self, *words): pass
collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
threading.Thread(target=collector.serve_forever, daemon=True).start()
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{collector.server_port}"
os.environ["MASKSERVE_DECODERS"] = "0"
"""
_GATEWAY = """
import httpx
from maskserve_gateway.app import create_app
from maskserve_gateway.settings import Settings
from tests.client.conftest import FakeTransport
from tests.gateway.conftest import PATH, as_base64, encoded, listening
transport = FakeTransport()
app = create_app(Settings(urls=("grpc://192.0.2.1:1",), model="tiny"), transport)
with listening(app) as url:
    for headers in ({"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "tracestate": "v=1"}, {}):
        body = {"image": as_base64(encoded()), "visualize": False}
        assert httpx.post(url + PATH, json=body, headers=headers, trust_env=False).status_code == 200
    assert httpx.get(url + "/metrics", trust_env=False).status_code == 200
sent = [dict(request.headers) for _, request in transport.requests]
print(json.dumps({"spans": spans, "sent": sent}))
"""
_CLIENT = """
import numpy as np
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from maskserve.async_pipeline import AsyncPipeline
from maskserve.pipeline import Pipeline
from tests.client.conftest import FakeTransport
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
transport = FakeTransport()
pipeline = Pipeline("tiny", transport)
image = np.full((6, 8, 3), 200, np.uint8)
async def asynchronously():
    return [result async for result in AsyncPipeline(pipeline).predict(image)]
with trace.get_tracer("test").start_as_current_span("mine"):
    assert len(list(pipeline.predict([image, image]))) == 2
    pipeline.segment(image)
    assert len(asyncio.run(asynchronously())) == 1
provider.shutdown()
print(json.dumps({"spans": spans, "sent": [dict(request.headers) for _, request in transport.requests]}))
"""

_TRITON = """
import time
from maskserve.pipeline import Pipeline
from maskserve.transport.connect import open_transport
from maskserve.transport.endpoint import parse_url
from maskserve_tools import serve
address = os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] + "/v1/traces"
words = ("mode=opentelemetry", f"opentelemetry,url={address}", "rate=1", "level=TIMESTAMPS")
with serve(sys.argv[1], models="people-single", restart=False,
           options=[f"--trace-config={word}" for word in words]) as server:
    with Pipeline("people-single", open_transport(parse_url(server.grpc_url))) as pipeline:
        for result in pipeline.predict("demo/photos/astronaut.jpg", headers={"traceparent": sys.argv[2]}):
            assert len(result.instances)
    deadline = time.monotonic() + 30
    while not any(span["trace"] in sys.argv[2] for span in spans):
        assert time.monotonic() < deadline, spans
        time.sleep(0.1)
print(json.dumps({"spans": spans}))
"""


def run(program: str, *arguments: str) -> dict[str, Any]:
    line = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_trace_goes_through_the_gateway_to_triton() -> None:
    found = run(_PROGRAM + _GATEWAY)
    served = [span for span in found["spans"] if span["name"] == "POST /instance-segmentation"]
    served.sort(key=lambda span: span["parent"] == "")
    asked = {span["trace"]: span for span in found["spans"] if span["name"] == "maskserve.segment"}
    assert len(served) == len(asked) == 2
    parents = {span["id"]: span["parent"] for span in found["spans"]}
    assert {span["service"] for span in found["spans"]} == {"maskserve-gateway"}
    assert (served[0]["trace"], served[0]["parent"], served[0]["kind"]) == ("a" * 32, "b" * 16, 2)
    assert served[1]["parent"] == ""  # a trace begins here
    assert served[0]["attributes"]["http.response.status_code"] == 200
    for span, headers in zip(served, found["sent"], strict=True):
        request = asked[span["trace"]]
        above = request["parent"]
        while above != span["id"]:  # newer releases of FastAPI have spans of their own between
            above = parents[above]
        assert request["kind"] == 3
        assert request["attributes"]["maskserve.model"] == "tiny"
        assert headers["traceparent"][:-3] == f"00-{span['trace']}-{request['id']}"
        assert int(headers["traceparent"][-2:], 16) & 1  # it is recorded
    assert found["sent"][0]["tracestate"] == "v=1"


def test_the_client_is_part_of_its_programs_trace() -> None:
    found = run(_PROGRAM + _CLIENT)
    (mine,) = [span for span in found["spans"] if span["name"] == "mine"]
    asked = [span for span in found["spans"] if span["name"] == "maskserve.segment"]
    assert len(asked) == 4  # whichever thread asked
    assert {(span["parent"], span["trace"]) for span in asked} == {(mine["id"], mine["trace"])}
    sent = {headers["traceparent"][:-3] for headers in found["sent"]}
    assert sent == {f"00-{span['trace']}-{span['id']}" for span in asked}


@needs_triton
def test_triton_goes_on_with_the_trace(demo_repository: Path) -> None:
    """By its own trace mode, whose flags the embedded server passes on."""
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    found = run(_PROGRAM + _TRITON, str(demo_repository), parent)
    ours = [span for span in found["spans"] if span["trace"] == "a" * 32]
    assert "b" * 16 in {span["parent"] for span in ours}
    names = {span["name"] for span in ours}
    assert {"InferRequest", "people-single", "compute"} <= names, names


def test_without_opentelemetry_nothing_is_imported_or_sent() -> None:
    program = """
import json, sys
import numpy as np
from maskserve.pipeline import Pipeline
from tests.client.conftest import FakeTransport
transport = FakeTransport()
list(Pipeline("tiny", transport).predict(np.zeros((6, 8, 3), np.uint8), headers={"traceparent": "mine"}))
assert "opentelemetry" not in sys.modules
print(json.dumps({"sent": [dict(request.headers) for _, request in transport.requests]}))
"""
    assert run(program)["sent"] == [{"traceparent": "mine"}]


def test_a_gateway_without_the_extra_says_so_and_serves() -> None:
    program = """
import json, logging, os, sys
sys.modules["opentelemetry.sdk"] = None
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
said = []
logging.getLogger("maskserve.gateway").addHandler(logging.Handler())
logging.getLogger("maskserve.gateway").handlers[0].emit = lambda record: said.append(record.getMessage())
from maskserve_gateway.telemetry import Telemetry
telemetry = Telemetry()
with telemetry.request("POST", "/instance-segmentation", {}) as span:
    assert span is None
print(json.dumps({"said": said}))
"""
    (line,) = run(program)["said"]
    assert line.endswith('pip install "maskserve[gateway,otel]"')
