"""What the entries are made for: the embedded server, or one of Triton's containers with their C++ backends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from maskserve.errors import ToolError
from maskserve_convert.choices import ENSEMBLE, PRECISIONS
from maskserve_server.engine_table import (
    AUTO,
    CONTAINER_GPU,
    EMBEDDED,
    FP16,
    FP32,
    Backend,
    EngineRow,
    engine_called,
    engines_for,
)


@dataclass(frozen=True, slots=True)
class Container:
    """How a container runs the core.

    Attributes:
        target: "container-cpu" or "container-gpu".
        backend: Triton's C++ backend; it has the name of its engine.
        precision: what the core computes in.
        reason: why that backend.
    """

    target: str
    backend: str
    precision: str
    reason: str

    @property
    def on_gpu(self) -> bool:
        """Whether the core is on a GPU; the other two steps never are."""
        return self.target == CONTAINER_GPU

    @property
    def with_tensorrt(self) -> bool:
        """Whether ONNX Runtime hands the core to TensorRT."""
        return self.on_gpu and self.precision == FP16

    @property
    def known(self) -> Backend:
        """What the table of engines says of the backend."""
        return _backend_of(engine_called(self.backend))

    @property
    def exact(self) -> bool:
        """Whether it computes in true float32 on every CPU."""
        return not self.known.not_fp32 and not self.on_gpu


def containers(target: str, engine: str, precision: str, layout: str) -> tuple[Container, ...]:
    """Return how containers do what is asked for: the best way first, one way only where an engine is asked for.

    Args:
        target: "container-cpu" or "container-gpu".
        engine: one of `maskserve_convert.choices.ENGINES`.
        precision: one of `maskserve_convert.choices.PRECISIONS`.
        layout: one of `maskserve_convert.choices.LAYOUTS`.

    Raises:
        ToolError: the containers cannot do it; the message says what they can.
    """
    if layout != ENSEMBLE:
        raise ToolError(f"for {target} the core is an entry of its own: use --layout {ENSEMBLE}")
    candidates = engines_for(target)
    names = [row.name for row in candidates]
    if engine not in (AUTO, *names):
        raise ToolError(
            f"for {target} the core runs on {' or '.join(names)}, not on {engine}; with --target "
            f"{EMBEDDED} it runs inside the python backend, which the containers have, too"
        )
    having = [row for row in candidates if precision in row.backend_precisions(target)]
    if not having:
        found = {name for row in candidates for name in row.backend_precisions(target)}
        known = " or ".join(name for name in PRECISIONS if name in found)
        raise ToolError(f"for {target} the core computes in {known}, not in {precision}")
    if engine == AUTO:
        return tuple(Container(target, row.name, precision, _reason(target, row, having, precision)) for row in having)
    asked = engine_called(engine)
    if asked not in having:
        only, others = " and ".join(asked.backend_precisions(target)), " or ".join(row.name for row in having)
        raise ToolError(f"{engine} computes in {only} only on CPUs; for {precision} use --engine {others}")
    caution = _caution(asked, precision)
    return (Container(target, asked.name, precision, f"asked for; {caution}" if caution else "asked for"),)


def _caution(row: EngineRow, precision: str) -> str:
    return _backend_of(row).not_fp32 if precision == FP32 else ""


def _reason(target: str, chosen: EngineRow, having: Sequence[EngineRow], precision: str) -> str:
    if chosen != having[0]:
        caution = _caution(chosen, precision)
        return f"the next one; {caution}" if caution else "the next one"
    if target == CONTAINER_GPU:
        how = "TensorRT in FP16" if precision == FP16 else "CUDA, without TF32"
        return f"the one with GPU support ({how})"
    if precision != FP32:
        return f"the one that computes in {precision} on CPUs"
    others = (_backend_of(row).not_fp32 for row in engines_for(target) if row != chosen)
    return "; ".join(other for other in others if other) or "the first of the table of engines"


def _backend_of(row: EngineRow) -> Backend:
    if row.backend is None:
        raise ToolError(f"Triton has no C++ backend for {row.name}")
    return row.backend
