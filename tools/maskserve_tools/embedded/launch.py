"""One start of tritonserver, with all that it needs and leaves behind."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from maskserve.temporary import owned_folder
from maskserve_server.entry_parameters import BY_THE_CORES, INSTANCES, NO_WARM_UP, WARM_UP
from maskserve_tools.embedded import ports
from maskserve_tools.embedded.janitor_process import MARKER, tidied_up_after
from maskserve_tools.embedded.log import TritonLog
from maskserve_tools.embedded.ports import Ports
from maskserve_tools.embedded.process import TritonProcess
from maskserve_tools.embedded.process_environment import ascii_folder, server_environment
from maskserve_tools.embedded.readiness import StartingServer
from maskserve_tools.embedded.served_entries import Entry, python_instances
from maskserve_tools.embedded.shared_memory import RegionNamespace
from maskserve_tools.embedded.snapshot import ServedFolder
from maskserve_tools.embedded.started import Started
from maskserve_tools.embedded.triton_wheel import TritonWheel, link_backend_directory

GRACE = 10.0
_POLL_SECONDS = 1  # how often Triton looks into the served folder


@dataclass(slots=True)
class Launch(Started):
    """The embedded server's.

    Attributes:
        folder: what it serves.
    """

    loads_single: ClassVar[bool] = True
    known_release: ClassVar[bool] = True

    folder: ServedFolder

    def find_broken(self, entries: Sequence[Entry], timeout: float) -> dict[str, str]:
        """See `Started` and `StartingServer.find_broken`."""
        deadline = time.monotonic() + timeout
        starting = StartingServer(self.process, self.log, self.endpoint, self.regions.prefix, timeout, deadline)
        return starting.find_broken(entries)

    def remove(self, names: Iterable[str]) -> None:
        """See `Started`."""
        self.folder.remove(names)

    def load_anew(self, name: str) -> None:
        """See `Started`; Triton looks for changes in the folder."""
        self.folder.touch(name)


def launch(
    wheel: TritonWheel,
    entries: Sequence[Entry],
    chosen: Ports,
    *,
    address: str,
    log: TritonLog,
    ready_timeout: float,
    options: Sequence[str] = (),
) -> Launch:
    """Start a tritonserver on `entries`; it is not ready yet.

    Raises:
        ToolError: it cannot be started.
    """
    with contextlib.ExitStack() as resources:
        resources.callback(log.close)
        owned = resources.enter_context(owned_folder(where=ascii_folder()))
        scratch = owned.path
        regions = RegionNamespace.claim()
        resources.callback(regions.release)
        resources.enter_context(tidied_up_after(scratch, regions))
        folder = ServedFolder.make(scratch)
        resources.callback(folder.close)
        folder.add(entries)
        command = [
            str(wheel.binary),
            f"--backend-directory={link_backend_directory(wheel, scratch / 'backends')}",
            f"--model-repository={folder.path}",
            "--model-control-mode=poll",
            f"--repository-poll-secs={_POLL_SECONDS}",
            "--exit-on-error=false",  # one broken model leaves the others
            f"--id={regions.prefix}",
            f"--backend-config=python,shm-region-prefix-name={regions.prefix}",
            # Triton gives a model 30 seconds to initialise; how long it may take is for the caller to say.
            f"--backend-config=python,stub-timeout-seconds={math.ceil(ready_timeout)}",
            *_endpoint_options(address, chosen),
            "--disable-auto-complete-config",
            f"--exit-timeout-secs={GRACE:.0f}",
            "--pinned-memory-pool-byte-size=0",
            "--allow-gpu-metrics=false",
            *options,
        ]
        environment = {**server_environment(wheel), MARKER: regions.prefix}
        if has_one_of_each(entries):  # the test image is what warms it up
            environment[WARM_UP] = NO_WARM_UP
        inherited = (regions.descriptor, owned.descriptor)
        process = TritonProcess(command, environment, log, inherited)
        return Launch(
            address, chosen, process, log, regions, command, environment, inherited, resources.pop_all(), folder
        )


def has_one_of_each(entries: Sequence[Entry]) -> bool:
    """Return whether one image reaches all that computes."""
    told = [
        entry.config.parameters[INSTANCES].string_value for entry in entries if INSTANCES in entry.config.parameters
    ]
    return all(count == 1 for _, count in python_instances(entries)) and {*told} <= {"1", BY_THE_CORES}


def _endpoint_options(address: str, chosen: Ports) -> list[str]:
    # The library behind HTTP and metrics needs the family, gRPC's needs brackets.
    plain = f"ipv6:{address}" if ":" in address else address
    addresses = [f"--http-address={plain}", f"--metrics-address={plain}", f"--grpc-address={ports.in_url(address)}"]
    numbers = [f"--http-port={chosen.http}", f"--grpc-port={chosen.grpc}", f"--metrics-port={chosen.metrics}"]
    return [*addresses, *numbers]
