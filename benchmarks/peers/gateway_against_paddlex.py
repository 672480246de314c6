"""Our gateway and tritonserver against `paddlex --serve`: the same folder, the same image, the same machine.

    python benchmarks/peers/gateway_against_paddlex.py PADDLE_DIR --photo PHOTO

PaddleX is installed into an environment of its own the first time (`--environment`, about 2 GB). The services run one
after the other, each with its defaults, except that PaddleX has oneDNN switched off, with which it fails (see
`paddlex_peer.py`). `--peer-setting PADDLE_PDX_CPU_NUM_THREADS=1` and the like change PaddleX's settings.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agreement import check_agreement, check_found
from load import Measurement, instances_of, measure, request_body
from ours import serve_gateway
from paddlex_peer import PADDLE, PADDLEX, create_environment, serve_paddlex

from maskserve_convert.choices import LAYOUTS

# Clients, and whether the answer holds the image.
CASES = [(1, False), (4, False), (16, False), (4, True)]


Instances = list[dict[str, Any]]


def run(
    service: AbstractContextManager[str], image: Path, seconds: float, check: Callable[[Instances], None]
) -> list[Measurement]:
    """Start a service, check what it answers, measure every case, and stop it."""
    with service as url:
        bodies = {visualize: request_body(image, visualize=visualize) for visualize in (False, True)}
        check(instances_of(url, bodies[False]))
        instances_of(url, bodies[True])  # the first image loads a font
        measurements = []
        for clients, visualize in CASES:
            measurements.append(measure(url, bodies[visualize], clients=clients, seconds=seconds))
            print(f"{clients} clients, image {visualize}: {measurements[-1]}", file=sys.stderr)
    return measurements


def table(theirs: list[Measurement], ours: list[Measurement]) -> str:
    """Return the two side by side, in Markdown."""
    lines = [
        "| clients | image | | answers | requests/s | p50 ms | p95 ms | |",
        "|---:|---|---|---:|---:|---:|---:|---|",
    ]
    for (clients, visualize), peer, own in zip(CASES, theirs, ours, strict=True):
        head = f"| {clients} | {'yes' if visualize else 'no'} |"
        verdict = f"{own.rate / peer.rate:.1f}x the rate, {own.p95 / peer.p95:.2f} of the p95"
        lines.append(f"{head} paddlex --serve | {_cells(peer)} | |")
        lines.append(f"| | | maskserve | {_cells(own)} | {verdict} |")
    return "\n".join(lines)


def _cells(measured: Measurement) -> str:
    return f"{measured.answers} | {measured.rate:.2f} | {measured.p50 * 1e3:,.0f} | {measured.p95 * 1e3:,.0f}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("folder", type=Path, metavar="PADDLE_DIR", help="a Paddle inference folder")
    add("--photo", type=Path, required=True)
    add("--seconds", type=float, default=15, help="of each measurement, at least (default: %(default)s)")
    add("--layout", choices=LAYOUTS, default="ensemble", help="of our entry (default: %(default)s)")
    add("--environment", type=Path, default=Path.home() / ".cache" / "maskserve" / "paddlex-peer", metavar="DIR")
    add("--peer-setting", action="append", default=[], metavar="NAME=VALUE", help="for PaddleX's environment")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    busy = os.getloadavg()[0]  # others at work fall on whoever is measured then
    settings = dict(setting.split("=", 1) for setting in arguments.peer_setting)
    binaries = create_environment(arguments.environment)
    with TemporaryDirectory() as scratch:
        folder, peer, own = arguments.folder, Path(scratch, "paddlex"), Path(scratch, "maskserve")
        for directory in (peer, own):
            directory.mkdir()
        found: Instances = []
        theirs = run(
            serve_paddlex(binaries, folder, peer, settings),
            arguments.photo,
            arguments.seconds,
            lambda instances: found.extend(check_found(instances, arguments.photo)),
        )
        ours = run(
            serve_gateway(folder, own, arguments.layout),
            arguments.photo,
            arguments.seconds,
            lambda instances: check_agreement(found, instances, arguments.photo),
        )

    extra = f", {' '.join(arguments.peer_setting)}" if settings else ""
    print(f"**{folder.name}**, {arguments.layout}; {PADDLEX}, {PADDLE}, oneDNN off{extra}.")
    print(f"Both find the same {len(found)} instances. Load of the machine before: {busy:.1f}.\n")
    print(table(theirs, ours))


if __name__ == "__main__":
    main()
