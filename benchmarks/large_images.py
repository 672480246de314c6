"""Where the time goes from the bytes of a JPEG to instances: 640x480 beside 12 megapixels, decoded in full and reduced.

    python benchmarks/large_images.py ENTRY ... --photo FILE [--runs N]

The image is stretched to both sizes. The parts are the stages of the server, as calls; each figure is the median
processor time of the runs in milliseconds, of all threads, so that other programs disturb little. The ways take turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from benchmarks.ways import inputs

from maskserve import contract
from maskserve.decoding.decode import decode, jpeg_size
from maskserve.decoding.decoders import OwnProcess
from maskserve_local.cpus import thread_count
from maskserve_local.sources import open_source
from maskserve_server.spec import FULL, REDUCED
from maskserve_server.stages import Core, Postprocess, Preprocess

SIZES = {"640x480": (640, 480), "4000x3000": (4000, 3000)}


def encoded(photo: Path, size: tuple[int, int], quality: int) -> bytes:
    """Return the image in another size, with some noise, as a camera's: a stretched one has too little to decode."""
    pixels = cv2.resize(cv2.imread(str(photo)), size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    pixels += np.random.default_rng(0).normal(0, 4, pixels.shape).astype(np.float32)
    return bytes(cv2.imencode(".jpg", np.clip(pixels, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def main() -> None:
    """Print a table for each entry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entries", type=Path, nargs="+", metavar="ENTRY", help="of a model repository, or a bundle")
    parser.add_argument("--photo", type=Path, default=Path("demo/photos/astronaut.jpg"))
    parser.add_argument("--quality", type=int, default=90)
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    files = {name: encoded(args.photo, size, args.quality) for name, size in SIZES.items()}
    for entry in args.entries:
        _measure(entry, files, args.runs)


def _measure(entry: Path, files: dict[str, bytes], runs: int) -> None:
    source = open_source(entry)
    core = Core.on(source.spec, source.load(thread_count()))
    postprocess = Postprocess(source.spec)
    ways = [("640x480", FULL), ("4000x3000", FULL), ("4000x3000", REDUCED)]
    found: dict[tuple[str, str], list[list[float]]] = {way: [] for way in ways}
    instances = {}
    stages = {how: Preprocess(replace(source.spec, decode=how), OwnProcess(source.spec.limits)) for _, how in ways}
    for run in range(runs + 1):
        for way in ways:
            size, how = way
            stage, whole = stages[how], jpeg_size(files[size])
            assert whole is not None
            least = stage._prepare.resized(whole) if how == REDUCED else None
            times = [time.process_time()]
            decode(files[size], source.spec.limits, least=least)
            times.append(time.process_time())
            prepared = {**inputs(files[size]), **stage(inputs(files[size]))}
            times.append(time.process_time())
            answer = {**prepared, **core(prepared)}
            times.append(time.process_time())
            columns = postprocess(answer)
            times.append(time.process_time())
            decoding, whole_stage, computing, painting = np.diff(times).tolist()
            if run:  # the first one warms up
                found[way].append([decoding, whole_stage - decoding, computing, painting])
            instances[way] = len(columns[contract.SCORES])
    print(f"**{source.spec.name}**, JPEG files of {', '.join(f'{len(f) / 1e6:.1f} MB' for f in files.values())}\n")
    print("| image | decoded | decode | resize, normalise | core | paint | all | | instances |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    first = None
    for way in ways:
        parts = [statistics.median(column) * 1e3 for column in zip(*found[way], strict=True)]
        first = first or sum(parts)
        cells = " | ".join(f"{part:.1f}" for part in (*parts, sum(parts)))
        print(f"| {way[0]} | {way[1]} | {cells} | {sum(parts) / first:.2f}x | {instances[way]} |", flush=True)
    print()


if __name__ == "__main__":
    main()
