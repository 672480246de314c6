"""Let every model of this container segment an image; exit 0 when all did that ever did.

A model that has been broken from the start is named and does not make the server unhealthy while another answers:
restarting would take its neighbours down and fix nothing. With --strict it does.

Triton's own readiness does not notice that the process of a python model died, and never starts it anew.
With --stop-after=N, the Nth failure in a row after a success ends the server, for a restart policy to start again.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import NamedTuple

from maskserve.errors import ToolError
from maskserve_convert.triton.sizing import Wanted
from maskserve_server.cpus import usable_cpus
from maskserve_tools.embedded.canary import HttpEndpoint, send_test_image
from maskserve_tools.embedded.served_entries import python_instances
from maskserve_tools.embedded.sized_entries import sized
from maskserve_tools.embedded.survey import survey


class Memory(NamedTuple):
    """What earlier checks found out.

    Attributes:
        failures: how many checks in a row have failed since the last success.
        answered: the models that have answered at some time.
    """

    failures: int = 0
    answered: frozenset[str] = frozenset()

    @classmethod
    def read(cls, path: Path) -> Memory | None:
        """Read the file; None while the server has never answered."""
        try:
            content = json.loads(path.read_text(encoding="utf-8") or "{}")
            return cls(int(content["failures"]), frozenset(content["answered"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, path: Path) -> None:
        """Keep it for the next check."""
        content = {"failures": self.failures, "answered": sorted(self.answered)}
        path.write_text(json.dumps(content), encoding="utf-8")


def check(repository: Path, port: int, timeout: float) -> tuple[frozenset[str], dict[str, str]]:
    """Send images to each model at once, as many as one of its steps has instances: a single one has died, perhaps.

    Returns:
        The models that answered, and why the others did not.

    Raises:
        ToolError: there is no such repository, or nothing in it.
        OSError: the server does not answer.
    """
    found = sized(survey(repository, any_backend=True), usable_cpus(), Wanted.of(os.environ))
    failures = {broken.name: broken.reason for broken in found.broken}
    asked = [entry for entry in found.entries if entry.takes_images]
    instances = {entry.name: count for entry, count in python_instances(found.entries)}
    send = partial(send_test_image, HttpEndpoint("127.0.0.1", port), timeout=timeout)
    for entry in asked:
        width = max(instances.get(name, 1) for name in (entry.name, *entry.steps))
        try:
            with ThreadPoolExecutor(width) as threads:
                list(threads.map(send, [entry] * width))
        except ToolError as error:
            failures[entry.name] = error.message
    return frozenset(entry.name for entry in asked if entry.name not in failures), failures


def judge(answered: frozenset[str], failures: dict[str, str], before: frozenset[str], *, strict: bool) -> str | None:
    """Return why the server is unhealthy; None where it is not.

    Args:
        answered: the models that answered now.
        failures: why the others did not.
        before: the models that have answered at some time.
        strict: whether a model that never has counts, too.
    """
    counted = [f"{name}: {reason}" for name, reason in failures.items() if strict or name in before]
    if not answered and not counted:
        counted = [f"{name}: {reason}" for name, reason in failures.items()] or ["no model takes images"]
    return "; ".join(counted) or None


def main() -> int:
    """Check, and remember."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=8000, help="of the server's HTTP service")
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds for an image")
    parser.add_argument("--stop-after", type=int, default=0, metavar="N", help="failures that end the server; 0: none")
    parser.add_argument("--server-pid", type=int, default=1, help="the process to end")
    parser.add_argument(
        "--memory", type=Path, default=Path(gettempdir()) / "maskserve-health", help="where failures are counted"
    )
    parser.add_argument("--strict", action="store_true", help="count models that have been broken from the start")
    args = parser.parse_args()
    memory = Memory.read(args.memory)
    before, strict = memory.answered if memory else frozenset(), args.strict or bool(os.environ.get("MASKSERVE_STRICT"))
    answered, failures = frozenset[str](), dict[str, str]()
    try:
        answered, failures = check(Path(os.environ.get("MASKSERVE_REPOSITORY") or "/models"), args.port, args.timeout)
        unhealthy = judge(answered, failures, before, strict=strict)
    except (ToolError, OSError) as error:
        unhealthy = str(error)
    if unhealthy is None:
        for name, reason in failures.items():
            print(f"{name} is broken, the others answer: {reason}", file=sys.stderr)
        Memory(0, before | answered).write(args.memory)
        return 0
    print(unhealthy, file=sys.stderr)
    if args.stop_after and memory is not None:
        if memory.failures + 1 >= args.stop_after:
            args.memory.unlink()
            os.kill(args.server_pid, signal.SIGTERM)
        else:
            Memory(memory.failures + 1, before | answered).write(args.memory)
    return 1


if __name__ == "__main__":
    sys.exit(main())
