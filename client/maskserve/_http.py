"""The inference protocol over HTTP/1.1, with its binary tensor extension.

Written on the standard library: `tritonclient.http` may not be shared between threads and brings gevent with it.
"""

from __future__ import annotations

import http.client
import json
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from maskserve._connections import Connections
from maskserve._failures import from_status, missing_model, timed_out, unavailable
from maskserve._fork import fork_gate
from maskserve._transport import ServedModel
from maskserve._wire import Tensor
from maskserve.contract import OUTPUTS
from maskserve.errors import InferenceFailed, InvalidParameter, ModelNotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maskserve._endpoint import Endpoint
    from maskserve._wire import ImageRequest, Region

Connection = http.client.HTTPConnection
Exchange = tuple[http.client.HTTPResponse, bytes]

_MAX_ANSWER = 64 << 20
_HEADER_LENGTH = "Inference-Header-Content-Length"
_REGIONS = "/v2/systemsharedmemory/region"


class HttpTransport:
    """Calls a server over HTTP. Connections stay open for the next request."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._connections = Connections()
        self._tls = _trust(endpoint.ca_file) if endpoint.scheme == "https" else None

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._endpoint.url

    def infer(self, model: str, request: ImageRequest, region: Region | None = None) -> Sequence[Tensor]:
        """The output tensors for one image, which is in `region` if there is one."""
        tensors = request.tensors(region)
        header = _request_header(tensors)
        body = b"".join([header, *(tensor.data for tensor in tensors)])
        headers = {
            **request.headers,
            _HEADER_LENGTH: str(len(header)),
            "Content-Type": "application/octet-stream",
        }
        try:
            answer, length = self._call("POST", f"/v2/models/{quote(model, safe='')}/infer", model, body, headers)
        except ModelNotFound:
            raise missing_model(model, self) from None
        return _read_tensors(answer, length)

    def model_config(self, model: str) -> Mapping[str, Any]:
        """The model's configuration."""
        try:
            answer, _ = self._call("GET", f"/v2/models/{quote(model, safe='')}/config", model)
        except ModelNotFound:
            raise missing_model(model, self) from None
        return _read_object(answer)

    def models(self) -> Sequence[ServedModel]:
        """The server's repository index."""
        answer, _ = self._call("POST", "/v2/repository/index", "the repository index", b"{}")
        try:
            return [ServedModel(m["name"], m.get("state", ""), m.get("reason", "")) for m in json.loads(answer)]
        except (ValueError, TypeError, KeyError) as error:
            raise InferenceFailed(f"{self.url} sent a repository index that cannot be read ({error!r})") from None

    def server_version(self) -> str:
        """Triton's version."""
        answer, _ = self._call("GET", "/v2", "the version")
        return str(_read_object(answer).get("version"))

    def register(self, region: Region) -> None:
        """Let the server map a region."""
        place = {"key": f"/{region.name}", "offset": 0, "byte_size": region.size}
        self._call("POST", f"{_REGIONS}/{region.name}/register", "shared memory", json.dumps(place).encode())

    def unregister(self, region: Region) -> None:
        """Let the server unmap a region."""
        self._call("POST", f"{_REGIONS}/{region.name}/unregister", "shared memory", b"")

    def close(self) -> None:
        """Close the connections; calls under way end with `ServerUnavailable`."""
        with fork_gate.request():
            self._connections.close()

    def _call(
        self, method: str, path: str, model: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[bytes, int | None]:
        """Send one request; the body of the answer and the length of its JSON part."""
        path = self._endpoint.path + path
        try:
            with fork_gate.request():
                response, content = self._exchange(method, path, body, {**self._endpoint.headers, **(headers or {})})
        except TimeoutError:
            raise timed_out(self.url, model) from None
        except (OSError, http.client.HTTPException) as error:
            raise unavailable(self.url, str(error)) from None
        if response.status != http.client.OK:
            raise from_status(response.status, _error_text(content), self.url, model)
        length = response.getheader(_HEADER_LENGTH)
        return content, int(length) if length and length.isdigit() else None

    def _exchange(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Exchange:
        idle = self._connections.take()
        if idle is not None:
            try:
                return self._send(idle, method, path, body, headers)
            except (ConnectionError, http.client.BadStatusLine):
                if self._connections.closed(idle):
                    raise
        # there was none, or the server had closed it meanwhile, which says nothing about the server
        return self._send(self._connect(), method, path, body, headers)

    def _send(
        self, connection: Connection, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Exchange:
        with self._connections.using(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read(_MAX_ANSWER + 1)
            if len(content) > _MAX_ANSWER:
                raise InferenceFailed(f"{self.url} sent more than {_MAX_ANSWER >> 20} MiB")
            return response, content

    def _connect(self) -> Connection:
        where = self._endpoint
        if self._tls is None:
            connection = Connection(where.host, where.port, timeout=where.connect_timeout)
        else:
            connection = http.client.HTTPSConnection(
                where.host, where.port, timeout=where.connect_timeout, context=self._tls
            )
        try:
            connection.connect()
        except TimeoutError:
            raise ConnectionError(f"no connection within {where.connect_timeout:g} s") from None
        connection.sock.settimeout(where.timeout)
        return connection


def _trust(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # SSLError is one, too
        raise InvalidParameter(f"the certificate file {ca_file} cannot be read: {error.strerror or error}") from None


def _request_header(tensors: Sequence[Tensor]) -> bytes:
    inputs = [
        {"name": t.name, "datatype": t.datatype, "shape": t.shape, "parameters": _place_of_data(t)} for t in tensors
    ]
    outputs = [{"name": name, "parameters": {"binary_data": True}} for name in OUTPUTS]
    return json.dumps({"inputs": inputs, "outputs": outputs}).encode()


def _place_of_data(tensor: Tensor) -> dict[str, Any]:
    if tensor.region is None:
        return {"binary_data_size": len(tensor.data)}
    return {"shared_memory_region": tensor.region.name, "shared_memory_byte_size": tensor.region.size}


def _read_tensors(answer: bytes, length: int | None) -> list[Tensor]:
    head = _read_object(answer[:length])
    position, tensors = len(answer) if length is None else length, []
    try:
        for output in head["outputs"]:
            size = int(output.get("parameters", {}).get("binary_data_size", 0))
            data = answer[position : position + max(size, 0)]
            tensors.append(Tensor(str(output["name"]), str(output["datatype"]), tuple(map(int, output["shape"])), data))
            position += len(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InferenceFailed(f"the answer cannot be read ({error!r})") from None
    return tensors


def _read_object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InferenceFailed("the answer is not a JSON object; is this a Triton server?")
    return value


def _error_text(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return content[:200].decode("utf-8", "replace")
