"""Whether the configurations of a repository fit each other, the contract, and this maskserve."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from maskserve import contract
from maskserve_server.engine_table import ENGINES, backend_called
from maskserve_server.entry_parameters import INSTANCES, THREADS
from maskserve_server.one_conversion import NotOfOneConversion, check_entries
from maskserve_tools.doctor.finding import Finding, ok, problem, warning
from maskserve_tools.doctor.python_environment import Versions, installed_version
from maskserve_tools.doctor.read_entries import ReadEntry
from maskserve_tools.doctor.workload import thread_parameter

_AGAIN = "convert the model again"


def check_foreign(entries: Sequence[ReadEntry]) -> list[Finding]:
    """Name the entries that `maskserve convert` did not write; they are not judged."""
    names = [entry.name for entry in entries if entry.provenance is None]
    return [ok(f"not written by `maskserve convert`, so not judged: {', '.join(names)}")] if names else []


def check_names(entries: Sequence[ReadEntry]) -> list[Finding]:
    """Check whether each configuration has the name of its folder."""
    why = "Triton refuses an entry whose name is not its folder's"
    return [
        problem(f"{entry.entry.path} calls itself {entry.entry.config.name}", why, f"rename the folder, or {_AGAIN}")
        for entry in entries
        if entry.entry.config.name not in ("", entry.name)
    ]


def check_steps(entries: Sequence[ReadEntry]) -> list[Finding]:
    """Check whether the steps of each ensemble are there, and the ensemble of each step."""
    present = {entry.name for entry in entries}
    findings = [
        problem(f"{entry.name} calls {step}, which is not there or broken", "Triton does not load it", _AGAIN)
        for entry in entries
        for step in entry.entry.steps
        if step not in present
    ]
    alone: dict[str, list[str]] = {}
    for entry in entries:
        model = contract.model_of(entry.name)
        if model is not None and model not in present and entry.provenance is not None and not entry.entry.takes_images:
            alone.setdefault(model, []).append(entry.name)
    why = "a conversion was ended half-way, or a copy is not whole; clients have nothing to call"
    return findings + [
        problem(f"{', '.join(steps)}: steps of {model}, which is not there or broken", why, _AGAIN)
        for model, steps in alone.items()
    ]


def check_conversions(entries: Sequence[ReadEntry]) -> list[Finding]:
    """Check whether the entries of each model were written by one conversion: each has the same record."""
    why = "a conversion was ended half-way, or copied while it was under way: steps of two models answer together"
    found = []
    for entry in entries:
        try:
            check_entries(entry.entry.path.parent, (entry.name, *entry.entry.steps))
        except NotOfOneConversion as error:
            found.append(problem(error.message.partition(":")[0], why, _AGAIN))
    return found


def check_contract(entries: Sequence[ReadEntry]) -> list[Finding]:
    """Check whether the models that clients call speak this maskserve's version of the wire contract."""
    findings = []
    for entry in entries:
        parameters = entry.entry.config.parameters
        spoken = parameters[contract.PARAMETER_CONTRACT].string_value if entry.entry.takes_images else ""
        if spoken and spoken != str(contract.VERSION):
            why = f"this maskserve speaks version {contract.VERSION}, and its client refuses others"
            findings.append(problem(f"{entry.name} speaks version {spoken} of the wire contract", why, _AGAIN))
    return findings


def check_converter(entries: Sequence[ReadEntry], installed: Versions = installed_version) -> list[Finding]:
    """Check whether the models were converted by this version of maskserve."""
    running = installed("maskserve")
    why = f"this is {running}: the adapters in the repository are that version's, the code that they call is this one's"
    return [
        warning(f"{entry.name} was converted by maskserve {recorded}", why, _AGAIN)
        for entry in entries
        if entry.holds_core and running and (recorded := entry.recorded("versions", "maskserve")) not in (None, running)
    ]


def check_warm_up(entries: Sequence[ReadEntry]) -> list[Finding]:
    """Check whether models in the C++ backends are warmed up: their engines compile or tune at the first request."""
    why = "the first requests after a start wait for the engine, with TensorRT for minutes"
    fix = f"{_AGAIN} (`convert --target` writes one), or add model_warmup to its config.pbtxt"
    return [
        warning(f"{entry.name} ({entry.backend}) has no warm-up", why, fix)
        for entry in entries
        if backend_called(entry.backend) and not entry.entry.config.model_warmup
    ]


def check_parameters(entries: Sequence[ReadEntry]) -> list[Finding]:
    """Check whether each parameter of an entry means something to its backend: others are ignored without a word."""
    findings = []
    for entry in entries:
        if entry.provenance is None or (known := _known_parameters(entry)) is None:
            continue
        for key in sorted(set(entry.entry.config.parameters) - known):
            likely = _meant(key, entry, known)
            fix = f"write {likely}" if likely else f"take it out; {entry.backend} has {', '.join(sorted(known))}"
            why = "it is ignored without a word: the model runs as if it were not there"
            findings.append(warning(f"{entry.name}: the parameter {key} means nothing to {entry.backend}", why, fix))
    return findings


def _known_parameters(entry: ReadEntry) -> frozenset[str] | None:
    """Return the parameters that an entry may have; None where that is not known."""
    public = frozenset({contract.PARAMETER_CONTRACT, contract.PARAMETER_LABELS, contract.PARAMETER_CLASSES,
                        contract.PARAMETER_DRAW_THRESHOLD})  # fmt: skip
    backend = backend_called(entry.backend)
    if backend is not None:
        return backend.parameters or None
    if entry.backend == "ensemble":
        return public
    if entry.backend != "python":
        return None
    own = public if entry.entry.takes_images and contract.PARAMETER_CONTRACT in entry.entry.config.parameters else set()
    takes_requests = entry.name.endswith(f".{contract.PREPROCESS}") or bool(own)
    return frozenset({*own, *([THREADS] if entry.holds_core else []), *([INSTANCES] if takes_requests else [])})


def _meant(key: str, entry: ReadEntry, known: Collection[str]) -> str:
    """Return the parameter that was probably meant; "" if none is like it."""
    if not entry.holds_core:
        return ""
    threads = thread_parameter(entry)
    if key in {THREADS, *(row.backend.threads for row in ENGINES if row.backend)}:
        return threads
    close = difflib.get_close_matches(key, known, 1, 0.7)
    return close[0] if close else ""
