"""Whether a machine is large enough for a repository, and whether it is used."""

from __future__ import annotations

import math
from collections.abc import Sequence

from maskserve_tools.doctoring.entries import ReadEntry
from maskserve_tools.doctoring.finding import Finding, ok, problem, warning
from maskserve_tools.doctoring.machine import Machine
from maskserve_tools.doctoring.workload import all_threads, mebibytes, memory_estimate, runs_on_gpu, threads_advice
from maskserve_tools.serving.shared_memory_need import needed_bytes

_TIGHT = 0.8  # the estimate's share of what is free from which on it is called tight
_FEW_FILES = 1024  # the default of most systems; every connection, region and library of a server takes one
_BF16 = frozenset({"amx_bf16", "avx512_bf16"})
_NATIVE = {"bf16": _BF16, "fp16": frozenset({"avx512_fp16", "amx_fp16"})}


def check_shared_memory(entries: Sequence[ReadEntry], machine: Machine) -> Finding:
    """Whether /dev/shm holds what the python models exchange with the server."""
    needed, free = needed_bytes([entry.entry for entry in entries]), machine.shared_memory
    what = f"/dev/shm has {mebibytes(free)} free, the models need about {mebibytes(needed)}"
    if needed <= free:
        return ok(what)
    size = 64 * math.ceil(needed / (64 << 20) + 1)
    why = "requests fail once it is full, long after a start that looked well"
    mend = f"in a container --shm-size={size}m, elsewhere mount -o remount,size={size}m /dev/shm; or serve fewer models"
    return problem(what, why, mend)


def check_memory(entries: Sequence[ReadEntry], machine: Machine) -> Finding:
    """Whether the memory holds all instances at their peak, by what docs/benchmarks.md measured."""
    needed = memory_estimate(entries)
    if machine.memory is None:
        return ok(f"the models need about {mebibytes(needed)}; what is free cannot be seen here")
    what = f"{mebibytes(machine.memory)} of memory are free, the models need about {mebibytes(needed)}"
    if needed <= _TIGHT * machine.memory:
        return ok(what)
    mend = "fewer instances (instance_group in config.pbtxt), fewer models, --layout single, or more memory"
    if needed <= machine.memory:
        return warning(what, "large photos, or another program, may use up the rest", mend)
    return problem(what, "the kernel ends processes when it runs out, and a dead stub is not restarted", mend)


def check_cores(entries: Sequence[ReadEntry], machine: Machine) -> list[Finding]:
    """Whether each model's threads times instances fit the cores: more of them fight, fewer leave cores unused."""
    return [_threads_finding(entry, machine) for entry in _on_cpu(entries)]


def _threads_finding(entry: ReadEntry, machine: Machine) -> Finding:
    wanted, instances, cores = all_threads(entry, machine.cores), entry.instances, machine.usable_cores
    what = f"{entry.name} computes with {wanted} threads (instances: {instances}) on {cores} cores"
    if wanted > cores:
        limited = machine.usable_cores < machine.cores
        container = f"; the container's limit is not seen by a model that counts {machine.cores}" if limited else ""
        why = "they take the cores from each other and from the other steps, and every request waits longer" + container
        return warning(what, why, f"{threads_advice(entry, cores)}, or fewer instances")
    if cores - wanted >= instances:
        why = f"cores that it does not use: {cores - wanted}"
        return warning(what, why, f"{threads_advice(entry, cores)}, or more instances")
    return ok(what)


def check_open_files(machine: Machine) -> Finding:
    """Whether a server may have enough files and connections open."""
    limit = machine.open_files
    if limit is None or limit >= _FEW_FILES:
        return ok(f"{'any number of' if limit is None else limit} files may be open")
    why = "every connection takes one, and the server refuses clients when there are none left"
    return warning(f"only {limit} files may be open", why, "ulimit -n 65536, or --ulimit nofile=65536 in a container")


def check_processor(entries: Sequence[ReadEntry], machine: Machine) -> Finding:
    """Whether the processor has what the engines are fast with, and whether a lower precision would bring more."""
    if "avx2" not in machine.cpu_flags:
        why = "OpenVINO and ONNX Runtime are several times slower without it"
        return warning("this processor has no AVX2", why, "a newer processor, or a virtual machine that passes it on")
    if _BF16 & machine.cpu_flags and any(_precision(entry) == "fp32" for entry in _on_cpu(entries)):
        return ok(
            "this processor computes in bf16: `maskserve convert --precision bf16` made full-size models 2 to 3 times"
            " faster (docs/benchmarks.md); `maskserve verify` says what that costs"
        )
    return ok("the processor has AVX2" + (" and AVX-512" if "avx512f" in machine.cpu_flags else ""))


def check_precision(entries: Sequence[ReadEntry], machine: Machine) -> list[Finding]:
    """Whether the processor computes each model in the precision that it was converted for."""
    cores = _on_cpu(entries)
    why, mend = "it is emulated, or computed in fp32, and brings nothing", "convert again with --precision fp32"
    findings = [
        problem(f"this processor does not compute in {_precision(entry)}, but {entry.name} does", why, mend)
        for entry in cores
        if _precision(entry) in _NATIVE and not _NATIVE[_precision(entry)] & machine.cpu_flags
    ]
    why = "Triton's OpenVINO backend computes in bfloat16 on every processor that has it, which moves scores"
    mend = "convert with --engine onnxruntime, or let `maskserve verify` say what it costs"
    return findings + [
        warning(f"{entry.name} is not computed in fp32 here, though converted for it", why, mend)
        for entry in cores
        if entry.backend == "openvino" and _precision(entry) == "fp32" and _BF16 & machine.cpu_flags
    ]


def _on_cpu(entries: Sequence[ReadEntry]) -> list[ReadEntry]:
    return [entry for entry in entries if entry.holds_core and not runs_on_gpu(entry)]


def _precision(entry: ReadEntry) -> str:
    return str(entry.recorded("engine", "precision"))


def check_gpu(entries: Sequence[ReadEntry], machine: Machine) -> Finding:
    """Whether the entries that insist on a GPU find one, and whether one that is there is used."""
    wanting = [entry.name for entry in entries if runs_on_gpu(entry)]
    if wanting and not machine.gpus:
        why = "Triton does not load a model whose instance group is KIND_GPU where it sees none"
        mend = "docker run --gpus=all (with the NVIDIA Container Toolkit), or convert for the CPU"
        return problem(f"no GPU can be seen, and there are models for one: {', '.join(wanting)}", why, mend)
    if machine.gpus and entries and not wanting:
        mend = "convert with a target for the GPU; see `maskserve convert --help`"
        return warning(f"GPUs that can be seen: {machine.gpus}", "no model in the repository uses one", mend)
    return ok(f"GPUs that can be seen: {machine.gpus}; entries that want one: {len(wanting)}")
