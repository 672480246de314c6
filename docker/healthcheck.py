"""Let every model of this container segment a picture; exit 0 when all did.

Triton's own readiness does not notice that the process of a python model died, and never starts it anew.
With --stop-after=N, the Nth failure in a row after a success ends the server, for a restart policy to start again.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import gettempdir

from maskserve.errors import ToolError
from maskserve_tools.serving.canary import HttpEndpoint, send_test_picture
from maskserve_tools.serving.repository import python_instances, read_repository


def check(repository: Path, port: int, timeout: float) -> None:
    """Send pictures to each model at once, as many as one of its steps has instances: a single one has died, perhaps.

    Raises:
        ToolError: a model failed, or none takes pictures.
        OSError: the server does not answer.
    """
    entries = read_repository(repository)
    asked = [entry for entry in entries if entry.takes_pictures]
    if not asked:
        raise ToolError(f"no model in {repository} takes pictures")
    instances = {entry.name: count for entry, count in python_instances(entries)}
    send = partial(send_test_picture, HttpEndpoint("127.0.0.1", port), timeout=timeout)
    for entry in asked:
        width = max(instances.get(name, 1) for name in (entry.name, *entry.steps))
        with ThreadPoolExecutor(width) as threads:
            list(threads.map(send, [entry] * width))


def remember_failure(memory: Path) -> int:
    """One failure more. How many there were since the last success; 0 while the server has never answered."""
    if not memory.exists():
        return 0
    failures = int(memory.read_text() or 0) + 1
    memory.write_text(str(failures))
    return failures


def main() -> int:
    """Check, and remember."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=8000, help="of the server's HTTP service")
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds for a picture")
    parser.add_argument("--stop-after", type=int, default=0, metavar="N", help="failures that end the server; 0: none")
    parser.add_argument("--server-pid", type=int, default=1, help="the process to end")
    parser.add_argument(
        "--memory", type=Path, default=Path(gettempdir()) / "maskserve-health", help="where failures are counted"
    )
    args = parser.parse_args()
    try:
        check(Path(os.environ.get("MASKSERVE_REPOSITORY") or "/models"), args.port, args.timeout)
    except (ToolError, OSError) as error:
        print(error, file=sys.stderr)
        if args.stop_after and remember_failure(args.memory) >= args.stop_after:
            args.memory.unlink()
            os.kill(args.server_pid, signal.SIGTERM)
        return 1
    args.memory.write_text("0")
    return 0


if __name__ == "__main__":
    sys.exit(main())
