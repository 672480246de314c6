"""The gateway in front of tritonserver, on the same folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processes import free_port, stopped_at_the_end, wait_until_healthy

from maskserve_tools import convert, serve


@contextmanager
def serve_gateway(model: Path, scratch: Path, layout: str) -> Iterator[str]:
    """Convert a Paddle inference folder, serve it with all defaults, and put a gateway in front; gives the URL."""
    name = convert(model, repository=scratch / "model_repository", layout=layout).name
    with serve(scratch / "model_repository", ready_timeout=300) as server:
        port = free_port()
        command = [sys.executable, "-m", "maskserve_tools.cli", "gateway", "--url", server.grpc_url, "--model", name]
        log = scratch / "gateway.log"
        with log.open("wb") as output:
            process = subprocess.Popen([*command, "--port", str(port)], stdout=output, stderr=output)
        with stopped_at_the_end(process):
            url = f"http://127.0.0.1:{port}"
            wait_until_healthy(url, process, log)
            yield url
