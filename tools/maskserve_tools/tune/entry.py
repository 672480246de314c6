"""The entry that is tuned: read from a repository, and written again for another setup, without Paddle."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as schema

from maskserve import contract
from maskserve.errors import ToolError
from maskserve_convert.triton import entries, repository
from maskserve_convert.triton.sizing import Sizing, Wanted, wanted, write
from maskserve_convert.writable import room_explained
from maskserve_server.engine_table import ENGINES, IN_THE_CORE, engine_called
from maskserve_server.engines import native_precisions
from maskserve_server.entry_parameters import THREADS
from maskserve_server.one_conversion import OpenedVersion
from maskserve_server.spec import FILE_NAME, ModelSpec, Queue
from maskserve_server.stages import Core, Inputs
from maskserve_tools.tune.setups import Setup

_DTYPES = {np.dtype(np.float32): "FP32", np.dtype(np.int32): "INT32", np.dtype(np.int64): "INT64"}
_WRITTEN_ANEW = {"model.py", FILE_NAME, ".keep", "__pycache__"}


@dataclass(frozen=True, slots=True)
class TunedEntry:
    """An entry of a model repository.

    Attributes:
        home: the repository that it is in.
        opened: the version directory that holds its core, with the model's description.
        provenance: what `convert` recorded.
        setup: how it is served now; `threads` is what one run takes on this machine.
    """

    home: Path
    opened: OpenedVersion
    provenance: Mapping[str, Any]
    setup: Setup

    @classmethod
    def read(cls, folder: Path, name: str, *, cpus: int) -> TunedEntry:
        """Read an entry.

        Args:
            folder: the model repository.
            name: the model, as clients call it.
            cpus: how many CPUs a server may use.

        Raises:
            ToolError: there is no such model, or its core does not run in the python backend.
        """
        if name not in _entries(folder):
            raise ToolError(f"{folder} has no model {name!r}; it has {', '.join(_entries(folder)) or 'none'}")
        layout = "ensemble" if _config(folder / name).platform == "ensemble" else "single"
        core = folder / (contract.step_name(name, contract.CORE) if layout == "ensemble" else name)
        if not core.is_dir() or _config(core).backend != "python":
            raise ToolError(
                f"{name} cannot be tuned: its core runs in one of Triton's C++ backends, which the embedded server "
                "does not have. Convert it with --target embedded, or measure it where it runs, with Triton's "
                "perf_analyzer (maskserve perf-data)"
            )
        versions = [path.parent for path in core.glob(f"*/{FILE_NAME}") if path.parent.name.isdigit()]
        if not versions:
            raise ToolError(f"{core} has no {FILE_NAME}: convert the model again")
        opened = OpenedVersion.read(max(versions, key=lambda path: int(path.name)))
        provenance = _provenance(core / repository.PROVENANCE)
        instances, threads = counts_of(_config(core), cpus)
        core_spec = opened.spec.core
        setup = Setup(layout, core_spec.engine, core_spec.precision, instances, threads)
        return cls(folder, opened, provenance, setup)

    @property
    def spec(self) -> ModelSpec:
        """The model."""
        return self.opened.spec

    @property
    def directory(self) -> Path:
        """The version directory."""
        return self.opened.directory

    @property
    def core_files(self) -> list[Path]:
        """The files of the core."""
        return sorted(path for path in self.directory.iterdir() if path.name not in _WRITTEN_ANEW)

    def engines(self) -> list[tuple[str, str]]:
        """Return the engines and precisions that the core can run with here, the entry's own first."""
        own = engine_called(self.spec.core.engine)
        possible = [engine for engine in ENGINES if engine == own or (engine.reads_onnx and own.reads_onnx)]
        mine = self.spec.core.precision
        found = [(own.name, mine)]
        for engine in possible:
            choices = (mine,) if mine in IN_THE_CORE else [p for p in engine.precisions if p not in IN_THE_CORE]
            try:
                found += [(engine.name, p) for p in choices if p in native_precisions(engine)]
            except ImportError:  # not installed
                continue
        return list(dict.fromkeys(found))

    def output_types(self, core: Core, prepared: Inputs) -> dict[str, entries.TensorType]:
        """Return the types of the core's outputs: the shapes that were recorded, and what a run gives."""
        dims = self.provenance["cut"]["outputs"]
        return {
            name: entries.TensorType(_DTYPES[array.dtype], tuple(dims[name]))
            for name, array in core(prepared).items()
            if name in dims
        }

    def build(
        self, setup: Setup, outputs: entries.Tensors, scratch: Path, *, name: str, cpus: int, queue: Queue | None = None
    ) -> list[repository.Entry]:
        """Return the entries for a setup.

        Args:
            setup: how it is to be served.
            outputs: the types of the core's outputs.
            scratch: where copies of the core's files are made, which the entries then own.
            name: what clients call the model.
            cpus: how many CPUs there are; threads that share them out evenly are not written.
            queue: the requests that it takes in; None for the entry's own.

        Raises:
            NotOfOneConversion: the entry was converted again since it was read.
        """
        core = replace(self.spec.core, engine=setup.engine, precision=setup.precision)
        spec = replace(self.spec, name=name, core=core, queue=queue or self.spec.queue)
        engine = {**self.provenance.get("engine", {}), "name": setup.engine, "precision": setup.precision}
        if (setup.engine, setup.precision) != (self.setup.engine, self.setup.precision):
            engine["why"] = "chosen by `maskserve tune`"
        record = {**self.provenance, "engine": engine, "layout": setup.layout}
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        with room_explained("`maskserve tune`"), self.opened.unchanged():
            copies = [_copied(path, scratch / name) for path in self.core_files]
        made = entries.build(spec, outputs, copies, layout=setup.layout, provenance=text)
        computing = contract.step_name(name, contract.CORE) if setup.layout == "ensemble" else name
        for entry in made:
            if entry.config.name == computing:
                set_counts(entry.config, setup.instances, setup.threads, cpus=cpus)
        return made


def set_counts(config: schema.ModelConfig, instances: int, threads: int, *, cpus: int) -> None:
    """Write instances and threads into the configuration of a core in the python backend, unless they are usual."""
    config.parameters.pop(THREADS, None)
    if Wanted().on(cpus) != Sizing(instances, threads):
        write(config, Wanted(instances, None if threads == max(1, cpus // instances) else threads))


def counts_of(config: schema.ModelConfig, cpus: int) -> tuple[int, int]:
    """Return the instances of a core in the python backend, and the threads of one run."""
    size = wanted(config).on(cpus)
    return size.instances, size.threads


def _entries(folder: Path) -> list[str]:
    """Return the names that clients may call."""
    steps = tuple(f".{step}" for step in contract.STEPS)
    return sorted(path.parent.name for path in folder.glob("*/config.pbtxt") if not path.parent.name.endswith(steps))


def _config(entry: Path) -> schema.ModelConfig:
    try:
        text = (entry / "config.pbtxt").read_text(encoding="utf-8")
        return text_format.Parse(text, schema.ModelConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ToolError(f"{entry / 'config.pbtxt'} cannot be read: {error}") from error


def _provenance(path: Path) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found["cut"]["outputs"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolError(f"{path} does not say what the core's outputs are: convert the model again") from error
    return found


def _copied(path: Path, folder: Path) -> Path:
    """Return a file of the same content that may be moved; a directory with its files, likewise."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / path.name
    if path.is_dir():
        shutil.copytree(path, copy)
        return copy
    try:
        os.link(os.path.realpath(path), copy)  # a link itself would lead nowhere from another folder
    except OSError:  # another file system
        shutil.copyfile(path, copy)
    return copy
