"""The entries of a repository, read one by one: a broken one is a finding and does not hide the others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskserve.errors import ToolError
from maskserve_convert.triton.repository import PROVENANCE
from maskserve_server.spec import FILE_NAME, ModelSpec
from maskserve_tools.doctor.finding import Finding, problem
from maskserve_tools.embedded.served_entries import Entry, read_config, refuse_model

CORE = ".core"


@dataclass(frozen=True, slots=True)
class ReadEntry:
    """An entry and what `convert` wrote about it.

    Attributes:
        entry: its name, folder and configuration.
        provenance: the record of its conversion; None where `maskserve convert` did not write the entry.
        spec: what its adapter reads; None where it has no adapter of ours.
    """

    entry: Entry
    provenance: Mapping[str, Any] | None = None
    spec: ModelSpec | None = None

    @property
    def name(self) -> str:
        """The name that clients and ensembles use."""
        return self.entry.name

    @property
    def backend(self) -> str:
        """What runs it: "python", "onnxruntime", "openvino", ...; "ensemble" for an ensemble."""
        config = self.entry.config
        return str(config.backend or config.platform.partition("_")[0])

    @property
    def versions(self) -> Sequence[Path]:
        """The folders of its versions."""
        return [path for path in sorted(self.entry.path.iterdir()) if path.is_dir() and path.name.isdigit()]

    @property
    def instances(self) -> int:
        """How many of it Triton runs at the same time."""
        return sum(group.count or 1 for group in self.entry.config.instance_group) or 1

    @property
    def holds_core(self) -> bool:
        """Whether the network itself runs in it."""
        if self.provenance is None:
            return False
        return self.provenance.get("layout") == "single" or self.name.endswith(CORE)

    def recorded(self, *keys: str) -> Any:
        """Return what the record of the conversion has under `keys`; None where it has nothing."""
        value: Any = self.provenance
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value


@dataclass(frozen=True, slots=True)
class ReadRepository:
    """A repository.

    Attributes:
        path: where it is.
        entries: those that can be read.
        findings: those that cannot.
    """

    path: Path
    entries: Sequence[ReadEntry] = ()
    findings: Sequence[Finding] = field(default=())

    @property
    def models(self) -> list[str]:
        """The names of the models that clients call."""
        return [entry.name for entry in self.entries if entry.entry.takes_images]


def read_entries(repository: Path) -> ReadRepository:
    """Read each entry of a repository; hidden folders and files are passed over, as Triton does.

    Raises:
        ToolError: there is no such folder, or it is a Paddle model.
    """
    if not repository.is_dir():
        raise ToolError(f"there is no model repository at {repository}")
    refuse_model(repository)
    entries, findings = list[ReadEntry](), list[Finding]()
    for path in sorted(repository.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            try:
                entries.append(_read_entry(path))
            except ToolError as error:
                why = "it is not served; our servers serve the others, another Triton does not start at all by default"
                findings.append(problem(error.message, why, "convert the model again, or move the folder away"))
    return ReadRepository(repository, entries, findings)


def _read_entry(path: Path) -> ReadEntry:
    entry = Entry(path.name, path, read_config(path / "config.pbtxt"))
    record = path / PROVENANCE
    provenance = _read_json(record) if record.is_file() else None
    described = sorted(path.glob(f"[0-9]*/{FILE_NAME}"))
    return ReadEntry(entry, provenance, _read_spec(described[-1]) if described else None)


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ToolError(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise ToolError(f"{path} cannot be read: it is not a JSON object")
    return document


def _read_spec(path: Path) -> ModelSpec:
    return ModelSpec.read(path.parent)
