"""Run tritonserver with the flags of a server that other people can reach. Arguments are further flags.

A supervisor starts tritonserver again when it, or a process of a model, dies or freezes.

Environment:
    MASKSERVE_REPOSITORY: the model repository; /models.
    MASKSERVE_ADMIN_KEY: opens what is closed to clients (see `RESTRICTED`); without it nobody can.
    MASKSERVE_GPU: not empty in the GPU image.
    MASKSERVE_INSTANCES, MASKSERVE_THREADS: how many images each model computes at the same time, and the threads of
        each. Without them it is what the entries say, or else what fits the cores that the container may use.
    MASKSERVE_STRICT: not empty where one broken entry shall end the server. Else the others are served, and Triton's
        log and the health check name the broken one.
    MASKSERVE_NO_SUPERVISOR: not empty where nothing is to be started again: this program becomes tritonserver.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from maskserve.errors import ToolError
from maskserve_convert.triton.sized_view import sized_view
from maskserve_convert.triton.sizing import Wanted
from maskserve_server.cpus import usable_cpus
from maskserve_tools.embedded.container import supervise
from maskserve_tools.embedded.ports import Ports
from maskserve_tools.embedded.survey import Survey, survey

# What a client of ours never calls. Shared memory: a client that may register regions reads and writes the server's.
# Clients ask for health, metadata, model-config (class names), inference; doctor and perf_analyzer for statistics.
RESTRICTED = ("model-repository", "shared-memory", "trace", "logging")
KEY_HEADER = "maskserve-admin-key"
# Largest request: an image file of 64 MiB, which is also the limit of converted models, and what surrounds it.
MAX_INPUT_BYTES = (64 << 20) + (1 << 20)
EXIT_SECONDS = 30

_FLAGS = (
    "--model-control-mode=none",
    "--disable-auto-complete-config",
    f"--exit-timeout-secs={EXIT_SECONDS}",
    f"--http-max-input-size={MAX_INPUT_BYTES}",
    "--metrics-config=summary_latencies=true",
    "--backend-config=python,stub-timeout-seconds=300",
    "--log-format=ISO8601",
)
_STRICT_FLAGS = ("--exit-on-error=true", "--strict-readiness=true")
# With strict readiness one model that does not load keeps the whole server out of its load balancer. Triton opens its
# ports when it has tried to load all, and is not ready any more when it stops; the health check looks at each model.
_TOLERANT_FLAGS = ("--exit-on-error=false", "--strict-readiness=false")
_CPU_FLAGS = ("--allow-gpu-metrics=false", "--pinned-memory-pool-byte-size=0")


def command(environment: Mapping[str, str], further: Sequence[str] = ()) -> list[str]:
    """Return the command line of tritonserver.

    Args:
        environment: see above.
        further: flags that are put behind ours.
    """
    key = environment.get("MASKSERVE_ADMIN_KEY") or secrets.token_hex(16)
    closed = f"{','.join(RESTRICTED)}:{KEY_HEADER}={key}"
    return [
        "tritonserver",
        f"--model-repository={environment.get('MASKSERVE_REPOSITORY') or '/models'}",
        *_FLAGS,
        *(_STRICT_FLAGS if environment.get("MASKSERVE_STRICT") else _TOLERANT_FLAGS),
        *(() if environment.get("MASKSERVE_GPU") else _CPU_FLAGS),
        f"--http-restricted-api={closed}",
        f"--grpc-restricted-protocol={closed}",
        *further,
    ]


def sized(environment: Mapping[str, str], further: Sequence[str] = ()) -> dict[str, str]:
    """Return the environment with a view of the repository in which every model fits the cores.

    A server that looks for new models looks into the repository itself.

    Args:
        environment: see above.
        further: flags that are put behind ours.

    Raises:
        ToolError: a number in the environment or in an entry is none.
    """
    if any(flag.startswith(("--model-control-mode", "--model-repository")) for flag in further):
        return dict(environment)
    repository, asked = Path(environment.get("MASKSERVE_REPOSITORY") or "/models"), Wanted.of(environment)
    try:
        return {**environment, "MASKSERVE_REPOSITORY": str(sized_view(repository, usable_cpus(), asked))}
    except OSError as error:  # Triton says what is wrong with a repository
        logging.warning("models that say nothing of instances have one, for %s", error)
        return dict(environment)


def option(line: Sequence[str], name: str, default: str) -> str:
    """Return the value of a flag, the last where there are several, as Triton takes it."""
    begins = f"--{name}="
    return next((word.removeprefix(begins) for word in reversed(line) if word.startswith(begins)), default)


def watched(environment: Mapping[str, str], line: Sequence[str]) -> Survey | None:
    """Return the entries to watch; None where nothing is to be watched, or nothing can be."""
    if environment.get("MASKSERVE_NO_SUPERVISOR"):
        return None
    if option(line, "allow-http", "true").lower() in ("false", "0"):
        logging.warning("without HTTP the models cannot be asked: nothing is started again when it dies")
        return None
    try:
        return survey(Path(option(line, "model-repository", "/models")), any_backend=True)
    except ToolError as error:
        logging.warning("%s: nothing is started again when it dies", error.message)
        return None


def main() -> int:
    """Run tritonserver; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        line = command(sized(os.environ, sys.argv[1:]), sys.argv[1:])
    except ToolError as error:
        logging.error("%s", error.message)
        return 1
    found = watched(os.environ, line)
    if found is None:
        os.execvp(line[0], line)
    services = {"http": "8000", "grpc": "8001", "metrics": "8002"}
    chosen = Ports(**{name: int(option(line, f"{name}-port", port)) for name, port in services.items()})
    address = option(line, "http-address", "0.0.0.0")
    try:
        return supervise(line, found, address=address, chosen=chosen, grace=EXIT_SECONDS)
    except ToolError as error:
        logging.error("%s", error.message)
        return 1


if __name__ == "__main__":
    sys.exit(main())
