"""A gateway in a process of its own, in front of a server that finds something in every PNG without decoding it."""

from __future__ import annotations

import json
import struct
import sys
import zlib

import uvicorn

from maskserve.transport.wire import ImageRequest, Tensor
from maskserve_gateway.app import create_app
from maskserve_gateway.settings import Settings
from maskserve_gateway.workers import SERVER
from tests.client.conftest import FakeTransport, Found, make_answer


def png(width: int, height: int) -> bytes:
    """A grey PNG of one value: about one byte for a thousand pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((1 + (width + 7) // 8) * height), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def find(request: ImageRequest) -> list[Tensor]:
    """Three instances, in an image as large as the head of the file says."""
    width, height = struct.unpack(">II", request.image[16:24])
    found: list[Found] = [(k, 0.9, (k * 10.0, 0.0, width / 2, float(height))) for k in range(3)]
    return make_answer(found, (height, width))


def main() -> None:
    """Listen on the port of the first argument, with the settings of the second."""
    transport = FakeTransport()
    transport.respond = find
    settings = Settings(urls=("grpc://192.0.2.1:1",), model="tiny", **json.loads(sys.argv[2]))
    uvicorn.run(create_app(settings, transport), port=int(sys.argv[1]), log_level="error", **SERVER)


if __name__ == "__main__":
    main()
