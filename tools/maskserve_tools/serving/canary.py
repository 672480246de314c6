"""A test inference: the only proof that a model answers.

Triton's own readiness does not notice a stub process that died, nor a model that fails at every request.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from urllib.parse import quote

from maskserve import contract
from maskserve.errors import ToolError
from maskserve_tools.serving.repository import Entry

_HEIGHT, _WIDTH = 48, 64


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """Triton's HTTP service, asked over connections that are closed at once: an open one delays its end."""

    host: str
    port: int

    def request(
        self, method: str, path: str, *, timeout: float, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send one request.

        Returns:
            The status and the body of the answer.

        Raises:
            OSError: nobody answered within `timeout` seconds.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request(method, path, body, {"Connection": "close", **(headers or {})})
            response = connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"no proper answer: {error!r}") from error
        finally:
            connection.close()


def canary_picture() -> bytes:
    """A small picture of colour gradients, as the bytes of a PNG file."""
    import cv2
    import numpy as np

    rows, columns = np.mgrid[0:_HEIGHT, 0:_WIDTH]
    pixels = np.stack([rows * 5, columns * 4, (rows + columns) * 2], axis=-1).astype(np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1])


def send_test_picture(endpoint: HttpEndpoint, entry: Entry, *, timeout: float) -> None:
    """Let `entry` segment a small picture. What it finds does not matter.

    Raises:
        ToolError: it failed, or did not answer within `timeout` seconds.
        OSError: the server broke off the connection.
    """
    body, header_length = _infer_request(entry, canary_picture())
    path = f"/v2/models/{quote(entry.name)}/infer"
    headers = {"Inference-Header-Content-Length": str(header_length), "Content-Type": "application/octet-stream"}
    try:
        status, answer = endpoint.request("POST", path, body=body, headers=headers, timeout=timeout)
    except TimeoutError as error:
        raise ToolError(f"{entry.name} did not answer a test picture within {timeout:.0f} s") from error
    if status != 200:
        raise ToolError(f"{entry.name} fails at a test picture: {_error_text(answer)}")
    if contract.BOXES not in _output_names(answer):
        raise ToolError(f"{entry.name} answers a test picture without {contract.BOXES}")


def _infer_request(entry: Entry, picture: bytes) -> tuple[bytes, int]:
    """The body of an inference request with one binary tensor, and the length of its JSON part."""
    tensor = len(picture).to_bytes(4, "little") + picture
    image = {
        "name": contract.IMAGE,
        "shape": [1] if entry.config.max_batch_size == 0 else [1, 1],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": len(tensor)},
    }
    header = json.dumps({"inputs": [image], "outputs": [{"name": contract.BOXES}]}).encode()
    return header + tensor, len(header)


def _output_names(answer: bytes) -> list[str]:
    try:
        return [output["name"] for output in json.loads(answer)["outputs"]]
    except (ValueError, KeyError, TypeError):
        return []


def _error_text(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return answer.decode("utf-8", "replace")[:500] or "no reason given"
