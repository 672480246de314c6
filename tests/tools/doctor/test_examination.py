"""A running server is examined, over servers that answer as Triton does."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import pytest

from maskserve.transport.endpoint import parse_url
from maskserve_tools.doctor import exposure
from maskserve_tools.doctor.examination import examine_server
from maskserve_tools.doctor.finding import Level
from maskserve_tools.doctor.probe import (
    LIVE,
    LOGGING,
    METADATA,
    READY,
    REPOSITORY,
    SHARED_MEMORY,
    TRACE,
    Outcome,
    Question,
    open_probe,
)
from tests.tools.doctor.conftest import only

QUESTIONS = (LIVE, READY, METADATA, REPOSITORY, SHARED_MEMORY, TRACE, LOGGING)


@dataclass
class Triton:
    """A server that answers every status call, but for `refused` APIs; it counts what is asked."""

    refused: frozenset[str] = frozenset()
    ready: bool = True
    asked: list[str] = field(default_factory=list)

    def outcome(self, question: Question) -> Outcome:
        self.asked.append(question.api)
        if question.api in self.refused:
            return Outcome.REFUSED
        return Outcome.NO if question == READY and not self.ready else Outcome.ANSWERED


class Handler(http.server.BaseHTTPRequestHandler):
    triton: Triton

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/metrics":
            return self.reply(200, 'nv_inference_count{model="seg",version="1"} 3\n')
        matching = [q for q in QUESTIONS if (q.method, q.path) == (self.command, self.path)]
        outcome = self.triton.outcome(matching[0]) if matching else Outcome.NO
        status = {Outcome.ANSWERED: 200, Outcome.REFUSED: 403, Outcome.NO: 400}[outcome]
        content = {"/v2": {"version": "2.71.0"}, "/v2/repository/index": []}
        self.reply(status, json.dumps(content[self.path]) if self.path in content else "")

    do_GET = do_POST = answer

    def reply(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def over_http() -> Iterator[tuple[str, Triton]]:
    triton = Triton()
    handler = type("BoundHandler", (Handler,), {"triton": triton})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", triton
        server.shutdown()
        thread.join()


@pytest.fixture
def over_grpc() -> Iterator[tuple[str, Triton]]:
    import grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    triton = Triton()

    def method(question: Question) -> Callable[[Any, Any], Any]:
        def answer(request: Any, context: Any) -> Any:
            assert not request.ListFields()  # a field would set something
            outcome = triton.outcome(question)
            if outcome is Outcome.REFUSED:
                context.abort(grpc.StatusCode.UNAVAILABLE, "This protocol is restricted, expecting header 'triton-x'")
            fields: dict[str, dict[str, Any]] = {
                "ServerLive": {"live": True},
                "ServerReady": {"ready": outcome is Outcome.ANSWERED},
            }
            fields["ServerMetadata"] = {"version": "2.71.0"}
            return getattr(service_pb2, f"{question.call}Response")(**fields.get(question.call, {}))

        return answer

    servicer = service_pb2_grpc.GRPCInferenceServiceServicer()
    for question in QUESTIONS:
        setattr(servicer, question.call, method(question))
    server = grpc.server(futures.ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"grpc://127.0.0.1:{port}", triton
    server.stop(None).wait()


@pytest.fixture(params=["http", "grpc"])
def patient(request: pytest.FixtureRequest) -> tuple[str, Triton]:
    """A server's URL, and the server."""
    made: tuple[str, Triton] = request.getfixturevalue(f"over_{request.param}")
    return made


def test_every_question_is_answered_over_both_protocols(patient: tuple[str, Triton]) -> None:
    probe = open_probe(parse_url(patient[0]))
    assert {question: probe.ask(question).outcome for question in QUESTIONS} == dict.fromkeys(
        QUESTIONS, Outcome.ANSWERED
    )
    assert exposure.server_version(probe) == (2, 71, 0)
    probe.close()


def test_a_server_that_keeps_its_models_secret_wants_them_named(patient: tuple[str, Triton]) -> None:
    url, triton = patient
    triton.refused = frozenset({"model-repository", "shared-memory", "trace", "logging"})
    triton.ready = False
    found = {finding.what: finding.level for finding in examine_server(parse_url(url), [], url, 5).findings}
    assert found["it calls itself not ready"] is Level.PROBLEM
    assert found["its models are not known"] is Level.UNKNOWN
    assert len([what for what in found if "requires a key" in what]) == 4


def test_nobody_there_ends_the_examination() -> None:
    for url in ("http://127.0.0.1:1", "grpc://127.0.0.1:1"):
        assert only(list(examine_server(parse_url(url), [], None, 5).findings)).level is Level.UNKNOWN


def test_metrics(over_http: tuple[str, Triton]) -> None:
    url = f"{over_http[0]}/metrics"
    check = exposure.check_metrics
    assert check(url, ["seg"], only_local=True, timeout=5).level is Level.OK
    assert check(url, ["seg"], only_local=False, timeout=5).level is Level.WARNING
    assert "not this server's" in check(url, ["other"], only_local=True, timeout=5).what
    assert "no metrics" in check("http://127.0.0.1:1/metrics", ["seg"], only_local=True, timeout=5).what
