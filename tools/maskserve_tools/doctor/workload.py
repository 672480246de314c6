"""What the entries of a repository will ask of a machine, as far as their files tell."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from maskserve.errors import ToolError
from maskserve_convert.triton.sizing import Sizing, size_model, wanted
from maskserve_server.engine_table import backend_called, find_engine
from maskserve_server.entry_parameters import INSTANCES, THREADS
from maskserve_tools.doctor.read_entries import ReadEntry

_MIB = 1 << 20
# docs/benchmarks.md, "Memory of the served path": the peak of a model in one process at 4000x3000, and the size of its
# core, by family. The largest stands in for a family that was not measured.
_MEASURED = {"mask_rt_detr": (460 * _MIB, 57 * _MIB), "pp_yoloe_seg": (375 * _MIB, 34 * _MIB)}
_OTHERS = _MEASURED["mask_rt_detr"]
# The same table: what the layout of three processes takes above that of one, shared out between the two other steps.
_STEP = 68 * _MIB
# The same table: what a further image takes that one process computes at the same time, as a share of the peak.
_FURTHER = 0.4
# A core in ONNX Runtime's C++ backend: measured at 403 MB for Mask-RT-DETR-S, as a share of
# the peak of a process; and what each further image of its batches takes, where an arena keeps it (296 MB).
_IN_BACKEND, _FURTHER_IN_BATCH = 0.9, 0.65
# An engine keeps the weights as they were read and as it packed them.
_COPIES_OF_WEIGHTS = 2


def as_started(entries: Sequence[ReadEntry], cores: int) -> list[ReadEntry]:
    """Return the entries with the instances and threads that our servers start them with.

    Args:
        entries: as they are in the repository.
        cores: how many threads can compute at the same time.
    """
    configs = {entry.name: type(entry.entry.config)() for entry in entries}
    for entry in entries:
        configs[entry.name].CopyFrom(entry.entry.config)
    for name in configs:
        with contextlib.suppress(ToolError):  # `size_of` says so
            size_model(name, configs, cores)
    return [replace(entry, entry=replace(entry.entry, config=configs[entry.name])) for entry in entries]


def size_of(entry: ReadEntry, cores: int) -> Sizing:
    """Return how a core is run: as its entry says, or else as our servers start it.

    Args:
        entry: holds the core.
        cores: how many threads can compute at the same time.

    Raises:
        ToolError: the entry says something that is no number.
    """
    return wanted(entry.entry.config).on(cores)


def thread_parameter(entry: ReadEntry) -> str:
    """Return the parameter that sets the threads of a core; "" for a backend that has none."""
    if entry.backend == "python":
        return THREADS
    backend = backend_called(entry.backend)
    return "" if backend is None else backend.threads


def _shares_threads(entry: ReadEntry) -> bool:
    backend = backend_called(entry.backend)
    return backend is not None and bool(backend.streams)


def threads_advice(entry: ReadEntry, instances: int, cores: int) -> str:
    """Return what to write into a core's configuration so that its instances use `cores`, and no more."""
    number = cores if _shares_threads(entry) else max(1, cores // instances)
    return f"{thread_parameter(entry)}: {number} in the parameters of its config.pbtxt"


def runs_on_gpu(entry: ReadEntry) -> bool:
    """Return whether its configuration insists on a GPU."""
    kinds = entry.entry.config.instance_group
    return any(group.Kind.Name(group.kind) == "KIND_GPU" for group in kinds)


def memory_estimate(entries: Sequence[ReadEntry]) -> int:
    """Return the bytes that the server's processes take at their peak, all instances at work on images of 4000x3000."""
    return sum(entry.instances * _instance_memory(entry) for entry in entries if entry.provenance is not None)


def core_files(entry: ReadEntry) -> list[str]:
    """Return the names of the files that the network itself is in, in the version's folder."""
    if entry.spec is not None and entry.backend == "python":
        engine = find_engine(entry.spec.core.engine)
        return [entry.spec.core.file, *(engine.files[1:] if engine is not None else ())]
    backend = backend_called(entry.backend)
    return [entry.entry.config.default_model_filename or (backend.file if backend is not None else "")]


def _instance_memory(entry: ReadEntry) -> int:
    if entry.backend == "ensemble":
        return 0
    if not entry.holds_core:
        return _STEP
    peak, measured_size = _MEASURED.get(str(entry.recorded("family")), _OTHERS)
    size = sum(_sizes(entry))
    peak += _COPIES_OF_WEIGHTS * max(0, size - measured_size)
    config = entry.entry.config
    if entry.backend == "python":
        return round(
            peak * (1 + _FURTHER * ((size_of(entry, 1).instances if INSTANCES in config.parameters else 1) - 1))
        )
    keeps = (
        config.parameters["enable_mem_arena"].string_value != "0" if "enable_mem_arena" in config.parameters else True
    )
    further = _FURTHER_IN_BATCH * (config.max_batch_size - 1) if keeps and config.max_batch_size > 1 else 0
    return round(peak * (_IN_BACKEND + further))


def _sizes(entry: ReadEntry) -> Iterable[int]:
    for version in entry.versions[-1:]:
        paths = [version / name for name in core_files(entry) if name]
        yield from (path.stat().st_size for path in paths if path.is_file())


def mebibytes(count: int) -> str:
    """Return a number of bytes for people."""
    return f"{math.ceil(count / _MIB):,} MiB"
