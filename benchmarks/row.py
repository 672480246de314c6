"""One way to ask a model, in a process of its own: a row of `side_by_side.py`.

python -m benchmarks.row WAY REPOSITORY NAME PHOTO

It imports what its way needs, and nothing else, since the start is measured, too.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.turns import answer_turns

BARE = {"bare core, one at a time": (2, 1), "bare core, streams": (1, 2)}  # threads of a run, and runs side by side
QUEUE = "bare core, OpenVINO's queue"
STAGES, IN_PROCESS, SERVED = "stages in a loop", "in the process", "embedded"


def _pipeline(target: Path, photo: bytes) -> Callable[[], int]:
    from maskserve import create_pipeline

    pipeline = create_pipeline(target)
    return lambda: len(pipeline.segment(photo).instances)


def _served(repository: Path, name: str, photo: bytes) -> Callable[[], int]:
    from maskserve import create_pipeline
    from maskserve_tools import serve

    server = serve(repository, models=[name], ready_timeout=600)
    pipeline = create_pipeline(name, url=server.grpc_url, timeout=600)
    return lambda: len(pipeline.segment(photo).instances)


def _core(entry: Path, photo: bytes, threads: int, streams: int) -> Callable[[], int]:
    from benchmarks.ways import bare_core

    ask = bare_core(entry, photo, threads=threads, streams=streams)
    return lambda: len(ask(photo))  # type: ignore[arg-type]  # its outputs: there are no instances yet


def _stages(entry: Path, photo: bytes) -> Callable[[], int]:
    from benchmarks.ways import stages

    ask = stages(entry)

    def run() -> int:
        answer: Any = ask(photo)
        return len(answer["SCORES"])

    return run


def _queue(entry: Path, photo: bytes) -> Callable[[], int]:
    """Return calls of the core as OpenVINO itself would have it for throughput; each caller has a request."""
    import openvino
    from benchmarks.ways import prepared

    from maskserve_server.spec import ModelSpec

    directory = entry / "1"
    spec = ModelSpec.read(directory)
    arrays = prepared(entry, photo)
    feeds: dict[str, Any] = {name: arrays[name] for name in spec.core.inputs}
    model = openvino.Core().read_model(directory / spec.core.file)
    model.reshape({name: list(array.shape) for name, array in feeds.items()})
    settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
    compiled, own = openvino.Core().compile_model(model, "CPU", settings), threading.local()

    def run() -> int:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        own.request.start_async(feeds, share_inputs=True)
        own.request.wait()
        return 0

    return run


def main() -> None:
    """Load, and take turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=[*BARE, QUEUE, STAGES, IN_PROCESS, SERVED])
    parser.add_argument("repository", type=Path)
    parser.add_argument("name")
    parser.add_argument("photo", type=Path)
    args = parser.parse_args()
    entry, photo = args.repository / args.name, args.photo.read_bytes()
    if args.way in BARE:
        run = _core(entry, photo, *BARE[args.way])
    elif args.way == QUEUE:
        run = _queue(entry, photo)
    elif args.way == STAGES:
        run = _stages(entry, photo)
    elif args.way == SERVED:
        run = _served(args.repository, args.name, photo)
    else:
        run = _pipeline(entry, photo)
    answer_turns(run)


if __name__ == "__main__":
    main()
