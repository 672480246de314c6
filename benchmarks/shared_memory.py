"""What does handing an image over in shared memory save, and from which size on?

    python benchmarks/shared_memory.py --grpc grpc://localhost:8001 --http http://localhost:8000 --model people \
        --photo demo/photos/astronaut.jpg

One request at a time, each way in turn, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2

from maskserve.inputs.image import encode_bmp
from maskserve.transport.base import Transport
from maskserve.transport.connect import open_transport
from maskserve.transport.endpoint import parse_url
from maskserve.transport.shared_memory import SharedMemoryTransport
from maskserve.transport.wire import ImageRequest

SIZES = ((640, 480), (960, 720), (1280, 720), (1920, 1080), (2560, 1440), (4000, 3000))


def ways(url: str) -> tuple[Transport, Transport]:
    """Return a transport that sends every image, and one that shares every one."""
    endpoint = parse_url(url)
    kind = type(sent := open_transport(replace(endpoint, shared_memory=False)))
    reopen = partial(kind, endpoint)  # type: ignore[call-arg]
    return sent, SharedMemoryTransport(reopen(), 0, reopen)  # type: ignore[arg-type]


def measure(transports: tuple[Transport, ...], model: str, image: bytes, repeats: int) -> list[tuple[float, float]]:
    """Return for each way the median milliseconds of a request, and of this process's CPU."""
    samples: list[list[tuple[float, float]]] = [[] for _ in transports]
    for _ in range(repeats):
        for transport, taken in zip(transports, samples, strict=True):
            begin, cpu = time.perf_counter(), time.process_time()
            transport.infer(model, ImageRequest(image))
            taken.append((1e3 * (time.perf_counter() - begin), 1e3 * (time.process_time() - cpu)))
    return [
        (statistics.median(t for t, _ in taken[1:]), statistics.median(c for _, c in taken[1:])) for taken in samples
    ]


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--grpc", default="grpc://localhost:8001", metavar="URL")
    parser.add_argument("--http", default="http://localhost:8000", metavar="URL")
    parser.add_argument("--model", default="people")
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=25)
    args = parser.parse_args()
    pixels = cv2.imread(str(args.photo))
    jpeg = cv2.imencode(".jpg", cv2.resize(pixels, SIZES[0]), [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    images = {"JPEG": bytes(jpeg)}
    for width, height in SIZES:
        images[f"BMP {width}x{height}"] = encode_bmp(cv2.resize(pixels, (width, height)))
    print("| | MB | sent: ms | client's CPU ms | shared: ms | client's CPU ms |\n|---|---:|---:|---:|---:|---:|")
    for url in (args.grpc, args.http):
        transports = ways(url)
        for name, image in images.items():
            (sent, sent_cpu), (shared, shared_cpu) = measure(transports, args.model, image, args.repeats)
            row = f"{sent:.0f} | {sent_cpu:.1f} | {shared:.0f} | {shared_cpu:.1f}"
            print(f"| {url.partition(':')[0]}, {name} | {len(image) / 1e6:.1f} | {row} |", flush=True)


if __name__ == "__main__":
    main()
