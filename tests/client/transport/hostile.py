"""A server that says whatever a test wants, as slowly as it wants."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from tests.client.conftest import make_answer

from maskserve.contract import OUTPUTS
from maskserve.transport.wire import Tensor

IMAGE = np.zeros((30, 40, 3), np.uint8)  # what `good_answer` is for
Speech = Callable[[], Iterable[bytes]]
DRIP_SECONDS = 0.02


@contextmanager
def server(speak: Speech) -> Iterator[tuple[str, list[int]]]:
    """Answer each connection with what `speak` yields; gives the address and the bytes that were taken of it."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop, taken = threading.Event(), list[int]()
    threads = [threading.Thread(target=_accept, args=(listener, speak, stop, taken), daemon=True)]
    threads[0].start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", taken
    finally:
        stop.set()
        listener.close()
        threads[0].join(10)


def _accept(listener: socket.socket, speak: Speech, stop: threading.Event, taken: list[int]) -> None:
    listener.settimeout(0.05)
    while not stop.is_set():
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        except OSError:
            return
        with connection, suppress(OSError):
            connection.settimeout(1)
            connection.recv(1 << 16)
            taken.append(0)
            for part in speak():
                connection.sendall(part)
                taken[-1] += len(part)
                if stop.is_set():
                    return
            connection.shutdown(socket.SHUT_WR)


def dripping(text: bytes, after: bytes = b"") -> Iterator[bytes]:
    """Say `after` at once, then a byte of `text` now and then, over and over."""
    yield after
    while True:
        for letter in text:
            time.sleep(DRIP_SECONDS)
            yield bytes([letter])


def endless(text: bytes, after: bytes = b"") -> Iterator[bytes]:
    """Say `after`, then `text` for ever, as fast as it is taken."""
    yield after
    block = text * (1 + 10_000 // len(text))
    while True:
        yield block


def wire_form(tensors: Iterable[Tensor]) -> tuple[dict[str, Any], bytes]:
    """The JSON and the bytes of an answer to an inference request."""
    outputs, data = [], b""
    for tensor in tensors:
        size = {"binary_data_size": len(tensor.data)}
        outputs.append(
            {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape), "parameters": size}
        )
        data += tensor.data
    return {"model_name": "tiny", "model_version": "1", "outputs": outputs}, data


def http(head: bytes, data: bytes = b"", *headers: str, status: str = "200 OK") -> bytes:
    """An answer of HTTP: JSON, then bytes."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(head) + len(data)}", *headers]
    lines += [f"Inference-Header-Content-Length: {len(head)}"] if data else []
    return "\r\n".join([*lines, "", ""]).encode() + head + data


def good_answer() -> tuple[dict[str, Any], bytes]:
    """The answer for three instances in `IMAGE`."""
    found = [(k, 0.5 + k / 10, (1.0 + k, 2.0, 20.0 + k, 25.0)) for k in range(3)]
    tensors = make_answer(found, (30, 40))
    assert [tensor.name for tensor in tensors] == list(OUTPUTS) or len(tensors) == len(OUTPUTS)
    return wire_form(tensors)


def as_http(document: Any, data: bytes) -> bytes:
    return http(json.dumps(document).encode(), data)


def strings(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)
