"""What the entries of a repository will ask of a machine, as far as their files tell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from maskserve_server.triton import THREADS
from maskserve_tools.doctoring.entries import ReadEntry

_MIB = 1 << 20
# docs/benchmarks.md, "Memory of the served path": the peak of a model in one process at 4000x3000, and the size of its
# core, by family. The largest stands in for a family that was not measured.
_MEASURED = {"mask_rt_detr": (700 * _MIB, 57 * _MIB), "pp_yoloe_seg": (375 * _MIB, 34 * _MIB)}
_OTHERS = _MEASURED["mask_rt_detr"]
# The same table: what the layout of three processes takes above that of one, shared out between the two other steps.
_STEP = 55 * _MIB
# An engine keeps the weights as they were read and as it packed them.
_COPIES_OF_WEIGHTS = 2

# Where the backends read the threads of an instance from, in the `parameters` of a configuration.
_THREAD_PARAMETERS = {"python": THREADS, "onnxruntime": "intra_op_thread_count", "openvino": "INFERENCE_NUM_THREADS"}
_SHARED_THREADS = "openvino"  # whose instances have one compiled model, and its threads, among them


def all_threads(entry: ReadEntry, cores: int) -> int:
    """How many threads the instances of a core compute with, together.

    Args:
        entry: holds the core.
        cores: what an engine, or for the python backend all instances of it, take where no number is configured.
    """
    parameters, name = entry.entry.config.parameters, thread_parameter(entry)
    text = parameters[name].string_value if name in parameters else ""
    configured = int(text) if text.isdigit() else 0
    if entry.backend == _SHARED_THREADS:
        return configured or cores
    if entry.backend == "python" and not configured:
        return entry.instances * max(1, cores // entry.instances)
    return entry.instances * (configured or cores)


def thread_parameter(entry: ReadEntry) -> str:
    """The parameter that sets the threads of a core; "" for a backend that has none."""
    return _THREAD_PARAMETERS.get(entry.backend, "")


def threads_advice(entry: ReadEntry, cores: int) -> str:
    """What to write into a core's configuration so that its instances use `cores`, and no more."""
    number = cores if entry.backend == _SHARED_THREADS else max(1, cores // entry.instances)
    return f"{thread_parameter(entry)}: {number} in the parameters of its config.pbtxt"


def runs_on_gpu(entry: ReadEntry) -> bool:
    """Whether its configuration insists on a GPU."""
    kinds = entry.entry.config.instance_group
    return any(group.Kind.Name(group.kind) == "KIND_GPU" for group in kinds)


def memory_estimate(entries: Sequence[ReadEntry]) -> int:
    """The bytes that the server's processes take at their peak, all instances at work on photos of 4000x3000."""
    return sum(entry.instances * _instance_memory(entry) for entry in entries if entry.provenance is not None)


def core_files(entry: ReadEntry) -> list[str]:
    """The names of the files that the network itself is in, in the version's folder."""
    if entry.spec is not None and entry.backend == "python":
        names = [entry.spec.core.file]
        return [*names, "core.pdiparams"] if entry.spec.core.engine == "paddle" else names
    return [entry.entry.config.default_model_filename or _DEFAULT_FILES.get(entry.backend, "")]


_DEFAULT_FILES = {"onnxruntime": "model.onnx", "openvino": "model.xml"}


def _instance_memory(entry: ReadEntry) -> int:
    if entry.backend == "ensemble":
        return 0
    if not entry.holds_core:
        return _STEP
    peak, measured_size = _MEASURED.get(str(entry.recorded("family")), _OTHERS)
    size = sum(_sizes(entry))
    return peak + _COPIES_OF_WEIGHTS * (size - measured_size) if size > measured_size else peak


def _sizes(entry: ReadEntry) -> Iterable[int]:
    for version in entry.versions[-1:]:
        paths = [version / name for name in core_files(entry) if name]
        yield from (path.stat().st_size for path in paths if path.is_file())


def mebibytes(count: int) -> str:
    """A number of bytes for people."""
    return f"{math.ceil(count / _MIB):,} MiB"
