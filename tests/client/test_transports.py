"""The transports against small servers that speak the inference protocol."""

import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent import futures
from dataclasses import dataclass, field

import pytest

from maskserve import create_pipeline
from maskserve._transport import open_transport, parse_url
from maskserve._wire import ImageRequest, Tensor
from maskserve.contract import PARAMETER_LABELS
from maskserve.errors import (
    ImageTooLarge,
    InferenceFailed,
    InvalidImage,
    InvalidParameter,
    ModelNotFound,
    ModelNotReady,
    RequestTimeout,
    ServerError,
    ServerUnavailable,
)

CONFIG = {"name": "tiny", "parameters": {PARAMETER_LABELS: {"string_value": '["person", "bicycle", "car"]'}}}
INDEX = [("tiny", "READY", ""), ("tiny.core", "READY", ""), ("broken", "UNAVAILABLE", "no such file: weights")]
# Model names that make the server refuse, with the gRPC status, the HTTP status and the text that Triton has for it.
REFUSALS = {
    "hostile": ("INVALID_ARGUMENT", 400, "in ensemble 'hostile', [invalid_image] the file is damaged"),
    "crowded": ("UNAVAILABLE", 503, "[request id: 1] Exceeds maximum queue size"),
    "late": ("UNAVAILABLE", 503, "Request timeout expired"),
    "dead": ("INTERNAL", 500, "Stub process 'dead_0' is not healthy."),
    "odd": ("INTERNAL", 500, "something else"),
    "large": ("RESOURCE_EXHAUSTED", 413, "too large"),
    "secret": ("PERMISSION_DENIED", 403, "not for you"),
    "broken": ("NOT_FOUND", 404, "Request for unknown model: 'broken' has no available versions"),
    "nope": ("NOT_FOUND", 404, "Request for unknown model: 'nope' is not found"),
}


class Refused(Exception):
    pass


