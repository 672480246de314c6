"""Kills and freezes the processes of a server under load, and counts what its clients see.

`make chaos` runs it: `maskserve serve --http-api` with the demo model, four clients, and twenty rounds for each process
and signal. Exit status 1 where an answer was wrong, a request hung, or the service was away for more than ten seconds.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from maskserve_tools import convert
from tests.chaos import victims
from tests.chaos.clients import Addresses, Attempt, Load
from tests.conftest import DEMO, ROOT

BACK_WITHIN = 10.0
_PATIENCE = 60.0
ROLES = ("preprocess", "core", "postprocess", victims.TRITON, victims.GATEWAY_WORKER)
SIGNALS = (signal.SIGKILL, signal.SIGSTOP)
HEAD = (
    "| process | signal | rounds | requests | asked again | wrong | hung | slowest, s | back after, s: median, most |"
    "\n|---|---|---:|---:|---:|---:|---:|---:|---:|"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the clients saw of several rounds.

    Attributes:
        attempts: the requests.
        back: after how many seconds all four clients were served again, for each round.
    """

    attempts: Sequence[Attempt]
    back: Sequence[float]

    @property
    def wrong(self) -> list[str]:
        """Answers that were others than before, and errors that do not say that asking again makes sense."""
        return [attempt.outcome for attempt in self.attempts if attempt.outcome not in ("right", "retriable")]

    @property
    def hung(self) -> int:
        """How many requests took longer than their deadline."""
        return sum(attempt.hung for attempt in self.attempts)

    @property
    def fine(self) -> bool:
        """Whether it is as promised."""
        return not self.wrong and not self.hung and max(self.back) <= BACK_WITHIN

    def row(self, role: str, number: signal.Signals) -> str:
        again = sum(attempt.outcome == "retriable" for attempt in self.attempts)
        slowest = max(attempt.ended - attempt.began for attempt in self.attempts)
        back = f"{median(self.back):.1f}, {max(self.back):.1f}"
        figures = (len(self.back), len(self.attempts), again, len(self.wrong), self.hung, f"{slowest:.1f}", back)
        return f"| {role} | {number.name} | {' | '.join(map(str, figures))} |"


@contextmanager
def serving(repository: Path, log: Path) -> Iterator[tuple[int, Addresses]]:
    """A running `maskserve serve` with the REST service, as users start it."""
    ports = [f"--{name}-port=auto" for name in ("http", "grpc", "metrics")]
    line = [sys.executable, "-m", "maskserve_tools.cli", "serve", str(repository), "--model", DEMO, *ports]
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(
            [*line, "--http-api", "auto"], stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8"
        ) as process,
    ):
        try:
            yield process.pid, _addresses(process)
        finally:
            process.terminate()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def strike(serve: int, role: str, number: signal.Signals) -> float:
    """Send a signal to a process of a role; gives the time."""
    [pid] = victims.find(serve, role)[:1]
    now = time.monotonic()
    os.kill(pid, number)
    return now


def one_round(load: Load, serve: int, role: str, number: signal.Signals) -> float:
    """Strike once, and wait until all clients are served again; gives the seconds until then."""
    event = strike(serve, role, number)
    deadline = event + _PATIENCE
    while (back := load.back_since(event)) is None or not victims.find(serve, role):
        if time.monotonic() > deadline:
            return _PATIENCE
        time.sleep(0.05)
    return back - event


def rounds(addresses: Addresses, serve: int, role: str, number: signal.Signals, count: int) -> Outcome:
    """Strike `count` times under load."""
    with Load(DEMO, addresses) as load:
        back = []
        for _ in range(count):
            back.append(one_round(load, serve, role, number))
            time.sleep(0.5)
    return Outcome(load.attempts, back)


def main() -> int:
    """Strike all, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="for each process and signal (20)")
    parser.add_argument("--role", action="append", choices=ROLES, help="only this one; may be repeated")
    parser.add_argument("--signal", action="append", choices=[number.name for number in SIGNALS], help="likewise")
    args = parser.parse_args()
    chosen = [signal.Signals[name] for name in args.signal or [number.name for number in SIGNALS]]
    fine = True
    with tempfile.TemporaryDirectory() as folder:
        convert(ROOT / "demo" / "model", repository=Path(folder, "models"), name=DEMO)
        log = Path(folder, "log")
        with serving(Path(folder, "models"), log) as (serve, addresses):
            print(HEAD, flush=True)
            for role in args.role or ROLES:
                for number in chosen:
                    outcome = rounds(addresses, serve, role, number, args.rounds)
                    print(outcome.row(role, number), flush=True)
                    if not outcome.fine:
                        fine = False
                        print(*outcome.wrong, sep="\n", file=sys.stderr, flush=True)
        if not fine:
            lines = log.read_text(encoding="utf-8").splitlines()
            print(*[line for line in lines if "INFO logId" not in line], sep="\n", file=sys.stderr)
    return 0 if fine else 1


def _addresses(process: subprocess.Popen[str]) -> Addresses:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if found := re.search(r"the gateway listens on (http://\S+)", line):
            threading.Thread(target=process.stdout.read, daemon=True).start()
            urls = {name: re.search(rf"^  {name} +(\S+)", said, re.MULTILINE) for name in ("gRPC", "HTTP")}
            assert urls["gRPC"] and urls["HTTP"], said
            return Addresses(urls["gRPC"][1], urls["HTTP"][1], found[1])
    raise AssertionError(f"it did not start: {said}")


if __name__ == "__main__":
    sys.exit(main())
