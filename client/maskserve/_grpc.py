"""The inference protocol over gRPC."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from maskserve._cancellation import CalledOff
from maskserve._endpoint import LOOPBACK
from maskserve._failures import from_status, missing_model
from maskserve._fork import fork_gate
from maskserve._transport import ServedModel
from maskserve._wire import Tensor
from maskserve.contract import OUTPUTS
from maskserve.errors import InferenceFailed, InvalidParameter, ModelNotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from maskserve._cancellation import Cancellation
    from maskserve._endpoint import Endpoint
    from maskserve._wire import ImageRequest, Region

_MAX_REQUEST = 2**31 - 1
_MAX_ANSWER = 64 << 20


class GrpcTransport:
    """Calls a server over gRPC. All threads of a process share one channel."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._process = 0
        self._channel: Any = None
        self._stub: Any = None

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._endpoint.url

    def infer(self, model: str, request: ImageRequest, region: Region | None = None) -> Sequence[Tensor]:
        """The output tensors for one image, which is in `region` if there is one."""
        answer = self._call("ModelInfer", _infer_request(model, request.tensors(region)), model, request)
        if len(answer.outputs) != len(answer.raw_output_contents):
            raise InferenceFailed("the answer does not carry its tensors in raw form")
        return [
            Tensor(output.name, output.datatype, tuple(output.shape), data)
            for output, data in zip(answer.outputs, answer.raw_output_contents, strict=True)
        ]

    def model_config(self, model: str) -> Mapping[str, Any]:
        """The model's configuration."""
        from google.protobuf.json_format import MessageToDict
        from tritonclient.grpc import service_pb2 as pb

        answer = self._call("ModelConfig", pb.ModelConfigRequest(name=model), model)
        config: dict[str, Any] = MessageToDict(answer.config, preserving_proto_field_name=True)
        return config

    def models(self) -> Sequence[ServedModel]:
        """The server's repository index."""
        from tritonclient.grpc import service_pb2 as pb

        answer = self._call("RepositoryIndex", pb.RepositoryIndexRequest(), "the repository index")
        return [ServedModel(entry.name, entry.state, entry.reason) for entry in answer.models]

    def server_version(self) -> str:
        """Triton's version."""
        from tritonclient.grpc import service_pb2 as pb

        version: str = self._call("ServerMetadata", pb.ServerMetadataRequest(), "the version").version
        return version

    def register(self, region: Region) -> None:
        """Let the server map a region."""
        from tritonclient.grpc import service_pb2 as pb

        request = pb.SystemSharedMemoryRegisterRequest(name=region.name, key=f"/{region.name}", byte_size=region.size)
        self._call("SystemSharedMemoryRegister", request, "shared memory")

    def unregister(self, region: Region) -> None:
        """Let the server unmap a region."""
        from tritonclient.grpc import service_pb2 as pb

        request = pb.SystemSharedMemoryUnregisterRequest(name=region.name)
        self._call("SystemSharedMemoryUnregister", request, "shared memory")

    def close(self) -> None:
        """Close the channel; calls under way end with `ServerUnavailable`."""
        with fork_gate.request(), self._lock:
            channel, self._channel, self._stub = self._channel, None, None
            if channel is not None and self._process == os.getpid():
                channel.close()

    def _call(self, method: str, message: Any, model: str, request: ImageRequest | None = None) -> Any:
        import grpc

        cancellation = request.cancellation if request else None
        try:
            with fork_gate.request():
                return self._send(method, message, request.headers if request else {}, cancellation)
        except grpc.RpcError as error:
            mapped = from_status(error.code().name, error.details() or "", self.url, model)
        except (ValueError, grpc.FutureCancelledError) as error:  # the channel was closed by another thread
            mapped = from_status("CANCELLED", str(error), self.url, model)
        if cancellation and cancellation.called_off:
            raise CalledOff(f"the request to {model} at {self.url} was called off")
        if isinstance(mapped, ModelNotFound) and method != "RepositoryIndex":
            mapped = missing_model(model, self)
        raise mapped

    def _send(self, method: str, message: Any, headers: Mapping[str, str], cancellation: Cancellation | None) -> Any:
        metadata = [(name.lower(), value) for name, value in {**self._endpoint.headers, **headers}.items()]
        options = {"timeout": self._endpoint.timeout, "metadata": metadata}
        call = getattr(self._open(), method)
        if cancellation is None:
            return call(message, **options)
        future = call.future(message, **options)
        with cancellation.watched(future.cancel):
            return future.result()

    def _open(self) -> Any:
        with self._lock:
            if self._stub is None or self._process != os.getpid():
                from tritonclient.grpc import service_pb2_grpc

                self._channel = _open_channel(self._endpoint)
                self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
                self._process = os.getpid()
            return self._stub


def _infer_request(model: str, tensors: Sequence[Tensor]) -> Any:
    from tritonclient.grpc import service_pb2 as pb

    message = pb.ModelInferRequest(model_name=model)
    for tensor in tensors:
        entry = message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if tensor.region is None:
            message.raw_input_contents.append(tensor.data)
        else:
            entry.parameters["shared_memory_region"].string_param = tensor.region.name
            entry.parameters["shared_memory_byte_size"].int64_param = tensor.region.size
    for name in OUTPUTS:
        message.outputs.add(name=name)
    return message


def _open_channel(endpoint: Endpoint) -> Any:
    import grpc

    options = [
        ("grpc.max_send_message_length", _MAX_REQUEST),
        ("grpc.max_receive_message_length", _MAX_ANSWER),
        # gRPC's name for the time one attempt to connect may take; its default of 20 s is a long time to wait for
        # the news that the address is wrong
        ("grpc.min_reconnect_backoff_ms", int(endpoint.connect_timeout * 1000)),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", int(endpoint.connect_timeout * 1000)),
        ("grpc.enable_http_proxy", 0 if endpoint.host in LOOPBACK else 1),
    ]
    if endpoint.scheme == "grpc":
        return grpc.insecure_channel(endpoint.address, options)
    authorities = _read(endpoint.ca_file) if endpoint.ca_file else None
    return grpc.secure_channel(endpoint.address, grpc.ssl_channel_credentials(authorities), options)


def _read(path: str | Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise InvalidParameter(f"the certificate file {path} cannot be read: {error.strerror}") from None
