"""The engines that can run a core inside Triton's Python backend, behind one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from maskserve.errors import ToolError
from maskserve_server.engine_table import FP32, EngineRow, engine_called
from maskserve_server.spec import CoreSpec

Tensors = Mapping[str, npt.NDArray[Any]]


class Engine(Protocol):
    """Runs a core."""

    def __call__(self, feeds: Tensors) -> dict[str, npt.NDArray[Any]]:
        """Return the core's outputs by name for one batch. The next call of this engine may overwrite them."""
        ...

    def twin(self) -> Engine:
        """Return an engine on the same loaded core that may run at the same time, with outputs of its own."""
        ...


def load_engine(core: CoreSpec, directory: Path, *, threads: int, device: str = "cpu", streams: int = 1) -> Engine:
    """Load the core of a version directory.

    Args:
        core: which file, and what runs it.
        directory: where the file is.
        threads: how many CPU threads one call may use.
        device: what the engine calls the device that it runs on.
        streams: how many of its twins, itself included, run at the same time on a CPU.

    Raises:
        ToolError: this maskserve has no such engine, or the engine not that precision.
    """
    return _runner(core)(directory / core.file, core, threads=threads, **_unusual(device, streams))


def load_engine_from_bytes(
    core: CoreSpec, content: bytes, *, threads: int, device: str = "cpu", streams: int = 1
) -> Engine:
    """Load a core from the content of its ONNX file, for any engine that reads ONNX; otherwise like `load_engine`."""
    return _runner(core)(content, core, threads=threads, **_unusual(device, streams))


def _unusual(device: str, streams: int) -> dict[str, Any]:
    return {**({} if device == "cpu" else {"device": device}), **({} if streams == 1 else {"streams": streams})}


def _runner(core: CoreSpec) -> Callable[..., Engine]:
    row = engine_called(core.engine)
    if core.precision not in row.precisions:
        raise ToolError(f"{row.name} computes in {', '.join(row.precisions)}, not in {core.precision}")
    module, _, name = row.runner.partition(":")
    runner: Callable[..., Engine] = getattr(import_module(module), name)
    return runner


def native_precisions(engine: EngineRow) -> frozenset[str]:
    """Return the precisions that this CPU computes in with an engine."""
    if engine.precisions == (FP32,):
        return frozenset(engine.precisions)
    return frozenset(import_module(engine.runner.partition(":")[0]).precisions())
