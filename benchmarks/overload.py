"""More clients than a server has time for: how many answers still come in time, and how fast the others are refused.

Example: `python benchmarks/overload.py --seconds 20`

Each client sends one image after another and gives up an answer after the deadline. After a refusal it waits as long
as the refusal says. Goodput is the answers that came within the deadline, a second. The clients call Triton over gRPC,
then the gateway over REST. `--repository` takes entries of another kind, such as those of an earlier version.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import numpy as np
from benchmarks.peers.processes import free_port, stopped_at_the_end, wait_until_healthy

from maskserve.errors import MaskserveError, ServerOverloaded
from maskserve.transport.connect import open_transport
from maskserve.transport.endpoint import parse_url
from maskserve.transport.wire import ImageRequest
from maskserve_tools import convert, serve

ROOT = Path(__file__).parent.parent
_IMAGE = (ROOT / "demo" / "photos" / "astronaut.jpg").read_bytes()
_MODEL = "people"
_CLIENTS = (1, 4, 16, 64)
_HEAD = """\
| | clients | goodput, images/s | p50, s | p99, s | refused | p99 of refusals, ms | too late | computed for nobody |
|---|---:|---:|---:|---:|---:|---:|---:|---:|"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request: "answered", "refused" or "failed", and the seconds that took."""

    kind: str
    seconds: float


class Refused(Exception):
    """The server has too many requests; `seconds` is when to come back."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


def load(clients: int, seconds: float, ask: Callable[[], Callable[[], None]]) -> list[Outcome]:
    """Let clients send for a while.

    Args:
        clients: how many.
        seconds: for how long they begin new requests.
        ask: makes a client, which sends one request, and raises `Refused` or anything else.
    """
    outcomes: list[Outcome] = []
    end = time.monotonic() + seconds

    def client() -> None:
        send = ask()
        while time.monotonic() < end:
            begun, pause = time.monotonic(), 0.0
            try:
                send()
                kind = "answered"
            except Refused as refused:
                kind, pause = "refused", refused.seconds
            except (MaskserveError, OSError, http.client.HTTPException):
                kind = "failed"
            outcomes.append(Outcome(kind, time.monotonic() - begun))
            time.sleep(max(min(pause, end - time.monotonic()), 0.0))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def over_grpc(url: str, deadline: float) -> Callable[[], Callable[[], None]]:
    """Return what makes clients of Triton; each has its own channel."""

    def client() -> Callable[[], None]:
        transport = open_transport(replace(parse_url(url), timeout=deadline))

        def send() -> None:
            try:
                transport.infer(_MODEL, ImageRequest(_IMAGE))
            except ServerOverloaded as error:
                raise Refused(error.retry_after or 1.0) from None

        return send

    return client


def over_rest(port: int, deadline: float) -> Callable[[], Callable[[], None]]:
    """Return what makes clients of the gateway."""
    body = json.dumps({"image": base64.b64encode(_IMAGE).decode(), "visualize": False}).encode()

    def send() -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=deadline)) as connection:
            connection.request("POST", "/instance-segmentation", body)
            answer = connection.getresponse()
            answer.read()
            if answer.status == http.client.SERVICE_UNAVAILABLE:
                raise Refused(float(answer.getheader("Retry-After") or 1.0))
            if answer.status != http.client.OK:
                raise http.client.HTTPException(answer.status)

    return lambda: send


def row(
    clients: int, outcomes: Sequence[Outcome], seconds: float, deadline: float, runs: int
) -> tuple[float, list[str]]:
    """Return the goodput, and the cells of the table."""
    times = {kind: [o.seconds for o in outcomes if o.kind == kind] for kind in ("answered", "refused", "failed")}
    in_time = [taken for taken in times["answered"] if taken <= deadline]
    goodput = len(in_time) / seconds
    cells = [str(clients), f"{goodput:.1f}", *(_quantile(times["answered"], share, 1.0, 2) for share in (0.5, 0.99))]
    cells += [str(len(times["refused"])), _quantile(times["refused"], 0.99, 1000.0, 0)]
    cells += [str(len(times["failed"]) + len(times["answered"]) - len(in_time)), str(max(runs - len(in_time), 0))]
    return goodput, cells


def _quantile(values: Sequence[float], share: float, scale: float, digits: int) -> str:
    return f"{scale * float(np.quantile(values, share)):.{digits}f}" if values else "-"


def core_runs(metrics_url: str) -> int:
    """Return how often the network has run: by our own figure, or by Triton's, where an entry does not count."""
    with urlopen(metrics_url, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    names = {"maskserve_core_runs_total": f'"{_MODEL}"', "nv_inference_exec_count": f'"{_MODEL}.core"'}
    counts = [
        sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name) and model in line)
        for name, model in names.items()
    ]
    return round(next((count for count in counts if count), 0))


@contextmanager
def gateway(grpc_url: str, deadline: float, log: Path) -> Iterator[int]:
    """Run a gateway with this deadline; gives its port."""
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "maskserve_tools.cli", "gateway", "--url", grpc_url]
    command += ["--model", _MODEL, "--port", str(port), "--timeout", str(deadline), "--wait-seconds", str(deadline / 2)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    with stopped_at_the_end(process):
        wait_until_healthy(f"http://127.0.0.1:{port}", process, log)
        yield port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each number of clients")
    parser.add_argument("--deadline", type=float, default=6.0, help="of each request, in seconds")
    parser.add_argument("--repository", type=Path, help=f"with a model {_MODEL!r}; converted when it is left out")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        if arguments.repository is None:
            convert(ROOT / "demo" / "model", repository=folder / "models", name=_MODEL)
        server = stack.enter_context(serve(arguments.repository or folder / "models"))
        port = stack.enter_context(gateway(server.grpc_url, arguments.deadline, folder / "gateway.log"))
        print(_HEAD)
        ways = {"gRPC": over_grpc(server.grpc_url, arguments.deadline), "REST": over_rest(port, arguments.deadline)}
        for name, ask in ways.items():
            load(2, 3.0, ask)  # the server learns its pace
            best = 0.0
            for clients in _CLIENTS:
                before = core_runs(server.metrics_url)
                outcomes = load(clients, arguments.seconds, ask)
                runs = core_runs(server.metrics_url) - before
                goodput, cells = row(clients, outcomes, arguments.seconds, arguments.deadline, runs)
                best = max(best, goodput)
                print(f"| {name} | {' | '.join(cells)} |", flush=True)
            print(
                f"\n{name}: {goodput / best:.0%} of the best with {_CLIENTS[-1]} clients\n", file=sys.stderr, flush=True
            )


if __name__ == "__main__":
    main()
