"""The inference protocol over HTTP."""

from __future__ import annotations

import http.client
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from maskserve.contract import OUTPUTS
from maskserve.errors import InferenceFailed, ModelNotFound
from maskserve.inputs.image import smaller
from maskserve.transport.base import ServedModel, ServerStatus
from maskserve.transport.cancellation import CalledOff
from maskserve.transport.errors import from_status, lost, missing_model, timed_out, unavailable
from maskserve.transport.http_exchange import HttpAnswer, HttpExchange, NotConnected
from maskserve.transport.http_tensors import (
    checked_text,
    error_text,
    infer_body,
    model_path,
    read_json,
    read_object,
    read_tensors,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maskserve.transport.cancellation import Cancellation
    from maskserve.transport.endpoint import Endpoint
    from maskserve.transport.wire import ImageRequest, Region, Tensor

_MAX_RAW = 64 << 20  # what Triton takes over HTTP unless it is told otherwise; over gRPC there is no such limit
_HTTP2_SETTINGS = "\x04\0\0\0\0\0"  # what a gRPC server sends first on a connection
_NOT_READY = (http.client.BAD_REQUEST, http.client.SERVICE_UNAVAILABLE)  # Triton's word for it, a proxy's
_REGIONS = "/v2/systemsharedmemory/region"


class HttpTransport:
    """Calls a server over HTTP. Connections stay open for the next request."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._exchange = HttpExchange(endpoint)

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._endpoint.url

    def infer(self, model: str, request: ImageRequest, region: Region | None = None) -> Sequence[Tensor]:
        """Return the output tensors for one image, which is in `region` if there is one."""
        if region is None and len(request.image) > _MAX_RAW:
            request = replace(request, image=smaller(request.image))
        body, headers = infer_body(request.tensors(region), OUTPUTS, timeout=self._endpoint.timeout)
        headers = {**request.headers, **headers}
        try:
            answer = self._call("POST", model_path(model, "infer"), model, body, headers, request.cancellation)
        except ModelNotFound:
            raise missing_model(model, self) from None
        return read_tensors(answer)

    def model_config(self, model: str) -> Mapping[str, Any]:
        """Return the model's configuration."""
        try:
            answer = self._call("GET", model_path(model, "config"), model)
        except ModelNotFound:
            raise missing_model(model, self) from None
        return read_object(answer.content)

    def models(self) -> Sequence[ServedModel]:
        """Return the server's repository index."""
        content = self._call("POST", "/v2/repository/index", "the repository index", b"{}").content
        try:
            return [
                ServedModel(*(checked_text(m.get(key, "")) for key in ("name", "state", "reason")))
                for m in read_json(content)
            ]
        except (ValueError, TypeError, AttributeError) as error:
            raise InferenceFailed(f"{self.url} sent a repository index that cannot be read ({error!r})") from None

    def status(self) -> ServerStatus:
        """Return what the server says of itself."""
        about = read_object(self._call("GET", "/v2", "the version").content)
        answer = self._send("GET", "/v2/health/ready", "the readiness")
        if answer.status not in (http.client.OK, *_NOT_READY):
            raise from_status(answer.status, error_text(answer.content), self.url, "the readiness")
        ready = answer.status == http.client.OK
        return ServerStatus(str(about.get("name", "")), str(about.get("version", "")), ready)

    def server_version(self) -> str:
        """Return Triton's version."""
        return str(read_object(self._call("GET", "/v2", "the version").content).get("version"))

    def register(self, region: Region) -> None:
        """Let the server map a region."""
        place = {"key": f"/{region.name}", "offset": 0, "byte_size": region.size}
        self._call("POST", f"{_REGIONS}/{region.name}/register", "shared memory", json.dumps(place).encode())

    def unregister(self, region: Region) -> None:
        """Let the server unmap a region."""
        self._call("POST", f"{_REGIONS}/{region.name}/unregister", "shared memory", b"")

    def close(self) -> None:
        """Close the connections; calls under way end with `ServerUnavailable`."""
        self._exchange.close()

    def _call(  # noqa: PLR0917 - a request as HTTP has it
        self,
        method: str,
        path: str,
        model: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        cancellation: Cancellation | None = None,
    ) -> HttpAnswer:
        """Send one request. Everything but an answer of status 200 raises a `MaskserveError`."""
        answer = self._send(method, path, model, body, headers, cancellation)
        if answer.status != http.client.OK:
            raise from_status(answer.status, error_text(answer.content), self.url, model)
        return answer

    def _send(  # noqa: PLR0917
        self,
        method: str,
        path: str,
        model: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        cancellation: Cancellation | None = None,
    ) -> HttpAnswer:
        """Send one request; the answer may have any status."""
        try:
            return self._exchange.send(method, path, body, headers, cancellation=cancellation)
        except TimeoutError:
            raise timed_out(self.url, model) from None
        # http.client raises the last three on chunks of negative or absurd sizes
        except (OSError, http.client.HTTPException, ValueError, ArithmeticError, MemoryError) as error:
            if cancellation and cancellation.called_off:
                raise CalledOff(f"the request to {model} at {self.url} was called off") from None
            wrong = isinstance(error, http.client.BadStatusLine)
            gone = unavailable(self.url, _other_protocol(error) if wrong else str(error))
            raise gone if isinstance(error, NotConnected) else lost(gone) from None


def _other_protocol(error: Exception) -> str:
    """Return what may be said of an answer that does not begin as HTTP's do, or is none."""
    if isinstance(error, http.client.RemoteDisconnected):
        return str(error)
    if _HTTP2_SETTINGS in str(error):
        return "what answers there speaks gRPC: write grpc:// instead of http://"
    return "what answers there does not speak HTTP"
