"""What losing a server costs behind our Envoy and HAProxy configurations, in figures.

`make verify-deployment` runs it: servers with the demo model on loopback, four clients without retries of their own,
and a server that is killed, frozen, stopped in order or left without its model's process. What was with the server
when it ended is lost: it is asked of no other one, since its image may be the cause. Exit status 1 when another request
was lost, or answered otherwise than by a server directly.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskserve_tools import convert
from tests.conftest import ROOT
from tests.deployment.fleet import MODEL, Fleet, running_fleet
from tests.deployment.load import Load, answers, images
from tests.deployment.proxies import INSTALL, RUNNING, Proxy, find

_CLIENTS = 4
_HEALED_WITHIN = 120.0
HEAD = (
    "| proxy | protocol | a server is | sent | lost | asked again | slowest, s | heals in, s |"
    " photos/s before, meanwhile, after |\n|---|---|---|---:|---:|---:|---:|---:|---:|"
)


def kill(_: Proxy, fleet: Fleet) -> None:
    fleet.kill(0)


def freeze(_: Proxy, fleet: Fleet) -> None:
    fleet.freeze(0)


def kill_stub(_: Proxy, fleet: Fleet) -> None:
    fleet.kill_stub(0)


def stop(proxy: Proxy, fleet: Fleet) -> None:
    proxy.take_out(0)
    fleet.servers[0].stop()


EVENTS: dict[str, Callable[[Proxy, Fleet], None]] = {
    "killed": kill,
    "frozen": freeze,
    "without its model's process": kill_stub,
    "stopped in order": stop,
}
# HAProxy does not read what gRPC says of a request, see docker/haproxy.cfg.
NOT_PROMISED = {("haproxy", "grpc", "without its model's process")}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One loss.

    Attributes:
        sent: requests, from before the loss to after the healing.
        problems: what went wrong with others than those that were lost with a server.
        lost: how many were with the server when it ended.
        retries: how often the proxy asked another server.
        slowest: the longest of all requests, in seconds.
        heal: seconds from the moment that the server was up again to its first answer through the proxy.
        rates: requests a second before, while the server was away, and after.
    """

    sent: int
    problems: tuple[str, ...]
    lost: int
    retries: int
    slowest: float
    heal: float
    rates: tuple[float, float, float]

    def row(self, *names: str) -> str:
        rates = ", ".join(f"{rate:.1f}" for rate in self.rates)
        figures = (
            self.sent,
            len(self.problems) + self.lost,
            self.retries,
            f"{self.slowest:.1f}",
            f"{self.heal:.1f}",
            rates,
        )
        return f"| {' | '.join([*names, *map(str, figures)])} |"


def lose(proxy: Proxy, fleet: Fleet, load: Load, event: Callable[[Proxy, Fleet], None], *, requests: int) -> Outcome:
    """Lose the first server under load, and bring it back.

    Args:
        proxy: in front of the servers.
        fleet: the servers.
        load: must be running.
        event: the loss.
        requests: how many have to end before, during and after.
    """
    retries = proxy.retries()
    marks = [time.monotonic()]
    load.wait_for(requests)
    marks.append(time.monotonic())
    event(proxy, fleet)
    load.wait_for(requests)
    marks.append(time.monotonic())
    fleet.kill(0)  # what is left of it
    fleet.restart(0)
    proxy.take_in(0)
    marks.append(time.monotonic())
    _wait_until_used(proxy, 0)
    marks.append(time.monotonic())
    load.wait_for(requests)
    marks.append(time.monotonic())
    rates = (load.rate(*marks[:2]), load.rate(*marks[1:3]), load.rate(*marks[4:6]))
    slowest = max(request.seconds for request in load.requests)
    repeated = proxy.retries() - retries
    return Outcome(len(load.requests), tuple(load.problems), load.lost, repeated, slowest, marks[4] - marks[3], rates)


def _wait_until_used(proxy: Proxy, number: int) -> None:
    before, deadline = proxy.answered(number), time.monotonic() + _HEALED_WITHIN
    while proxy.answered(number) <= before or not proxy.healthy(number):
        assert time.monotonic() < deadline, "the server that came back gets no requests"
        time.sleep(0.05)


def main() -> int:
    """Run every loss behind every proxy that is here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--requests", type=int, default=100, help="before, during and after each loss")
    parser.add_argument("--proxy", action="append", choices=RUNNING, help="only this one")
    parser.add_argument("--event", action="append", choices=EVENTS, help="only this one")
    args = parser.parse_args()
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), args.servers) as (fleet, expected):
        print(HEAD, flush=True)
        for name in args.proxy or RUNNING:
            if find(name) is None:
                print(f"{name} is not here; {INSTALL[name]}", file=sys.stderr)
                continue
            chosen = args.event or tuple(EVENTS)
            problems += measure(name, fleet, expected, events=chosen, requests=args.requests, folder=Path(folder))
    print("\n".join(sorted(set(problems))), file=sys.stderr)
    return 1 if problems else 0


@contextmanager
def running(folder: Path, size: int) -> Iterator[tuple[Fleet, list[tuple[Any, Any]]]]:
    """Servers with the demo model, and their answers."""
    convert(ROOT / "demo" / "model", repository=folder / "models", name=MODEL, layout="single")
    with running_fleet(folder / "models", *[[MODEL]] * size) as fleet:
        yield fleet, answers(fleet.servers[-1].grpc_url, images())


def measure(
    name: str, fleet: Fleet, expected: Sequence[tuple[Any, Any]], *, events: Sequence[str], requests: int, folder: Path
) -> list[str]:
    """Print a row for each loss behind one proxy; what went wrong."""
    problems: list[str] = []
    for protocol in ("grpc", "http"):
        for event in events:
            if (name, protocol, event) in NOT_PROMISED:
                continue
            with ExitStack() as stack:
                proxy = stack.enter_context(RUNNING[name](fleet, folder))
                url = proxy.grpc_url if protocol == "grpc" else proxy.http_url
                load = stack.enter_context(Load([url] * _CLIENTS, images(), expected))
                outcome = lose(proxy, fleet, load, EVENTS[event], requests=requests)
            print(outcome.row(name, protocol, event), flush=True)
            problems += outcome.problems
    return problems


if __name__ == "__main__":
    sys.exit(main())