@dataclass
class Service:
    """What both servers do, and what was asked of them."""

    answer: object
    headers: list = field(default_factory=list)
    connections: int = 0
    hold: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def infer(self, model, image):
        if model in REFUSALS:
            raise Refused(model)
        if model == "slow":
            self.hold.wait(20)
        if model == "strange":
            return [Tensor("SCORES", "FP32", (3,), b"\0")]
        return self.answer(ImageRequest(image))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.server.service.connections += 1

    def do_GET(self):
        self.reply(200, json.dumps(CONFIG).encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v2/repository/index":
            return self.reply(200, json.dumps([dict(zip(("name", "state", "reason"), m, strict=True)) for m in INDEX]))
        self.server.service.headers.append(dict(self.headers))
        head = int(self.headers["Inference-Header-Content-Length"])
        size = json.loads(body[:head])["inputs"][0]["parameters"]["binary_data_size"]
        try:
            tensors = self.server.service.infer(self.path.split("/")[3], body[head + 4 : head + size])
        except Refused as refused:
            _, status, text = REFUSALS[str(refused)]
            return self.reply(status, json.dumps({"error": text}))
        outputs = [
            {"name": t.name, "datatype": t.datatype, "shape": t.shape, "parameters": {"binary_data_size": len(t.data)}}
            for t in tensors
        ]
        header = json.dumps({"outputs": outputs}).encode()
        length = {"Inference-Header-Content-Length": str(len(header))}
        return self.reply(200, header + b"".join(t.data for t in tensors), length)

    def reply(self, status, body, headers=None):
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class QuietServer(http.server.ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, *_):
        pass  # clients that go away are part of the tests


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that is its own authority, and its key: paths."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("making a certificate needs the openssl command")
    folder = tmp_path_factory.mktemp("certificate")
    command = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    paths = folder / "certificate.pem", folder / "key.pem"
    subprocess.run([*command.split(), "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths


@pytest.fixture
def http_service(transport, request):
    service = Service(transport.find)
    with QuietServer(("127.0.0.1", 0), Handler) as server:
        server.service = service
        service.url = f"http://127.0.0.1:{server.server_port}"
        if getattr(request, "param", None) == "tls":
            service.url = service.url.replace("http:", "https:")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*request.getfixturevalue("certificate"))
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield service
        service.hold.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def grpc_service(transport, request):
    import grpc
    from google.protobuf.json_format import ParseDict
    from tritonclient.grpc import service_pb2 as pb
    from tritonclient.grpc import service_pb2_grpc

    service = Service(transport.find)

    class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
        def ModelInfer(self, request, context):
            service.headers.append(dict(context.invocation_metadata()))
            try:
                tensors = service.infer(request.model_name, request.raw_input_contents[0][4:])
            except Refused as refused:
                status, _, text = REFUSALS[str(refused)]
                context.abort(grpc.StatusCode[status], text)
            answer = pb.ModelInferResponse(model_name=request.model_name)
            for tensor in tensors:
                answer.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
                answer.raw_output_contents.append(tensor.data)
            return answer

        def ModelConfig(self, request, context):
            return ParseDict({"config": CONFIG}, pb.ModelConfigResponse())

        def RepositoryIndex(self, request, context):
            models = [dict(zip(("name", "state", "reason"), m, strict=True)) for m in INDEX]
            return ParseDict({"models": models}, pb.RepositoryIndexResponse())

    server = grpc.server(futures.ThreadPoolExecutor(8))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
    if getattr(request, "param", None) == "tls":
        chain, key = (path.read_bytes() for path in request.getfixturevalue("certificate"))
        credentials = grpc.ssl_server_credentials([(key, chain)])
        service.url = f"grpcs://127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
    else:
        service.url = f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield service
    service.hold.set()
    server.stop(None).wait()


@pytest.fixture(params=["grpc", "http"])
def service(request):
    return request.getfixturevalue(f"{request.param}_service")


def test_a_pipeline_over_the_wire(service, grey):
    with create_pipeline("tiny", url=service.url, headers={"Authorization": "Bearer word"}) as pipeline:
        results = list(pipeline.predict([grey(n, 5 + n, 9) for n in range(12)], threshold=0.0))
    assert [round(float(result.scores[0]) * 255) for result in results] == list(range(12))
    assert [result["boxes"][0]["coordinate"] for result in results] == [[0, 0, 9, 5 + n] for n in range(12)]
    assert {headers.get("authorization") or headers.get("Authorization") for headers in service.headers} == {
        "Bearer word"
    }


def test_nothing_found(service, answer, grey):
    service.answer = lambda _: answer([], (6, 8))
    (result,) = create_pipeline("tiny", url=service.url).predict(grey())
    assert (result["boxes"], len(result["masks"])) == ([], 0)


ERRORS = {
    "hostile": (InvalidImage, "^the file is damaged$"),
    "crowded": (ModelNotReady, "its queue is full"),
    "late": (RequestTimeout, "waited too long"),
    "dead": (ModelNotReady, "its process has died"),
    "odd": (InferenceFailed, "something else"),
    "large": (ImageTooLarge, "too large"),
    "secret": (ServerError, "not for you"),
    "broken": (ModelNotReady, "broken at .* is UNAVAILABLE: no such file: weights"),
    "nope": (ModelNotFound, "no model 'nope'; it has broken, tiny$"),
    "strange": (InferenceFailed, "no BOXES"),
}


@pytest.mark.parametrize(("model", "error", "message"), [(name, *rest) for name, rest in ERRORS.items()], ids=ERRORS)
def test_refusals_have_their_errors(service, grey, model, error, message):
    with create_pipeline(model, url=service.url) as pipeline, pytest.raises(error, match=message) as caught:
        list(pipeline.predict(grey()))
    assert type(caught.value) is error


def test_the_models_of_the_server(service):
    transport = open_transport(parse_url(service.url))
    assert [(model.name, model.state) for model in transport.models()] == [m[:2] for m in INDEX]
    transport.close()


def test_no_answer_in_time(service, grey):
    with pytest.raises(RequestTimeout, match="timeout= allows more"):
        list(create_pipeline("slow", url=service.url, timeout=0.1).predict(grey()))


def test_closing_ends_what_is_under_way(service, grey):
    pipeline = create_pipeline("slow", url=service.url, timeout=20)
    closer = threading.Timer(0.3, pipeline.close)
    closer.start()
    begin = time.monotonic()
    with pytest.raises(ServerUnavailable):
        list(pipeline.predict(grey()))
    assert time.monotonic() - begin < 15
    closer.join()


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_nobody_there(scheme, grey):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(
        ServerUnavailable, match=rf"no server answers at {scheme}://127\.0\.0\.1:{port}.*maskserve serve"
    ):
        list(create_pipeline("tiny", url=f"{scheme}://127.0.0.1:{port}").predict(grey()))


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_an_unknown_host(scheme, grey):
    with pytest.raises(ServerUnavailable, match="no server answers at"):
        list(create_pipeline("tiny", url=f"{scheme}://host.invalid").predict(grey()))


def test_http_to_a_grpc_port(grpc_service, grey):
    url = grpc_service.url.replace("grpc", "http")
    with pytest.raises(ServerUnavailable, match="no server answers at"):
        list(create_pipeline("tiny", url=url).predict(grey()))


def test_grpc_to_an_http_port(http_service, grey):
    url = http_service.url.replace("http", "grpc")
    with pytest.raises(ServerUnavailable, match="no server answers at"):
        list(create_pipeline("tiny", url=url).predict(grey()))


def test_http_connections_are_kept(http_service, grey):
    with create_pipeline("tiny", url=http_service.url, concurrency=1) as pipeline:
        for _ in range(3):
            list(pipeline.predict([grey(), grey()]))
    assert http_service.connections == 1


def test_an_http_connection_that_the_server_closed_is_replaced(http_service, grey, monkeypatch):
    with create_pipeline("tiny", url=http_service.url, concurrency=1) as pipeline:
        monkeypatch.setattr(Handler, "timeout", 0.05)
        list(pipeline.predict(grey()))
        time.sleep(0.3)  # the server hangs up
        list(pipeline.predict(grey()))
    assert http_service.connections == 2


@pytest.mark.parametrize("http_service", ["tls"], indirect=True)
def test_https(http_service, certificate, grey):
    check_tls(http_service, certificate, grey)


@pytest.mark.parametrize("grpc_service", ["tls"], indirect=True)
def test_grpc_with_tls(grpc_service, certificate, grey):
    check_tls(grpc_service, certificate, grey)


def check_tls(service, certificate, grey):
    with create_pipeline("tiny", url=service.url, ca_file=str(certificate[0])) as pipeline:
        assert len(list(pipeline.predict([grey()] * 3))) == 3
    with pytest.raises(ServerUnavailable, match=r"is not trusted.*ca_file= names its authority"):
        list(create_pipeline("tiny", url=service.url).predict(grey()))


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
def test_a_certificate_file_that_cannot_be_read(scheme, tmp_path, grey):
    with pytest.raises(InvalidParameter, match=r"certificate file .* cannot be read"):
        list(create_pipeline("tiny", url=f"{scheme}://127.0.0.1:9", ca_file=str(tmp_path / "no.pem")).predict(grey()))


FORK = """
import os, sys
import numpy as np
from maskserve import create_pipeline
pipeline = create_pipeline("tiny", url=sys.argv[1], timeout=20)
picture = np.full((4, 4, 3), 255, np.uint8)
def score():
    return [round(float(result.scores[0])) for result in pipeline.predict([picture] * 3)]
results = pipeline.predict([picture] * 8)
next(results)  # fork while others are under way
child = os.fork()
if child == 0:
    status = 1
    try:
        status = 0 if score() == [1, 1, 1] else 2
    finally:
        os._exit(status)
_, status = os.waitpid(child, 0)
assert len(list(results)) == 7
assert score() == [1, 1, 1]
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_process_goes_on(service):
    done = subprocess.run(
        [sys.executable, "-c", FORK, service.url], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_threads_share_a_pipeline(service, grey):
    with create_pipeline("tiny", url=service.url) as pipeline, futures.ThreadPoolExecutor(6) as threads:
        calls = [threads.submit(lambda n=n: list(pipeline.predict([grey(n)] * 4))) for n in range(12)]
        found = [{round(float(result.scores[0]) * 255) for result in call.result()} for call in calls]
    assert found == [{n} for n in range(12)]
