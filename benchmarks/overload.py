"""More clients than a server has time for: how many answers still come in time, and how fast the others are refused.

Example: `python benchmarks/overload.py --seconds 20`

Each client sends one image after another and gives up an answer after the deadline. After a refusal it waits as long
as the refusal says. Goodput is the answers that came within the deadline, a second. The clients call Triton over gRPC,
then the gateway over REST. `--repository` takes entries of another kind, such as those of an earlier version.

A refusal's time is what its caller sees, from before the image is packed. Over REST, "on the wire" begins with the last
byte that was sent. A sleep of 10 ms in another process shows what the machine alone adds: it has other work, too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import numpy as np
from benchmarks.overload_clients import MODEL, READY, Outcome
from benchmarks.peers.processes import free_port, stopped_at_the_end, wait_until_healthy

from maskserve_tools import convert, serve

ROOT = Path(__file__).parent.parent
_CLIENTS = (1, 4, 16, 64)
_PROCESSES = 8  # of clients, at most
_NAP = 0.01
_HEAD = """\
| | clients | goodput, images/s | p50, s | p99, s | refused | refusals, ms: p50 | p99 | p99 on the wire | too late \
| computed for nobody | a sleep's delay, ms: p99 |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"""


def load(clients: int, seconds: float, url: str, deadline: float) -> tuple[list[Outcome], list[float]]:
    """Let clients send for a while, from several processes.

    Args:
        clients: how many.
        seconds: for how long they begin new requests.
        url: what they call, see `benchmarks.overload_clients`.
        deadline: of each request, in seconds.

    Returns:
        what became of the requests; and the delays of a sleep meanwhile, in seconds.
    """
    count = min(clients, _PROCESSES)
    shares = [clients // count + (number < clients % count) for number in range(count)]
    with ExitStack() as stack:
        processes = [stack.enter_context(_process(url, share, seconds, deadline)) for share in shares]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == READY
        with Sleeper() as sleeper:
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("\n")
                process.stdin.flush()
            answers = [process.communicate()[0] for process in processes]
    return [Outcome(*fields) for answer in answers for fields in json.loads(answer)], sleeper.late


@contextmanager
def _process(url: str, clients: int, seconds: float, deadline: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.overload_clients"]
    command += [url, str(clients), str(seconds), str(deadline)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", cwd=ROOT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


class Sleeper:
    """Sleeps again and again, and notes how much later it wakes up: what a busy machine adds to every time."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Sleeper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ended.is_set():
            begun = time.monotonic()
            time.sleep(_NAP)
            self.late.append(time.monotonic() - begun - _NAP)


def row(outcomes: Sequence[Outcome], seconds: float, deadline: float, runs: int) -> tuple[float, list[str]]:
    """Return the goodput, and the cells of the table that follow from the outcomes.

    Answers that come after the time in which requests were begun are no goodput: more clients have more of them.
    """
    answered, refused, failed = ([o for o in outcomes if o.kind == kind] for kind in ("answered", "refused", "failed"))
    in_time = [outcome for outcome in answered if outcome.seconds <= deadline]
    goodput = sum(outcome.ended <= seconds for outcome in in_time) / seconds
    taken = [outcome.seconds for outcome in answered]
    cells = [f"{goodput:.1f}", *(_quantile(taken, share, 1.0, 2) for share in (0.5, 0.99))]
    cells += [str(len(refused)), *_refusal_times(refused)]
    return goodput, [*cells, str(len(failed) + len(answered) - len(in_time)), str(max(runs - len(in_time), 0))]


def _refusal_times(refused: Sequence[Outcome]) -> list[str]:
    whole = [outcome.seconds for outcome in refused]
    wire = [outcome.wire for outcome in refused if outcome.wire is not None]
    return [*(_quantile(whole, share, 1000.0, 0) for share in (0.5, 0.99)), _quantile(wire, 0.99, 1000.0, 0)]


def _quantile(values: Sequence[float], share: float, scale: float, digits: int) -> str:
    return f"{scale * float(np.quantile(values, share)):.{digits}f}" if values else "-"


def core_runs(metrics_url: str) -> int:
    """Return how often the network has run: by our own figure, or by Triton's, where an entry does not count."""
    with urlopen(metrics_url, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    names = {"maskserve_core_runs_total": f'"{MODEL}"', "nv_inference_exec_count": f'"{MODEL}.core"'}
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
    command += ["--model", MODEL, "--port", str(port), "--timeout", str(deadline), "--wait-seconds", str(deadline / 2)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    with stopped_at_the_end(process):
        wait_until_healthy(f"http://127.0.0.1:{port}", process, log)
        yield port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each number of clients")
    parser.add_argument("--deadline", type=float, default=6.0, help="of each request, in seconds")
    parser.add_argument("--clients", type=int, nargs="+", default=_CLIENTS, help="how many; may be several numbers")
    parser.add_argument("--rounds", type=int, default=1, help="of all numbers of clients, in turns")
    parser.add_argument("--way", action="append", choices=["gRPC", "REST"], help="only this one; may be repeated")
    parser.add_argument("--repository", type=Path, help=f"with a model {MODEL!r}; converted when it is left out")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        if arguments.repository is None:
            convert(ROOT / "demo" / "model", repository=folder / "models", name=MODEL)
        server = stack.enter_context(serve(arguments.repository or folder / "models"))
        port = stack.enter_context(gateway(server.grpc_url, arguments.deadline, folder / "gateway.log"))
        print(_HEAD)
        urls = {"gRPC": server.grpc_url, "REST": f"http://127.0.0.1:{port}"}
        for name in arguments.way or urls:
            load(2, 3.0, urls[name], arguments.deadline)  # the server learns its pace
            goodputs: dict[int, list[float]] = {clients: [] for clients in arguments.clients}
            for clients in list(goodputs) * arguments.rounds:
                before = core_runs(server.metrics_url)
                outcomes, late = load(clients, arguments.seconds, urls[name], arguments.deadline)
                runs = core_runs(server.metrics_url) - before
                goodput, cells = row(outcomes, arguments.seconds, arguments.deadline, runs)
                goodputs[clients].append(goodput)
                cells = [name, str(clients), *cells, _quantile(late, 0.99, 1000.0, 0)]
                print(f"| {' | '.join(cells)} |", flush=True)
            means = {clients: sum(found) / len(found) for clients, found in goodputs.items()}
            share = means[max(means)] / max(means.values())
            print(f"\n{name}: {share:.0%} of the best with {max(means)} clients\n", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
