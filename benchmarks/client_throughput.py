"""How much of a server's throughput does `predict` on a directory reach? perf_analyzer says what there is to reach.

    python benchmarks/client_throughput.py --url grpc://localhost:8001 --model people --perf-analyzer path/perf_analyzer

perf_analyzer is in the manylinux wheel of tritonclient 2.51.0 (data/data/bin). In each round it runs between two runs
of the client, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import shutil
import statistics
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from maskserve import create_pipeline

PHOTOS = 128


def directory_of(photos: list[Path], folder: Path) -> None:
    """Fill `folder` with `PHOTOS` files."""
    for number in range(PHOTOS):
        photo = photos[number % len(photos)]
        shutil.copy(photo, folder / f"{number:03}{photo.suffix}")


def perf_analyzer_input(photos: list[Path], path: Path) -> None:
    """The same photos in the form that perf_analyzer reads: BYTES with their length in front, in base64."""
    contents = [photo.read_bytes() for photo in photos]
    packed = [base64.b64encode(struct.pack("<I", len(content)) + content).decode() for content in contents]
    path.write_text(json.dumps({"data": [{"IMAGE": {"b64": text, "shape": [1]}} for text in packed]}))


def perf_analyzer(args: argparse.Namespace, data: Path, concurrency: int) -> float:
    """Inferences per second at that concurrency."""
    command = [args.perf_analyzer, "-m", args.model, "-i", "grpc", "-u", args.url.partition("://")[2]]
    command += ["--input-data", str(data), "--concurrency-range", str(concurrency)]
    command += ["--measurement-mode", "count_windows", "--measurement-request-count", str(PHOTOS // 3)]
    command += ["-r", "3", "-s", "99", "-v"]  # the windows of a busy machine differ; their mean counts
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.findall(r"Pass \[\d+\] throughput: ([0-9.]+) infer/sec", done.stdout)
    if not found:
        raise SystemExit(f"perf_analyzer failed:\n{done.stdout}{done.stderr}")
    return statistics.fmean(map(float, found))


def client(args: argparse.Namespace, folder: Path, concurrency: int) -> float:
    """Results per second of `predict` on the directory."""
    with create_pipeline(args.model, url=args.url, concurrency=concurrency) as pipeline:
        next(pipeline.predict(next(folder.iterdir())))
        begin = time.perf_counter()
        count = sum(1 for _ in pipeline.predict(folder))
        return count / (time.perf_counter() - begin)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", default="grpc://localhost:8001")
    parser.add_argument("--model", default="people")
    parser.add_argument("--perf-analyzer", required=True, metavar="PATH")
    parser.add_argument("--photos", type=Path, default=Path(__file__).parent.parent / "demo" / "photos")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    photos = sorted(args.photos.glob("*.jpg"))
    with tempfile.TemporaryDirectory() as scratch:
        data, folder = Path(scratch) / "input.json", Path(scratch) / "photos"
        folder.mkdir()
        directory_of(photos, folder)
        perf_analyzer_input(photos, data)
        reach = {concurrency: perf_analyzer(args, data, concurrency) for concurrency in (1, 2, 4, 8)}
        print("perf_analyzer:", ", ".join(f"{rate:.1f}/s at {concurrency}" for concurrency, rate in reach.items()))
        best = max(reach, key=reach.__getitem__)
        rounds = []
        for _ in range(args.rounds):
            before = client(args, folder, best)
            theirs = perf_analyzer(args, data, best)
            rounds.append((theirs, (before + client(args, folder, best)) / 2))
    for theirs, ours in rounds:
        print(f"at {best}: perf_analyzer {theirs:.1f}/s, predict {ours:.1f}/s, {ours / theirs:.0%}")
    print(f"median: {statistics.median(ours / theirs for theirs, ours in rounds):.0%}")


if __name__ == "__main__":
    main()
