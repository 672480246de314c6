"""Whether a machine is large enough for a repository, and whether it is used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from maskserve.errors import ToolError
from maskserve_server.cpus import DOT_PRODUCTS
from maskserve_server.engine_table import (
    BF16,
    CONTAINER_CPU,
    FP16,
    FP32,
    INT8,
    SEVEN_BITS,
    backend_called,
    engines_for,
)
from maskserve_tools.doctor.finding import Finding, ok, problem, warning
from maskserve_tools.doctor.machine import Machine
from maskserve_tools.doctor.read_entries import ReadEntry
from maskserve_tools.doctor.workload import mebibytes, memory_estimate, runs_on_gpu, size_of, threads_advice
from maskserve_tools.embedded.shared_memory_need import needed_bytes

_TIGHT = 0.8  # the estimate's share of what is free from which on it is called tight
_FEW_FILES = 1024  # the default of most systems; every connection, region and library of a server takes one
_BF16 = frozenset({"amx_bf16", "avx512_bf16"})
_NATIVE = {BF16: _BF16, FP16: frozenset({"avx512_fp16", "amx_fp16"})}


def check_shared_memory(entries: Sequence[ReadEntry], machine: Machine) -> Finding:
    """Check whether /dev/shm holds what the python models exchange with the server."""
    needed, free = needed_bytes([entry.entry for entry in entries]), machine.shared_memory
    what = f"/dev/shm has {mebibytes(free)} free, the models need about {mebibytes(needed)}"
    if needed <= free:
        return ok(what)
    size = 64 * math.ceil(needed / (64 << 20) + 1)
    why = "requests fail once it is full, long after a start that looked well"
    fix = f"in a container --shm-size={size}m, elsewhere mount -o remount,size={size}m /dev/shm; or serve fewer models"
    return problem(what, why, fix)


def check_memory(entries: Sequence[ReadEntry], machine: Machine) -> Finding:
    """Check whether the memory holds all instances at their peak, by what docs/benchmarks.md measured."""
    needed = memory_estimate(entries)
    if machine.memory is None:
        return ok(f"the models need about {mebibytes(needed)}; what is free cannot be seen here")
    what = f"{mebibytes(machine.memory)} of memory are free, the models need about {mebibytes(needed)}"
    if needed <= _TIGHT * machine.memory:
        return ok(what)
    fix = "fewer instances (instance_group in config.pbtxt), fewer models, --layout single, or more memory"
    if needed <= machine.memory:
        return warning(what, "large images, or another program, may use up the rest", fix)
    return problem(what, "the kernel ends processes when it runs out, and a dead stub is not restarted", fix)


def check_cores(entries: Sequence[ReadEntry], machine: Machine) -> list[Finding]:
    """Check whether each model's threads times instances fit the cores: fewer leave cores unused, more are slower."""
    return [_threads_finding(entry, machine) for entry in _on_cpu(entries)]


def _threads_finding(entry: ReadEntry, machine: Machine) -> Finding:
    cores = machine.usable_cores
    try:
        size = size_of(entry, cores)
    except ToolError as error:
        return problem(error.message, "it does not load", "correct its config.pbtxt, or convert the model again")
    computing, advice = size.instances * size.threads, threads_advice(entry, size.instances, cores)
    what = f"{entry.name} computes with {computing} threads (instances: {size.instances}) on {cores} cores"
    if computing > cores:
        why = "they take the cores from each other and from the other steps, and every request waits longer"
        return warning(what, why, f"{advice}, or fewer instances; without both our servers take what fits")
    if cores - computing >= size.instances:
        why = f"cores that it does not use: {cores - computing}"
        return warning(what, why, f"{advice}, or more instances; without both our servers take what fits")
    return ok(what)


def check_open_files(machine: Machine) -> Finding:
    """Check whether a server may have enough files and connections open."""
    limit = machine.open_files
    if limit is None or limit >= _FEW_FILES:
        return ok(f"{'any number of' if limit is None else limit} files may be open")
    why = "every connection takes one, and the server refuses clients when there are none left"
    return warning(f"only {limit} files may be open", why, "ulimit -n 65536, or --ulimit nofile=65536 in a container")


