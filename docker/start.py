"""Become tritonserver, with the flags that a server other people can reach wants. Arguments are further flags.

Environment:
    MASKSERVE_REPOSITORY: the model repository; /models.
    MASKSERVE_ADMIN_KEY: opens what is closed to clients (see `RESTRICTED`); without it nobody can.
    MASKSERVE_GPU: not empty in the GPU image.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping, Sequence

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
    "--strict-readiness=true",
    "--exit-on-error=true",
    f"--exit-timeout-secs={EXIT_SECONDS}",
    f"--http-max-input-size={MAX_INPUT_BYTES}",
    "--metrics-config=summary_latencies=true",
    "--backend-config=python,stub-timeout-seconds=300",
    "--log-format=ISO8601",
)
_CPU_FLAGS = ("--allow-gpu-metrics=false", "--pinned-memory-pool-byte-size=0")


def command(environment: Mapping[str, str], further: Sequence[str] = ()) -> list[str]:
    """The command line of tritonserver.

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
        *(() if environment.get("MASKSERVE_GPU") else _CPU_FLAGS),
        f"--http-restricted-api={closed}",
        f"--grpc-restricted-protocol={closed}",
        *further,
    ]


if __name__ == "__main__":
    line = command(os.environ, sys.argv[1:])
    os.execvp(line[0], line)
