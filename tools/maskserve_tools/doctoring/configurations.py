"""Whether the configurations of a repository fit each other, the contract, and this maskserve."""

from __future__ import annotations

from collections.abc import Sequence

from maskserve import contract
from maskserve_tools.doctoring.entries import ReadEntry
from maskserve_tools.doctoring.environment import Versions, installed_version
from maskserve_tools.doctoring.finding import Finding, ok, problem, warning

_AGAIN = "convert the model again"
_CPP_BACKENDS = ("onnxruntime", "openvino")


def check_foreign(entries: Sequence[ReadEntry]) -> list[Finding]:
    """Names the entries that `maskserve convert` did not write; they are not judged."""
    names = [entry.name for entry in entries if entry.provenance is None]
    return [ok(f"not written by `maskserve convert`, so not judged: {', '.join(names)}")] if names else []


def check_names(entries: Sequence[ReadEntry]) -> list[Finding]:
    """Whether each configuration has the name of its folder."""
    why = "Triton refuses an entry whose name is not its folder's"
    return [
        problem(f"{entry.entry.path} calls itself {entry.entry.config.name}", why, f"rename the folder, or {_AGAIN}")
        for entry in entries
        if entry.entry.config.name not in ("", entry.name)
    ]


def check_steps(entries: Sequence[ReadEntry]) -> list[Finding]:
    """Whether the steps of each ensemble are there."""
    present = {entry.name for entry in entries}
    return [
        problem(f"{entry.name} calls {step}, which is not there or broken", "Triton does not load it", _AGAIN)
        for entry in entries
        for step in entry.entry.steps
        if step not in present
    ]


def check_contract(entries: Sequence[ReadEntry]) -> list[Finding]:
    """Whether the models that clients call speak this maskserve's version of the wire contract."""
    findings = []
    for entry in entries:
        parameters = entry.entry.config.parameters
        spoken = parameters[contract.PARAMETER_CONTRACT].string_value if entry.entry.takes_pictures else ""
        if spoken and spoken != str(contract.VERSION):
            why = f"this maskserve speaks version {contract.VERSION}, and its client refuses others"
            findings.append(problem(f"{entry.name} speaks version {spoken} of the wire contract", why, _AGAIN))
    return findings


def check_converter(entries: Sequence[ReadEntry], installed: Versions = installed_version) -> list[Finding]:
    """Whether the models were converted by this version of maskserve."""
    running = installed("maskserve")
    why = f"this is {running}: the adapters in the repository are that version's, the code that they call is this one's"
    return [
        warning(f"{entry.name} was converted by maskserve {recorded}", why, _AGAIN)
        for entry in entries
        if entry.holds_core and running and (recorded := entry.recorded("versions", "maskserve")) not in (None, running)
    ]


def check_warm_up(entries: Sequence[ReadEntry]) -> list[Finding]:
    """Whether models in the C++ backends are warmed up: their engines compile or tune at the first request."""
    why = "the first requests after a start wait for the engine, with TensorRT for minutes"
    mend = f"{_AGAIN} (`convert --target` writes one), or add model_warmup to its config.pbtxt"
    return [
        warning(f"{entry.name} ({entry.backend}) has no warm-up", why, mend)
        for entry in entries
        if entry.backend in _CPP_BACKENDS and not entry.entry.config.model_warmup
    ]
