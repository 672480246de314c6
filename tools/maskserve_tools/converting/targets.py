"""What the entries are made for: the embedded server, or one of Triton's containers with their C++ backends."""

from __future__ import annotations

from dataclasses import dataclass

from maskserve.errors import ToolError

EMBEDDED = "embedded"
CONTAINER_CPU = "container-cpu"
CONTAINER_GPU = "container-gpu"

_PRECISIONS = {CONTAINER_CPU: ("fp32", "bf16"), CONTAINER_GPU: ("fp32", "fp16")}
_BACKENDS = {CONTAINER_CPU: ("onnxruntime", "openvino"), CONTAINER_GPU: ("onnxruntime",)}
_FP32_IN_OPENVINO = (
    "Triton's OpenVINO backend has no setting for fp32: it computes in bfloat16 on every CPU that has that"
)


@dataclass(frozen=True, slots=True)
class Container:
    """How a container runs the core.

    Attributes:
        target: "container-cpu" or "container-gpu".
        backend: Triton's C++ backend, "onnxruntime" or "openvino".
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
        return self.on_gpu and self.precision == "fp16"

    @property
    def exact(self) -> bool:
        """Whether it computes in true float32 on every CPU."""
        return self.backend == "onnxruntime" and not self.on_gpu

    @property
    def batches(self) -> bool:
        """Whether the backend can run batches of every size up to the largest.

        Triton's OpenVINO backend compiles for the largest batch alone, and refuses or pads every smaller one.
        """
        return self.backend == "onnxruntime"


def container(target: str, engine: str, precision: str, layout: str) -> Container:
    """What is asked for, as a container can do it.

    Args:
        target: "container-cpu" or "container-gpu".
        engine: one of `maskserve_tools.options.ENGINES`.
        precision: one of `maskserve_tools.options.PRECISIONS`.
        layout: one of `maskserve_tools.options.LAYOUTS`.

    Raises:
        ToolError: the containers cannot do it; the message says what they can.
    """
    if layout != "ensemble":
        raise ToolError(f"for {target} the core is an entry of its own: use --layout ensemble")
    if engine not in ("auto", *_BACKENDS[target]):
        raise ToolError(
            f"for {target} the core runs on {' or '.join(_BACKENDS[target])}, not on {engine}; with --target "
            f"{EMBEDDED} it runs inside the python backend, which the containers have, too"
        )
    if precision not in _PRECISIONS[target]:
        raise ToolError(f"for {target} the core computes in {' or '.join(_PRECISIONS[target])}, not in {precision}")
    if precision == "bf16" and engine == "onnxruntime":
        raise ToolError("onnxruntime computes in fp32 only on CPUs; for bf16 use --engine openvino")
    return Container(target, *_backend(target, engine, precision))


def _backend(target: str, engine: str, precision: str) -> tuple[str, str, str]:
    if engine != "auto":
        warned = engine == "openvino" and precision == "fp32"
        return engine, precision, f"asked for; {_FP32_IN_OPENVINO}" if warned else "asked for"
    if precision == "bf16":
        return "openvino", precision, "the one that computes in bf16 on CPUs"
    if target == CONTAINER_CPU:
        return "onnxruntime", precision, _FP32_IN_OPENVINO
    how = "TensorRT in FP16" if precision == "fp16" else "CUDA, without TF32"
    return "onnxruntime", precision, f"the one with GPU support ({how})"
