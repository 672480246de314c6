"""Small servers that speak the inference protocol, over gRPC and over HTTP."""

from __future__ import annotations

import http.server
import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from maskserve.contract import PARAMETER_LABELS
from maskserve.transport.wire import ImageRequest, Tensor

CONFIG = {"name": "tiny", "parameters": {PARAMETER_LABELS: {"string_value": '["person", "bicycle", "car"]'}}}
INDEX = [("tiny", "READY", ""), ("tiny.core", "READY", ""), ("broken", "UNAVAILABLE", "no such file: weights")]
NO_REGION, CLOSED, IN_USE = "unknown region", "no regions allowed", "region in use"
# Model names that make the server refuse, with the gRPC status, the HTTP status and the text that Triton has for it.
REFUSALS = {
    "hostile": ("INVALID_ARGUMENT", 400, "in ensemble 'hostile', [invalid_image] the file is damaged"),
    "crowded": ("UNAVAILABLE", 503, "[request id: 1] Exceeds maximum queue size"),
    "late": ("UNAVAILABLE", 503, "Request timeout expired"),
    "dead": ("INTERNAL", 500, "Stub process 'dead_0' is not healthy."),
    "odd": ("INTERNAL", 500, "something else"),
    "large": ("RESOURCE_EXHAUSTED", 413, "too large"),
    "full": (
        "INVALID_ARGUMENT",
        400,
        "Request JSON size of 70000000 bytes exceeds the maximum allowed value of 68157440 bytes."
        " Use --http-max-input-size to increase the limit.",
    ),
    "secret": ("PERMISSION_DENIED", 403, "not for you"),
    "broken": ("NOT_FOUND", 404, "Request for unknown model: 'broken' has no available versions"),
    NO_REGION: ("NOT_FOUND", 404, "Unable to find shared memory region: 'maskserve-image-0'"),
    CLOSED: ("UNAVAILABLE", 403, "This protocol is restricted, expecting header 'triton-grpc-protocol-admin'"),
    IN_USE: ("INTERNAL", 500, "Cannot unregister shared memory region 'maskserve-image-0', it is currently in use."),
    "nope": ("NOT_FOUND", 404, "Request for unknown model: 'nope' is not found"),
}


class Refused(Exception):
    pass


@dataclass
class Service:
    """What both servers do, and what was asked of them."""

    answer: Callable[[ImageRequest], Sequence[Tensor]]
    headers: list = field(default_factory=list)
    connections: int = 0
    hung_up: int = 0
    hold: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    version: str = "2.51.0"
    readiness: int = 200  # status of HTTP; gRPC answers whether it is 200
    registrations: list = field(default_factory=list)
    regions: dict = field(default_factory=dict)  # what is mapped, by name
    reading: set = field(default_factory=set)  # the regions of requests under way
    refuses: bool = False  # to map regions
    forgets: bool = False  # what it has mapped
    images_in_regions: int = 0

    def infer(self, model, image):
        if model in REFUSALS:
            raise Refused(model)
        if model == "slow":
            self.hold.wait(20)
        if model == "strange":
            return [Tensor("SCORES", "FP32", (3,), b"\0")]
        return self.answer(ImageRequest(image))

    def infer_region(self, model, name, size):
        if self.forgets:
            self.regions.clear()
        if name not in self.regions:
            raise Refused(NO_REGION)
        self.images_in_regions += 1
        self.reading.add(name)
        try:
            return self.infer(model, self.regions[name][4:size])
        finally:
            self.reading.discard(name)

    def register(self, name, key):
        self.registrations.append(name)
        if self.refuses:
            raise Refused(CLOSED)
        self.regions[name] = Path(f"/dev/shm{key}").read_bytes()

    def unregister(self, name):
        if name in self.reading:
            raise Refused(IN_USE)
        self.regions.pop(name, None)


class Handler(http.server.BaseHTTPRequestHandler):
    server: QuietServer
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.server.service.connections += 1

    def finish(self):
        super().finish()
        self.connection.close()  # before anybody is told of it
        self.server.service.hung_up += 1

    def do_GET(self):
        if self.path == "/v2/health/ready":
            return self.reply(self.server.service.readiness, b"")
        metadata = {"name": "fake", "version": self.server.service.version}
        self.reply(200, json.dumps(metadata if self.path == "/v2" else CONFIG).encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v2/repository/index":
            return self.reply(200, json.dumps([dict(zip(("name", "state", "reason"), m, strict=True)) for m in INDEX]))
        try:
            if self.path.startswith("/v2/systemsharedmemory/region/"):
                return self.regions(body)
            tensors = self.infer(body)
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

    def infer(self, body):
        self.server.service.headers.append(dict(self.headers))
        head = int(self.headers["Inference-Header-Content-Length"])
        where = json.loads(body[:head])["inputs"][0]["parameters"]
        model = self.path.split("/")[3]
        if "shared_memory_region" in where:
            name, size = where["shared_memory_region"], where["shared_memory_byte_size"]
            return self.server.service.infer_region(model, name, size)
        return self.server.service.infer(model, body[head + 4 : head + where["binary_data_size"]])

    def regions(self, body):
        *_, name, action = self.path.split("/")
        if action == "register":
            self.server.service.register(name, json.loads(body)["key"])
        else:
            self.server.service.unregister(name)
        self.reply(200, b"")

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
    service: Service
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

    def refusing(work, context):
        try:
            return work()
        except Refused as refused:
            status, _, text = REFUSALS[str(refused)]
            context.abort(grpc.StatusCode[status], text)

    def infer(request):
        where = request.inputs[0].parameters
        if "shared_memory_region" in where:
            name, size = where["shared_memory_region"].string_param, where["shared_memory_byte_size"].int64_param
            return service.infer_region(request.model_name, name, size)
        return service.infer(request.model_name, request.raw_input_contents[0][4:])

    class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
        def ModelInfer(self, request, context):
            service.headers.append(dict(context.invocation_metadata()))
            tensors = refusing(lambda: infer(request), context)
            answer = pb.ModelInferResponse(model_name=request.model_name)
            for tensor in tensors:
                answer.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
                answer.raw_output_contents.append(tensor.data)
            return answer

        def ModelConfig(self, request, context):
            return ParseDict({"config": CONFIG}, pb.ModelConfigResponse())

        def ServerMetadata(self, request, context):
            return pb.ServerMetadataResponse(name="fake", version=service.version)

        def ServerReady(self, request, context):
            return pb.ServerReadyResponse(ready=service.readiness == 200)

        def SystemSharedMemoryRegister(self, request, context):
            refusing(lambda: service.register(request.name, request.key), context)
            return pb.SystemSharedMemoryRegisterResponse()

        def SystemSharedMemoryUnregister(self, request, context):
            refusing(lambda: service.unregister(request.name), context)
            return pb.SystemSharedMemoryUnregisterResponse()

        def RepositoryIndex(self, request, context):
            models = [dict(zip(("name", "state", "reason"), m, strict=True)) for m in INDEX]
            return ParseDict({"models": models}, pb.RepositoryIndexResponse())

    options = [("grpc.max_receive_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(8), options=options)
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
