"""How much of a server's throughput does `predict` on a directory reach? perf_analyzer says what there is to reach.

    python benchmarks/client_throughput.py --url grpc://localhost:8001 --model people --perf-analyzer path/perf_analyzer

`examples/kserve/perf_analyzer.sh --get` says where a perf_analyzer is. In each round it runs between two runs
of the client, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from maskserve import create_pipeline
from maskserve.inputs.sources import images
from maskserve_tools.commands.perf_data import input_data

DEMO_PHOTOS = Path(__file__).parent.parent / "demo" / "photos"
PHOTOS = 128
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


def photos_in(folder: Path) -> list[Path]:
    """Return the first `PHOTOS` images below `folder`."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise SystemExit(f"there are no images in {folder}")
    return found[:PHOTOS]


def directory_of(images: list[Path], folder: Path) -> None:
    """Fill `folder` with `PHOTOS` files, some of them more than once where there are not so many."""
    for number in range(PHOTOS):
        image = images[number % len(images)]
        shutil.copy(image, folder / f"{number:03}{image.suffix}")


def perf_analyzer(args: argparse.Namespace, data: Path, concurrency: int) -> float:
    """Return inferences per second at that concurrency."""
    command = [args.perf_analyzer, "-m", args.model, "-i", "grpc", "-u", args.url.partition("://")[2]]
    command += ["--input-data", str(data), "--concurrency-range", str(concurrency)]
    command += ["--measurement-mode", "count_windows", "--measurement-request-count", str(PHOTOS // 3)]
    command += ["-r", "3", "-s", "99", "-v"]  # the windows of a busy machine differ; their mean counts
    done = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
    found = re.findall(r"Pass \[\d+\] throughput: ([0-9.]+) infer/sec", done.stdout)
    if not found:
        raise SystemExit(f"perf_analyzer failed:\n{done.stdout}{done.stderr}")
    return statistics.fmean(map(float, found))


def client(args: argparse.Namespace, folder: Path, concurrency: int) -> float:
    """Return results per second of `predict` on the directory."""
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
    parser.add_argument("--photos", type=Path, default=DEMO_PHOTOS, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    found = photos_in(args.photos)
    with tempfile.TemporaryDirectory() as scratch:
        data, folder = Path(scratch) / "input.json", Path(scratch) / "photos"
        folder.mkdir()
        directory_of(found, folder)
        data.write_text(json.dumps(input_data(images(found))), encoding="utf-8")
        reach = {concurrency: perf_analyzer(args, data, concurrency) for concurrency in (1, 2, 4, 8)}
        print(
            "perf_analyzer:",
            ", ".join(f"{rate:.1f}/s at {concurrency}" for concurrency, rate in reach.items()),
            flush=True,
        )
        best = max(reach, key=reach.__getitem__)
        shares = []
        for _ in range(args.rounds):
            before = client(args, folder, best)
            theirs = perf_analyzer(args, data, best)
            ours = (before + client(args, folder, best)) / 2
            shares.append(ours / theirs)
            print(f"at {best}: perf_analyzer {theirs:.1f}/s, predict {ours:.1f}/s, {ours / theirs:.0%}", flush=True)
    print(f"median: {statistics.median(shares):.0%}")


if __name__ == "__main__":
    main()
