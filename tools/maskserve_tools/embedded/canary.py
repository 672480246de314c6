"""A test inference: the only proof that a model answers.

Triton's own readiness does not notice a stub process that died, nor a model that fails at every request. The test asks
at a threshold of 0: at the model's own threshold nothing is found in the test image, and nothing would be painted.
"""

from __future__ import annotations

import struct
import zlib
from contextlib import closing
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.client import HTTPException

from maskserve import contract
from maskserve.errors import InferenceFailed, ToolError
from maskserve.transport.endpoint import Endpoint
from maskserve.transport.http_exchange import HttpAnswer, HttpExchange
from maskserve.transport.http_tensors import error_text, infer_body, model_path, read_tensors
from maskserve.transport.wire import ImageRequest, Tensor, check_answer
from maskserve_tools.embedded.served_entries import Entry

SIZE = (48, 64)  # height and width of the test image
THRESHOLD = 0.0  # of a test: whatever the network finds goes through postprocessing


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
        answer = self.send(method, path, timeout=timeout, body=body, headers=headers)
        return answer.status, answer.content

    def send(
        self, method: str, path: str, *, timeout: float, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> HttpAnswer:
        """Send one request, as `request` does; gives the whole answer."""
        with closing(HttpExchange(Endpoint("http", self.host, self.port, "", timeout, timeout))) as exchange:
            try:
                return exchange.send(method, path, body, headers)
            except (HTTPException, InferenceFailed) as error:  # the latter: too large for an answer of ours
                raise ConnectionError(f"no proper answer: {error!r}") from error


def canary_image() -> bytes:
    """Return a small image of colour gradients, as the bytes of a PNG file; without OpenCV, whose import takes long."""
    height, width = SIZE
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)  # 8 bits for each of red, green and blue
    rows = (
        b"\0" + bytes(value for column in range(width) for value in ((row + column) * 2, column * 4, row * 5))
        for row in range(height)
    )
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def send_test_image(endpoint: HttpEndpoint, entry: Entry, *, timeout: float) -> None:
    """Let `entry` segment a small image at a threshold of 0. What it finds does not matter, but has to be sound.

    Raises:
        ToolError: it failed, did not answer within `timeout` seconds, or its answer does not keep the contract.
        OSError: the server broke off the connection.
    """
    outputs = _outputs(entry) or [contract.BOXES]
    body, headers = infer_body(_inputs(entry), outputs, timeout=timeout, probe=True)
    path = model_path(entry.name, "infer")
    try:
        answer = endpoint.send("POST", path, body=body, headers=headers, timeout=timeout)
    except TimeoutError as error:
        raise ToolError(f"{entry.name} did not answer a test image within {timeout:.0f} s") from error
    if answer.status != HTTPStatus.OK:
        reason = error_text(answer.content, most=500) or "no reason given"
        raise ToolError(f"{entry.name} fails at a test image: {reason}")
    try:
        tensors = read_tensors(answer)
    except InferenceFailed:
        tensors = []
    if contract.BOXES not in {tensor.name for tensor in tensors}:
        raise ToolError(f"{entry.name} answers a test image without {contract.BOXES}")
    if entry.config.max_batch_size == 0 and len(_outputs(entry)) == len(contract.OUTPUTS):
        try:
            check_answer(tensors, SIZE)
        except InferenceFailed as error:
            raise ToolError(f"{entry.name} answers a test image wrongly: {error.message}") from error


def _outputs(entry: Entry) -> list[str]:
    """Return the outputs of the contract that an entry has."""
    declared = {tensor.name for tensor in entry.config.output}
    return [name for name in contract.OUTPUTS if name in declared]


def _inputs(entry: Entry) -> list[Tensor]:
    """Return the test image, and the threshold where the entry takes one, in the shape that the entry takes."""
    takes_threshold = any(declared.name == contract.THRESHOLD for declared in entry.config.input)
    request = ImageRequest(canary_image(), THRESHOLD if takes_threshold else None)
    batch = () if entry.config.max_batch_size == 0 else (1,)
    return [replace(tensor, shape=(*batch, *tensor.shape)) for tensor in request.tensors()]
