"""Peak memory of a served model while it answers an image of 4000x3000, all of the server's processes together.

Example: `python benchmarks/served_memory.py PADDLE_DIR --photo street.jpg`

The figure is the proportional set size, which counts shared memory once.
"""

from __future__ import annotations

import argparse
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import psutil

from maskserve import create_pipeline
from maskserve_convert.choices import LAYOUTS
from maskserve_convert.triton.sizing import Wanted, size_model
from maskserve_server.cpus import usable_cpus
from maskserve_tools import convert, serve
from maskserve_tools.doctor.read_entries import read_entries
from maskserve_tools.doctor.workload import memory_estimate


class PeakMemory:
    """Watches a process and its children; `bytes` is the largest sum seen."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.bytes = max(self.bytes, self._sum())
            self._stop.wait(0.01)

    def _sum(self) -> int:
        total = 0
        for process in [self._process, *self._process.children(recursive=True)]:
            try:
                total += process.memory_full_info().pss
            except psutil.NoSuchProcess:
                continue
        return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="PADDLE_DIR")
    parser.add_argument("--photo", type=Path, required=True, help="stretched to 4000x3000")
    counts = "how many images are computed at the same time, and sent (default: 1 and 2)"
    parser.add_argument("--instances", type=int, nargs="+", default=[1, 2], metavar="N", help=counts)
    arguments = parser.parse_args()
    image = cv2.imencode(".jpg", cv2.resize(cv2.imread(str(arguments.photo)), (4000, 3000)))[1].tobytes()
    print("| layout | instances | idle MB | peak MB | found | doctor MB |\n|---|---:|---:|---:|---:|---:|", flush=True)
    for layout in LAYOUTS:
        with TemporaryDirectory() as repository:
            convert(arguments.folder, repository=repository, name="model", layout=layout)
            for count in arguments.instances:
                print(f"| {layout} | {count} | {_measured(repository, image, count)} |", flush=True)


def _measured(repository: str, image: bytes, count: int) -> str:
    """Return the figures of one server; it is started twice, the second time with the compiled core from the cache."""
    with serve(repository, instances=count):
        pass
    with (
        serve(repository, instances=count) as server,
        create_pipeline("model", url=server.grpc_url, concurrency=2 * count) as pipeline,
    ):
        with PeakMemory(server.pid) as idle:
            pass
        with PeakMemory(server.pid) as busy:
            results = list(pipeline.predict([image] * 6 * count))
    entries = read_entries(Path(repository)).entries
    configs = {entry.name: entry.entry.config for entry in entries}
    size_model("model", configs, usable_cpus(), Wanted(count))
    figures = (idle.bytes >> 20, busy.bytes >> 20, len(results[-1].instances), memory_estimate(entries) >> 20)
    return " | ".join(map(str, figures))


if __name__ == "__main__":
    main()
