"""What the pipeline in the process costs a lone photo, on top of its stages in a loop.

    python -m benchmarks.lone_photo ENTRY ... [--photo FILE] [--images N]

The two take turns image by image, so that a busy machine disturbs both alike. ENTRY is a model of the layout "single".
The CPU column is processor time of all threads. The last column is the median of the pairs' ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from benchmarks.ways import IN_PROCESS, STAGES, stages

from maskserve import create_pipeline
from maskserve_tools.tune.tuning import cpu_name

_WARM = 5


def main() -> None:
    """Print a row for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entries", type=Path, nargs="+", metavar="ENTRY")
    parser.add_argument("--photo", type=Path, default=Path("demo/photos/astronaut.jpg"))
    parser.add_argument("--images", type=int, default=100)
    args = parser.parse_args()
    print(f"{args.photo.name}, {cpu_name()}\n")
    print("| | instances | stages, ms | in the process, ms | stages, CPU ms | in the process, CPU ms | ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for entry in args.entries:
        print(_row(entry, args.photo.read_bytes(), args.images), flush=True)


def _row(entry: Path, image: bytes, images: int) -> str:
    pipeline = create_pipeline(entry)
    ways = {STAGES: stages(entry), IN_PROCESS: pipeline.segment}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    processor: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(_WARM + images):
        order = list(ways.items())
        for way, ask in order if number % 2 else order[::-1]:
            cpu, began = time.process_time(), time.perf_counter()
            ask(image)
            seconds[way].append(time.perf_counter() - began)
            processor[way].append(time.process_time() - cpu)
    pairs = zip(seconds[IN_PROCESS][_WARM:], seconds[STAGES][_WARM:], strict=True)
    ratio = statistics.median(own / bare for own, bare in pairs)
    cells = [f"{statistics.median(found[way][_WARM:]) * 1e3:.1f}" for found in (seconds, processor) for way in ways]
    found = len(pipeline.segment(image).instances)
    return f"| {entry.name} | {found} | {' | '.join(cells)} | {ratio:.3f} |"


if __name__ == "__main__":
    main()
