"""Peak memory of a served model while it answers a photo of 4000x3000, all of the server's processes together.

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
from maskserve_tools import convert, serve
from maskserve_tools.options import LAYOUTS


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
    arguments = parser.parse_args()
    photo = cv2.imencode(".jpg", cv2.resize(cv2.imread(str(arguments.photo)), (4000, 3000)))[1].tobytes()
    print("| layout | idle MB | peak MB | instances |\n|---|---:|---:|---:|")
    for layout in LAYOUTS:
        with TemporaryDirectory() as repository:
            convert(arguments.folder, repository=repository, name="model", layout=layout)
            with serve(repository) as server, create_pipeline("model", url=server.grpc_url) as pipeline:
                with PeakMemory(server.pid) as idle:
                    pass
                with PeakMemory(server.pid) as busy:
                    results = [result for _ in range(5) for result in pipeline.predict(photo)]
        print(f"| {layout} | {idle.bytes >> 20} | {busy.bytes >> 20} | {len(results[-1].instances)} |", flush=True)


if __name__ == "__main__":
    main()
