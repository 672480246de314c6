"""Mixed traffic for minutes, and how memory, descriptors, threads and shared memory grow with it, for each process.

Example: `python benchmarks/soak.py --minutes 60`

The demo model is served in both ways at once, with the REST service in front of one of them. Two clients send what
clients send: JPEG, PNG and pixels, small and large, damaged files, thresholds that make no sense, and requests that
are called off, over gRPC, HTTP and REST. A slope is the least-squares line through the samples after the warm-up, for
1,000 requests.
"""

from __future__ import annotations

import argparse
import base64
import csv
import itertools
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import psutil
from benchmarks.peers.processes import free_port, stopped_at_the_end, wait_until_healthy

from maskserve.errors import MaskserveError
from maskserve.inputs.image import encode_bmp
from maskserve.transport.cancellation import Cancellation
from maskserve.transport.connect import open_transport
from maskserve.transport.endpoint import parse_url
from maskserve.transport.wire import ImageRequest
from maskserve_tools import convert

ROOT = Path(__file__).parent.parent
_FIGURES = ("private", "rss", "descriptors", "threads")
_SHARED_MEMORY = "/dev/shm"
_MODELS = ("people", "people-single")
_LIMIT = 0.5  # MB for 1,000 requests


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at a moment; memory in MB: pages of its own (some may be swapped out), and with those that it shares.

    Shared memory is a process of its own here.
    """

    process: str
    requests: int
    seconds: float
    values: Mapping[str, float]


class Traffic:
    """Clients in threads, and how many requests they have sent."""

    def __init__(self, grpc_url: str, http_url: str, rest_url: str) -> None:
        self.outcomes: Counter[str] = Counter()
        self._rest_url = f"{rest_url}/instance-segmentation"
        self._triton = {url: open_transport(parse_url(url)) for url in (grpc_url, http_url)}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(2)]

    @property
    def requests(self) -> int:
        """How many were sent."""
        return sum(self.outcomes.values())

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for transport in self._triton.values():
            transport.close()

    def _send(self, number: int) -> None:
        images = itertools.cycle(_images())
        ways: list[Callable[[ImageRequest, str], None]] = [
            *(lambda request, model, t=transport: t.infer(model, request) for transport in self._triton.values()),
            self._rest,
        ]
        for turn in itertools.count(number):
            if self._stop.is_set():
                return
            request = _varied(next(images), turn)
            timer = None
            if turn % 17 == 3 and request.cancellation is not None:
                timer = threading.Timer(0.03, request.cancellation.call_off)
                timer.start()
            try:
                ways[turn % len(ways)](request, _MODELS[turn % len(_MODELS)])
                outcome = "answered"
            except MaskserveError as error:
                outcome = type(error).__name__
            except urllib.error.HTTPError as error:
                outcome = f"REST {error.code}"
            if timer is not None:
                timer.join()
            self.outcomes[outcome] += 1

    def _rest(self, request: ImageRequest, _: str) -> None:
        body = {"image": base64.b64encode(request.image).decode(), "visualize": len(request.image) % 2 == 0}
        if request.threshold is not None:
            body["threshold"] = request.threshold
        message = urllib.request.Request(self._rest_url, json.dumps(body).encode())
        with urllib.request.urlopen(message, timeout=60) as answer:
            answer.read()


def _images() -> list[bytes]:
    photos = [path.read_bytes() for path in sorted((ROOT / "demo" / "photos").glob("*.jpg"))]
    pixels = [cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR) for photo in photos]
    large = cv2.imencode(".jpg", cv2.resize(pixels[0], (3000, 2250)))[1].tobytes()
    png = cv2.imencode(".png", pixels[1])[1].tobytes()
    damaged = photos[0][: len(photos[0]) // 2]
    return [*photos, png, encode_bmp(pixels[2]), damaged, *photos, b"no image", *photos, large]


def _varied(image: bytes, turn: int) -> ImageRequest:
    threshold = {1: 0.0, 4: 0.9, 6: 1.5}.get(turn % 13)
    return ImageRequest(image, threshold, (0,) if turn % 5 == 0 else None, cancellation=Cancellation())


def samples(parents: Sequence[psutil.Process], requests: int, seconds: float) -> Iterator[Sample]:
    """Yield a sample of each process of the server and the gateway."""
    for process in [child for parent in parents for child in (parent, *parent.children(recursive=True))]:
        try:
            memory = process.memory_full_info()
            private = (memory.uss + memory.swap) / 1e6
            figures = (private, memory.rss / 1e6, float(process.num_fds()), float(process.num_threads()))
            name = _name(process)
        except psutil.NoSuchProcess:
            continue
        yield Sample(name, requests, seconds, dict(zip(_FIGURES, figures, strict=True)))
    yield Sample(_SHARED_MEMORY, requests, seconds, {"private": _shared_memory(parents) / 1e6})


def _shared_memory(parents: Sequence[psutil.Process]) -> int:
    """Return the bytes of the files in /dev/shm that these processes and their children have mapped."""
    sizes = {}
    for process in [child for parent in parents for child in (parent, *parent.children(recursive=True))]:
        with suppress(psutil.Error, OSError):
            for mapped in process.memory_maps():
                if mapped.path.startswith(_SHARED_MEMORY):
                    about = os.stat(mapped.path)
                    sizes[about.st_ino] = about.st_blocks * 512
    return sum(sizes.values())


def _name(process: psutil.Process) -> str:
    command = process.cmdline()
    words = " ".join(command)
    model = next((Path(word).parts[-3] for word in command if word.endswith("/model.py")), None)
    kind = "gateway" if "gateway" in words else process.name()
    return f"{model or kind} ({process.pid})"


def slope(found: Sequence[Sample], figure: str) -> float:
    """Return the growth for 1,000 requests."""
    requests = [sample.requests / 1000 for sample in found]
    values = [sample.values[figure] for sample in found]
    return float(np.polyfit(requests, values, 1)[0]) if len(set(requests)) > 1 else 0.0


def table(found: Sequence[Sample], warm_up: float) -> str:
    """Return the growth of each process after the warm-up, as a Markdown table; what grows too fast is in bold."""
    lines = [
        "| process | memory of its own at the start, MB | at the end | MB for 1,000 requests | in the last half | "
        "RSS | descriptors | threads |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for process in dict.fromkeys(sample.process for sample in found):
        own = [sample for sample in found if sample.process == process and sample.seconds >= warm_up]
        if len(own) < 3:
            continue
        half = own[len(own) // 2 :]
        growth = slope(own, "private")
        cells = [
            f"{own[0].values['private']:.0f}",
            f"{own[-1].values['private']:.0f}",
            _bold(growth),
            _bold(slope(half, "private")),
        ]
        cells += [f"{slope(own, name):+.2f}" if name in own[0].values else "" for name in _FIGURES[1:]]
        lines.append(f"| {process.partition(' (')[0]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _bold(growth: float) -> str:
    return f"**{growth:+.2f}**" if growth > _LIMIT else f"{growth:+.2f}"


class Kept:
    """Samples, which are in a file as soon as they are taken: a run that is broken off has them, too."""

    def __init__(self, file: Path) -> None:
        self.samples: list[Sample] = []
        self._file = file
        self._write("w", [["process", "requests", "seconds", *_FIGURES]])

    def add(self, found: Sequence[Sample]) -> None:
        """Keep samples."""
        self.samples += found
        rows = [[s.process, s.requests, f"{s.seconds:.0f}", *(s.values.get(f, "") for f in _FIGURES)] for s in found]
        self._write("a", rows)

    def _write(self, mode: str, rows: Sequence[Sequence[object]]) -> None:
        with self._file.open(mode, newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)


def soak(repository: Path, minutes: float, every: float, log: Path, kept: Kept) -> Counter[str]:
    """Serve, send, and look at the processes, until the time is over or Ctrl-C ends it."""
    ports = {name: free_port() for name in ("http", "grpc", "metrics", "rest")}
    grpc_url, http_url = f"grpc://127.0.0.1:{ports['grpc']}", f"http://127.0.0.1:{ports['http']}"
    rest_url = f"http://127.0.0.1:{ports['rest']}"
    server_options = [f"--{name}-port={ports[name]}" for name in ("http", "grpc", "metrics")]
    with log.open("wb") as output, ExitStack() as stack:

        def start(*words: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-W", "ignore", "-m", "maskserve_tools.cli", *words]
            process = subprocess.Popen(command, stdout=output, stderr=output)
            stack.enter_context(stopped_at_the_end(process))
            return process

        server = start("serve", str(repository), *server_options)
        gateway = start("gateway", "--url", grpc_url, "--model", _MODELS[0], "--port", str(ports["rest"]))
        wait_until_healthy(rest_url, gateway, log)
        begun, parents = time.monotonic(), [psutil.Process(process.pid) for process in (server, gateway)]
        with Traffic(grpc_url, http_url, rest_url) as traffic, suppress(KeyboardInterrupt):
            while time.monotonic() - begun < minutes * 60 and server.poll() is None:
                time.sleep(every)
                kept.add(list(samples(parents, traffic.requests, time.monotonic() - begun)))
        return traffic.outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two samples")
    parser.add_argument("--warm-up", type=float, default=0.25, help="share of the time that the slopes leave out")
    parser.add_argument("--output", type=Path, default=Path("output/soak"), help="a folder for the samples and the log")
    parser.add_argument("--repository", type=Path, help="with people and people-single; converted when it is left out")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        repository = arguments.repository or Path(folder)
        if arguments.repository is None:
            convert(ROOT / "demo" / "model", repository=repository, name=_MODELS[0])
            convert(ROOT / "demo" / "model", repository=repository, name=_MODELS[1], layout="single")
        kept = Kept(arguments.output / "samples.csv")
        outcomes = soak(repository, arguments.minutes, arguments.every, arguments.output / "server.log", kept)
    minutes = kept.samples[-1].seconds / 60 if kept.samples else 0.0
    print(f"{sum(outcomes.values()):,} requests in {minutes:.0f} minutes: {dict(outcomes.most_common())}\n")
    print(table(kept.samples, minutes * 60 * arguments.warm_up))


if __name__ == "__main__":
    main()
