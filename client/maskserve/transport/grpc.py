"""The inference protocol over gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskserve.contract import OUTPUTS
from maskserve.errors import InferenceFailed, ModelNotFound
from maskserve.transport.base import ServedModel, ServerStatus
from maskserve.transport.cancellation import CalledOff
from maskserve.transport.errors import from_status, missing_model
from maskserve.transport.grpc_channel import GrpcChannel
from maskserve.transport.wire import Tensor, microseconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maskserve.transport.endpoint import Endpoint
    from maskserve.transport.wire import ImageRequest, Region


class GrpcTransport:
    """Calls a server over gRPC. All threads of a process share one channel."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._channel = GrpcChannel(endpoint)

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._endpoint.url

    def infer(self, model: str, request: ImageRequest, region: Region | None = None) -> Sequence[Tensor]:
        """Return the output tensors for one image, which is in `region` if there is one."""
        answer = self._call(
            "ModelInfer", _infer_request(model, request.tensors(region), self._endpoint.timeout), model, request
        )
        if len(answer.outputs) != len(answer.raw_output_contents):
            raise InferenceFailed("the answer does not carry its tensors in raw form")
        return [
            Tensor(output.name, output.datatype, tuple(output.shape), data)
            for output, data in zip(answer.outputs, answer.raw_output_contents, strict=True)
        ]

    def model_config(self, model: str) -> Mapping[str, Any]:
        """Return the model's configuration."""
        from google.protobuf.json_format import MessageToDict
        from tritonclient.grpc import service_pb2 as pb

        answer = self._call("ModelConfig", pb.ModelConfigRequest(name=model), model)
        config: dict[str, Any] = MessageToDict(answer.config, preserving_proto_field_name=True)
        return config

    def models(self) -> Sequence[ServedModel]:
        """Return the server's repository index."""
        from tritonclient.grpc import service_pb2 as pb

        answer = self._call("RepositoryIndex", pb.RepositoryIndexRequest(), "the repository index")
        return [ServedModel(entry.name, entry.state, entry.reason) for entry in answer.models]

    def status(self) -> ServerStatus:
        """Return what the server says of itself."""
        from tritonclient.grpc import service_pb2 as pb

        about = self._call("ServerMetadata", pb.ServerMetadataRequest(), "the version")
        ready = self._call("ServerReady", pb.ServerReadyRequest(), "the readiness").ready
        return ServerStatus(about.name, about.version, ready)

    def server_version(self) -> str:
        """Return Triton's version."""
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
        self._channel.close()

    def _call(self, method: str, message: Any, model: str, request: ImageRequest | None = None) -> Any:
        import grpc

        cancellation = request.cancellation if request else None
        try:
            return self._channel.call(method, message, request.headers if request else {}, cancellation=cancellation)
        except grpc.RpcError as error:
            mapped = from_status(error.code().name, error.details() or "", self.url, model)
        except (ValueError, grpc.FutureCancelledError) as error:  # the channel was closed by another thread
            mapped = from_status("CANCELLED", str(error), self.url, model)
        if cancellation and cancellation.called_off:
            raise CalledOff(f"the request to {model} at {self.url} was called off")
        if isinstance(mapped, ModelNotFound) and method != "RepositoryIndex":
            mapped = missing_model(model, self)
        raise mapped


def _infer_request(model: str, tensors: Sequence[Tensor], timeout: float) -> Any:
    from tritonclient.grpc import service_pb2 as pb

    message = pb.ModelInferRequest(model_name=model)
    message.parameters["timeout"].int64_param = microseconds(timeout)
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
