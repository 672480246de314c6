"""Whether the models that clients call can name what they find."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from maskserve import contract
from maskserve_tools.doctor.finding import Finding, ok, problem, warning
from maskserve_tools.doctor.read_entries import ReadEntry

_AGAIN = "convert the model again with `--labels FILE`, a file with the name of each class on a line"


def check_labels(entries: Sequence[ReadEntry]) -> list[Finding]:
    """Check whether each model that clients call has labels: every one of them, and each once."""
    return [finding for entry in entries if entry.entry.takes_images for finding in _findings(entry)]


def _findings(entry: ReadEntry) -> list[Finding]:
    labels = _labels(entry)
    if labels is None:
        why = "clients read the names of the classes from there"
        return [problem(f"{entry.name} has no labels in its config.pbtxt, or none that can be read", why, _AGAIN)]
    if not labels:
        return [problem(f"{entry.name} has an empty list of labels", "classes go by their numbers", _AGAIN)]
    found = [*_count(entry, labels), *_blank(entry, labels), *_repeated(entry, labels), *_label_file(entry, labels)]
    return found or [ok(f"{entry.name} names {len(labels)} {'class' if len(labels) == 1 else 'classes'}")]


def _labels(entry: ReadEntry) -> list[Any] | None:
    parameters = entry.entry.config.parameters
    if contract.PARAMETER_LABELS not in parameters:
        return None
    try:
        labels = json.loads(parameters[contract.PARAMETER_LABELS].string_value)
    except ValueError:
        return None
    return labels if isinstance(labels, list) else None


def _count(entry: ReadEntry, labels: Sequence[Any]) -> list[Finding]:
    """Compare the labels with the classes of the network, as far as the conversion knew them."""
    parameters = entry.entry.config.parameters
    written = parameters[contract.PARAMETER_CLASSES].string_value if contract.PARAMETER_CLASSES in parameters else ""
    if not written.isdigit() or int(written) == len(labels):
        return []
    noun = "class" if int(written) == 1 else "classes"
    what = f"{entry.name} has {len(labels)} labels, but its network has {written} {noun}"
    why = "the names are most likely those of another data set"
    if int(written) > len(labels):
        why = f"classes from {len(labels)} on are called by their numbers"
    return [warning(what, why, _AGAIN)]


def _blank(entry: ReadEntry, labels: Sequence[Any]) -> list[Finding]:
    places = [str(index) for index, label in enumerate(labels) if not str(label).strip()]
    if not places:
        return []
    what = f"{entry.name} has no name for the classes {', '.join(places)}"
    return [warning(what, "what is found of them has an empty label", _AGAIN)]


def _repeated(entry: ReadEntry, labels: Sequence[Any]) -> list[Finding]:
    names = [str(label) for label, count in Counter(map(str, labels)).items() if count > 1 and label.strip()]
    if not names:
        return []
    what = f"{entry.name} gives several classes the same name: {', '.join(names)}"
    return [warning(what, "results of these classes cannot be told apart by their labels", _AGAIN)]


def _label_file(entry: ReadEntry, labels: Sequence[Any]) -> list[Finding]:
    names = {output.label_filename for output in entry.entry.config.output if output.label_filename}
    findings = []
    for path in (entry.entry.path / name for name in sorted(names)):
        if not path.is_file():
            findings.append(problem(f"{path} is missing", f"Triton does not load {entry.name} without it", _AGAIN))
        elif len(path.read_text(encoding="utf-8").splitlines()) != len(labels):
            what = f"{path} and the labels in {entry.name}'s config.pbtxt are not equally many"
            findings.append(warning(what, "clients get other names than Triton's own classification", _AGAIN))
    return findings
