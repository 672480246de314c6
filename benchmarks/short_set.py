"""The short set of `make bench`, measured in the packages that PYTHONPATH names: a line asks, a line of JSON answers.

Run by `benchmarks.remembered` for two releases at the same time. It uses nothing but names that releases keep.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from maskserve import contract, create_pipeline
from maskserve_convert.conversion import convert
from maskserve_local.sources import open_source
from maskserve_server.stages import Core, Postprocess, Preprocess

_SECONDS = 0.7  # of processor time for one measurement, at least
_IMPORT = "import time; begun = time.process_time(); import maskserve; print(time.process_time() - begun)"


def main() -> None:
    """Answer every line with the processor milliseconds of one run of each part."""
    model, photo = Path(sys.argv[1]), Path(sys.argv[2])
    cv2.setNumThreads(1)
    with TemporaryDirectory() as scratch:
        began = time.process_time()
        name = convert(model, repository=scratch, name="bench", layout="single").name
        converting = time.process_time() - began
        parts = _parts(Path(scratch) / name, photo)
        for part in parts.values():
            part()
        print("ready", flush=True)
        for _ in sys.stdin:
            found = {name: _milliseconds(part) for name, part in parts.items()}
            print(json.dumps({**found, "import": _import(), "convert": converting * 1e3}), flush=True)


def _parts(entry: Path, photo: Path) -> dict[str, Callable[[], object]]:
    small = photo.read_bytes()
    pixels = cv2.resize(cv2.imread(str(photo)), (4000, 3000), interpolation=cv2.INTER_CUBIC)
    large = cv2.imencode(".jpg", pixels)[1].tobytes()
    source = open_source(entry)
    preprocess, postprocess = Preprocess(source.spec), Postprocess(source.spec)
    core = Core.on(source.spec, source.load(1))
    prepared: list[dict[str, Any]] = []
    for image in (small, large):
        request = _request(image)
        feeds = {**request, **preprocess(request)}
        prepared.append({**feeds, **{name: array.copy() for name, array in core(feeds).items()}})
    pipeline = create_pipeline(entry)
    return {
        "preprocess, 512x512": lambda: preprocess(_request(small)),
        "preprocess, 12 megapixels": lambda: preprocess(_request(large)),
        "core": lambda: core(prepared[0]),
        "paint, 512x512": lambda: postprocess(prepared[0]),
        "paint, 12 megapixels": lambda: postprocess(prepared[1]),
        "in the process": lambda: pipeline.segment(small),
    }


def _request(image: bytes) -> dict[str, Any]:
    encoded = np.empty(1, np.object_)
    encoded[0] = image
    return {contract.IMAGE: encoded, contract.THRESHOLD: None, contract.CLASS_IDS: None}


def _milliseconds(part: Callable[[], object]) -> float:
    runs, began = 0, time.process_time()
    while (passed := time.process_time() - began) < _SECONDS or not runs:
        part()
        runs += 1
    return passed / runs * 1e3


def _import() -> float:
    return 1e3 * float(
        subprocess.run(
            [sys.executable, "-c", _IMPORT], check=True, capture_output=True, text=True, encoding="utf-8"
        ).stdout
    )


if __name__ == "__main__":
    main()
