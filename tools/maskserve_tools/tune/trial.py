"""A server with several setups of one model side by side, so that they can take turns."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from maskserve import Pipeline, contract, create_pipeline
from maskserve.temporary import owned_folder
from maskserve_convert.triton import entries, repository
from maskserve_server.spec import Queue
from maskserve_tools.embedded import Server, serve
from maskserve_tools.tune import processes
from maskserve_tools.tune.entry import TunedEntry
from maskserve_tools.tune.load import Turn, take_turn
from maskserve_tools.tune.setups import Setup

_TIMEOUT = 600.0
# A process needs so many times its core, for packed weights and its largest tensors; and Python with its packages.
_PER_CORE_BYTE, _PER_PROCESS = 6, 400 << 20
_SHARE = 0.6  # of the free memory that trials may take


@dataclass(frozen=True, slots=True)
class Trial:
    """A running server with a number of setups.

    Attributes:
        server: it.
        pipelines: by the setup.
        problems: why a setup is not served.
    """

    server: Server
    pipelines: Mapping[Setup, Pipeline]
    problems: Mapping[Setup, str]

    def turn(self, setup: Setup, images: Sequence[bytes], clients: Sequence[int], seconds: float) -> dict[int, Turn]:
        """Measure a setup once for each number of clients."""
        pipeline = self.pipelines[setup]
        pipeline.segment(images[0])  # what was idle may have been swapped out, or has lost its caches
        pids = processes.tree(self.server.pid)
        return {
            count: take_turn(
                pipeline.segment,
                images,
                clients=count,
                seconds=seconds,
                cpu=lambda: processes.processor_seconds(pids),
            )
            for count in clients
        }

    def memory(self, setup: Setup) -> int:
        """Return the bytes of a setup's processes."""
        name = self.pipelines[setup].model
        return processes.memory_of(self.server.pid, [name, *(contract.step_name(name, s) for s in contract.STEPS)])


@contextmanager
def trial(
    entry: TunedEntry, setups: Sequence[Setup], outputs: entries.Tensors, *, cpus: int, clients: int
) -> Iterator[Trial]:
    """Serve setups of an entry side by side; those that do not load are told as problems.

    So many clients are let in as will ask: the entry's own queue may be shorter, and a refusal would end the run.

    Raises:
        ToolError: none of them can be served.
    """
    names = {setup: f"tune-{number}" for number, setup in enumerate(setups)}
    own = entry.spec.queue
    queue = Queue(max(own.size, clients), _TIMEOUT, own.seconds_per_image)
    with owned_folder("tune") as owned, open(os.devnull, "w", encoding="utf-8") as log:
        folder = owned.path / "models"
        for setup, name in names.items():
            made = entry.build(setup, outputs, owned.path / "cores", name=name, cpus=cpus, queue=queue)
            repository.write(folder, name, made)
        with serve(folder, ready_timeout=_TIMEOUT, restart=False, log=log) as server:
            broken = {(contract.model_of(found.name) or found.name): found.reason for found in server.broken}
            pipelines = {
                setup: create_pipeline(name, url=server.grpc_url, timeout=_TIMEOUT)
                for setup, name in names.items()
                if name in server.models
            }
            problems = {
                setup: broken.get(name, "it could not be served")
                for setup, name in names.items()
                if setup not in pipelines
            }
            try:
                yield Trial(server, pipelines, problems)
            finally:
                for pipeline in pipelines.values():
                    pipeline.close()


def groups(setups: Sequence[Setup], current: Setup, core_bytes: int, free: int) -> list[list[Setup]]:
    """Return the setups in groups that fit into the free memory, the current setup in each.

    Args:
        setups: what is to be measured.
        current: what all are compared with.
        core_bytes: the size of the core's files.
        free: bytes of memory that are free.
    """
    room = _SHARE * free
    others = [setup for setup in setups if setup != current]
    made = [[current]]
    used = _need(current, core_bytes)
    for setup in others:
        need = _need(setup, core_bytes)
        if len(made[-1]) > 1 and used + need > room:
            made.append([current])
            used = _need(current, core_bytes)
        made[-1].append(setup)
        used += need
    return made


def free_memory(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Return the bytes of memory that are free."""
    for line in meminfo.read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return 0


def _need(setup: Setup, core_bytes: int) -> int:
    return setup.instances * (_PER_CORE_BYTE * core_bytes + _PER_PROCESS)
