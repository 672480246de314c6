"""The served demo model of an earlier version against this one's, in turns.

    python benchmarks/before_after.py --before OTHER_ENVIRONMENT/bin/python

The other interpreter is that of an environment with the earlier version and its extras `embedded` and `convert`. Each
version converts the demo model and serves it by itself. The client is this version's for both. The answers are compared
first: the same boxes up to rounding. On a busy machine compare the processor time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from benchmarks.peers.processes import free_port, stopped_at_the_end, wait_until_it_answers

from maskserve import create_pipeline
from maskserve.transport.connect import open_transport
from maskserve.transport.endpoint import parse_url
from maskserve.transport.wire import ImageRequest

ROOT = Path(__file__).parent.parent
_IMAGE = ROOT / "demo" / "photos" / "astronaut.jpg"
_MODEL = "people"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Version:
    """A served version, and what its turns gave.

    Attributes:
        name: "before" or "after".
        url: the server.
        pid: the program that owns it.
        seconds: of all turns.
        computed: seconds of processor time that its processes used in them.
        latencies: of each image.
    """

    name: str
    url: str
    pid: int
    seconds: float = 0.0
    computed: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Images a second."""
        return len(self.latencies) / self.seconds

    @property
    def cost(self) -> float:
        """Milliseconds of processor time for an image."""
        return 1000 * self.computed / len(self.latencies)


@contextmanager
def served(name: str, python: str, folder: Path) -> Iterator[Version]:
    """Convert the demo model with a version, and serve it."""
    models, log = folder / name, folder / f"{name}.log"
    program = [python, "-W", "ignore", "-m", "maskserve_tools.cli"]
    convert = [*program, "convert", str(ROOT / "demo" / "model"), "--repository", str(models), "--name", _MODEL]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(convert, check=True, stdout=subprocess.DEVNULL, env=environment, cwd=folder)
    ports = {service: free_port() for service in ("http", "grpc", "metrics")}
    flags = [f"--{service}-port={port}" for service, port in ports.items()]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*program, "serve", str(models), *flags], stdout=output, stderr=output, env=environment, cwd=folder
        )
    with stopped_at_the_end(process):
        wait_until_it_answers(f"http://127.0.0.1:{ports['http']}/v2/models/{_MODEL}/ready", process, log)
        yield Version(name, f"grpc://127.0.0.1:{ports['grpc']}", process.pid)


def turn(version: Version, clients: int, seconds: float) -> None:
    """Let clients ask a version for a while."""
    image = _IMAGE.read_bytes()
    end = time.perf_counter() + seconds

    def client(_: int) -> list[float]:
        transport, taken = open_transport(parse_url(version.url)), []
        while (begun := time.perf_counter()) < end:
            transport.infer(_MODEL, ImageRequest(image))
            taken.append(time.perf_counter() - begun)
        transport.close()
        return taken

    begun, computed = time.perf_counter(), _computed(version.pid)
    with ThreadPoolExecutor(clients) as threads:
        for taken in threads.map(client, range(clients)):
            version.latencies += taken
    version.seconds += time.perf_counter() - begun
    version.computed += _computed(version.pid) - computed


def _computed(root: int) -> float:
    """Return the seconds of processor time that a process and its living descendants have used."""
    parents, ticks = dict[int, int](), dict[int, int]()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(stat.parent.name)
        parents[pid], ticks[pid] = int(fields[1]), int(fields[11]) + int(fields[12])

    def belongs(pid: int) -> bool:
        while pid > 1 and pid != root:
            pid = parents.get(pid, 0)
        return pid == root

    return sum(used for pid, used in ticks.items() if belongs(pid)) / _TICKS


def compare(versions: list[Version]) -> None:
    """Make sure that both answer alike.

    Raises:
        SystemExit: they do not.
    """
    found = []
    for version in versions:
        (result,) = create_pipeline(_MODEL, url=version.url).predict(str(_IMAGE))
        found.append(np.array([[*box["coordinate"], box["score"]] for box in result["boxes"]]))
    before, after = found
    if before.shape != after.shape or not np.allclose(before, after, rtol=1e-3, atol=1e-2):
        raise SystemExit("the two versions answer differently")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, metavar="PYTHON", help="of the earlier version's environment")
    parser.add_argument("--after", default=sys.executable, metavar="PYTHON", help="this one's")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4])
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        pythons = {"before": arguments.before, "after": arguments.after}
        versions = [stack.enter_context(served(name, python, folder)) for name, python in pythons.items()]
        compare(versions)
        print("| clients | | images/s | median ms | processor ms an image |\n|---:|---|---:|---:|---:|")
        for clients in arguments.clients:
            _measure(versions, clients, arguments.turns, arguments.seconds)


def _measure(versions: list[Version], clients: int, turns: int, seconds: float) -> None:
    rows = [Version(version.name, version.url, version.pid) for version in versions]
    for version in versions:
        turn(version, clients, seconds)  # warms up
    for number in range(turns):
        for row in rows if number % 2 else rows[::-1]:
            turn(row, clients, seconds)
    for row in rows:
        cells = f"{row.rate:.2f} | {1000 * float(np.median(row.latencies)):.0f} | {row.cost:.0f}"
        print(f"| {clients} | {row.name} | {cells} |")
    before, after = rows
    rate, cost = after.rate / before.rate, after.cost / before.cost
    print(f"| {clients} | after, of before | {rate:.0%} | | {cost:.0%} |", flush=True)


if __name__ == "__main__":
    main()