def check_processor(entries: Sequence[ReadEntry], machine: Machine) -> Finding:
    """Check whether the processor has what makes the engines fast, and whether a lower precision would be faster."""
    if "avx2" not in machine.cpu_flags:
        why = "OpenVINO and ONNX Runtime are several times slower without it"
        return warning("this processor has no AVX2", why, "a newer processor, or a virtual machine that passes it on")
    if _BF16 & machine.cpu_flags and any(_precision(entry) == FP32 for entry in _on_cpu(entries)):
        return ok(
            "this processor computes in bf16: `maskserve convert --precision bf16` made full-size models 2 to 3 times"
            " faster (docs/benchmarks.md); `maskserve verify` says what that costs"
        )
    return ok("the processor has AVX2" + (" and AVX-512" if "avx512f" in machine.cpu_flags else ""))


def _without_dot_products(entry: ReadEntry) -> Finding:
    what = f"this processor multiplies no 8-bit integers, but {entry.name} is in int8"
    if entry.recorded("int8", "weights") == SEVEN_BITS:
        why = "without such instructions int8 brings little, and may be no faster than fp32"
        return warning(what, why, "`maskserve tune` measures it; or convert again with --precision fp32")
    why = "sums of its products overflow here, so that boxes and scores are less exact, and it may be no faster"
    return warning(what, why, "convert it on this machine, which leaves room for the sums, or with --precision fp32")


def check_precision(entries: Sequence[ReadEntry], machine: Machine) -> list[Finding]:
    """Check whether the processor computes each model in the precision that it was converted for."""
    cores = _on_cpu(entries)
    why, fix = "it is emulated, or computed in fp32, and brings nothing", "convert again with --precision fp32"
    findings = [
        problem(f"this processor does not compute in {_precision(entry)}, but {entry.name} does", why, fix)
        for entry in cores
        if _precision(entry) in _NATIVE and not _NATIVE[_precision(entry)] & machine.cpu_flags
    ]
    if not DOT_PRODUCTS & machine.cpu_flags:
        findings += [_without_dot_products(entry) for entry in cores if _precision(entry) == INT8]
    findings += [
        warning(
            f"{entry.name} asks TensorRT for {FP16} by precision_mode, which containers from 26.06 on do not have",
            "their TensorRT 11 computes its fp32 graph in fp32",
            f"convert it again with --precision {FP16}: the graph itself is in {FP16}, for every container",
        )
        for entry in entries
        if any("precision_mode" in one.parameters for one in _accelerators(entry))
    ]
    exact = " or ".join(row.name for row in engines_for(CONTAINER_CPU) if row.backend and not row.backend.not_fp32)
    fix = f"convert with --engine {exact}, or let `maskserve verify` say what it costs"
    return findings + [
        warning(f"{entry.name} is not computed in fp32 here, though converted for it", f"{why}; it moves scores", fix)
        for entry in cores
        if (why := _not_fp32(entry)) and _precision(entry) == FP32 and _BF16 & machine.cpu_flags
    ]


def _accelerators(entry: ReadEntry) -> Sequence[Any]:
    config = entry.entry.config
    return tuple(config.optimization.execution_accelerators.gpu_execution_accelerator) if config is not None else ()


def _not_fp32(entry: ReadEntry) -> str:
    backend = backend_called(entry.backend)
    return "" if backend is None else backend.not_fp32


def _on_cpu(entries: Sequence[ReadEntry]) -> list[ReadEntry]:
    return [entry for entry in entries if entry.holds_core and not runs_on_gpu(entry)]


def _precision(entry: ReadEntry) -> str:
    return str(entry.recorded("engine", "precision"))


def check_gpu(entries: Sequence[ReadEntry], machine: Machine) -> Finding:
    """Check whether the entries that insist on a GPU find one, and whether one that is there is used."""
    wanting = [entry.name for entry in entries if runs_on_gpu(entry)]
    if wanting and not machine.gpus:
        why = "Triton does not load a model whose instance group is KIND_GPU where it sees none"
        fix = "docker run --gpus=all (with the NVIDIA Container Toolkit), or convert for the CPU"
        return problem(f"no GPU can be seen, and there are models for one: {', '.join(wanting)}", why, fix)
    if machine.gpus and entries and not wanting:
        fix = "convert with a target for the GPU; see `maskserve convert --help`"
        return warning(f"GPUs that can be seen: {machine.gpus}", "no model in the repository uses one", fix)
    return ok(f"GPUs that can be seen: {machine.gpus}; entries that want one: {len(wanting)}")
