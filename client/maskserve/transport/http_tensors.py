"""Tensors and errors as the inference protocol over HTTP has them, with its binary tensor extension."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from maskserve import contract
from maskserve.errors import InferenceFailed
from maskserve.transport.http_exchange import HEADER_LENGTH
from maskserve.transport.wire import Tensor, microseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maskserve.transport.http_exchange import HttpAnswer

_ERROR_LENGTH = 200
_MAX_JSON = 4 << 20


def model_path(model: str, last: str) -> str:
    """Return the path that asks `model` for something: its "infer", "config" or "ready"."""
    return f"/v2/models/{quote(model, safe='')}/{last}"


def infer_body(
    tensors: Sequence[Tensor], outputs: Sequence[str], *, timeout: float, probe: bool = False
) -> tuple[bytes, dict[str, str]]:
    """Return the body of an inference request and the headers that belong to it.

    Args:
        tensors: the inputs.
        outputs: the names of the outputs that are wanted.
        timeout: seconds for which the answer is wanted.
        probe: whether this is a test of the server, which is let in where the queue is full.
    """
    header = json.dumps(
        {
            "parameters": {"timeout": microseconds(timeout), **({contract.PARAMETER_PROBE: True} if probe else {})},
            "inputs": [
                {"name": t.name, "datatype": t.datatype, "shape": t.shape, "parameters": _place_of_data(t)}
                for t in tensors
            ],
            "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in outputs],
        }
    ).encode()
    headers = {HEADER_LENGTH: str(len(header)), "Content-Type": "application/octet-stream"}
    return b"".join([header, *(tensor.data for tensor in tensors)]), headers


def read_tensors(answer: HttpAnswer) -> list[Tensor]:
    """Return the outputs in the answer to an inference request.

    Raises:
        InferenceFailed: it cannot be read.
    """
    content, length = answer.content, answer.header_length
    if length is not None and length > len(content):
        raise InferenceFailed(f"the answer has {len(content)} bytes, of which {length} were announced to be JSON")
    head = read_object(content[:length])
    position, tensors = len(content) if length is None else length, []
    try:
        for output in head["outputs"]:
            size = int(output.get("parameters", {}).get("binary_data_size", 0))
            data = content[position : position + max(size, 0)]
            name, datatype = checked_text(output["name"]), checked_text(output["datatype"])
            tensors.append(Tensor(name, datatype, tuple(map(int, output["shape"])), data))
            position += len(data)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:  # the last one of int(Infinity)
        raise InferenceFailed(f"the answer cannot be read ({error!r})") from None
    return tensors


def read_object(text: bytes) -> dict[str, Any]:
    """Return the JSON object in an answer.

    Raises:
        InferenceFailed: there is none.
    """
    try:
        value = read_json(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InferenceFailed("the answer is not a JSON object; is this a Triton server?")
    return value


def read_json(text: bytes) -> Any:
    """Return what JSON says; objects of Python may take fifty times its size, so that there is a limit.

    Raises:
        ValueError: it is none, nested too deeply, or longer than any of a server's.
    """
    if len(text) > _MAX_JSON:
        raise ValueError(f"{len(text)} bytes of JSON, where {_MAX_JSON} are the most")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


def checked_text(value: Any) -> str:
    """Return a string, and nothing else.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where text belongs")
    return value


def error_text(content: bytes, most: int = _ERROR_LENGTH) -> str:
    """Return what an answer says of the error: Triton's words, or the first `most` bytes of what came instead."""
    try:
        return str(read_json(content)["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return content[:most].decode("utf-8", "replace")


def _place_of_data(tensor: Tensor) -> dict[str, Any]:
    if tensor.region is None:
        return {"binary_data_size": len(tensor.data)}
    return {"shared_memory_region": tensor.region.name, "shared_memory_byte_size": tensor.region.size}
