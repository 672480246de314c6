"""The table of engines: everything that differs from one engine to another, a row for each.

What runs a core, what the commands let people choose, what `doctor` expects to be installed, and the order of `auto`
follow from this table. It is in the server because the server loads the engines; the converter and the tools read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from maskserve.errors import ToolError

AUTO = "auto"  # the choice of the fastest engine that runs a core
FP32, BF16, FP16, INT8 = "fp32", "bf16", "fp16", "int8"
SEVEN_BITS = "7 bits"  # of an int8 core's weights: what was converted on a processor that overflows with 8 says so
IN_THE_CORE = frozenset((INT8,))  # what a core is converted to; the others are settings of an engine, for any core
EMBEDDED, CONTAINER_CPU, CONTAINER_GPU = "embedded", "container-cpu", "container-gpu"


@dataclass(frozen=True, slots=True)
class Backend:
    """Triton's C++ backend of an engine, which has the engine's name.

    Attributes:
        precisions: what it computes in, by target.
        file: the model's file that it reads where the configuration names none.
        threads: the parameter of a configuration that sets the threads.
        parameters: all that it reads; others it passes over without a word. Empty where that is not known.
        streams: the parameter that divides the threads, where they are those of all instances together; else "".
        batches: whether it runs batches of every size up to the largest.
        not_fp32: why a CPU may compute something else where fp32 is asked for; "" where it computes in true float32.
    """

    precisions: Mapping[str, tuple[str, ...]]
    file: str
    threads: str
    parameters: frozenset[str] = frozenset()
    streams: str = ""
    batches: bool = True
    not_fp32: str = ""


@dataclass(frozen=True, slots=True)
class EngineRow:
    """One engine.

    Attributes:
        name: what `--engine` and `model.json` call it.
        title: what texts call it.
        runner: the class that runs a core in the python backend, as "module:class". The module has a function
            `precisions()` if the engine has more than fp32: what this CPU computes in.
        package: the Python package that it needs.
        module: the module that this package brings.
        extra: the extra of maskserve that installs it: "server", which "local" and "embedded" contain, or another.
        files: the names of the core's files, the one that is loaded first.
        precisions: what it computes in on a CPU, in the python backend.
        backend: Triton's C++ backend for it; None if there is none.
        shares_threads: whether all its networks share threads: a child answers nothing that was forked after one of
            them was loaded for several images at once.
    """

    name: str
    title: str
    runner: str
    package: str
    module: str
    extra: str
    files: tuple[str, ...]
    precisions: tuple[str, ...]
    backend: Backend | None = None
    shares_threads: bool = False

    @property
    def reads_onnx(self) -> bool:
        """Whether it runs the core's ONNX file."""
        return self.files == ONNX_FILES

    @property
    def targets(self) -> tuple[str, ...]:
        """What it can be used for: the embedded server always, the containers if they have a backend for it."""
        return (EMBEDDED, *(self.backend.precisions if self.backend is not None else ()))

    def backend_precisions(self, target: str) -> tuple[str, ...]:
        """Return what its C++ backend computes in for a container; () if the container has no such backend."""
        return () if self.backend is None else self.backend.precisions.get(target, ())


SERVER_EXTRA = "server"
ONNX_FILES = ("core.onnx",)
PADDLE_FILES = ("core.json", "core.pdiparams")

OPENVINO = EngineRow(
    name="openvino",
    title="OpenVINO",
    runner="maskserve_server.engines.openvino:OpenVINOEngine",
    package="openvino",
    module="openvino",
    extra=SERVER_EXTRA,
    files=ONNX_FILES,
    precisions=(FP32, BF16, FP16, INT8),
    backend=Backend(
        precisions={CONTAINER_CPU: (FP32, BF16, INT8)},
        file="model.xml",
        threads="INFERENCE_NUM_THREADS",
        parameters=frozenset(  # of the release r26.08
            (
                "COMPILATION_NUM_THREADS",
                "CPU_EXTENSION_PATH",
                "ENABLE_BATCH_PADDING",
                "HINT_BF16",
                "INFERENCE_NUM_THREADS",
                "NUM_STREAMS",
                "PERFORMANCE_HINT",
                "RESHAPE_IO_LAYERS",
                "SKIP_OV_DYNAMIC_BATCHSIZE",
                "TARGET_DEVICE",
            )
        ),
        streams="NUM_STREAMS",  # the instances have one compiled model
        batches=False,  # it compiles for the largest batch alone, and refuses or pads every smaller one
        not_fp32="Triton's OpenVINO backend has no setting for fp32: it computes in bfloat16 on every CPU that has "
        "that",
    ),
    shares_threads=True,
)
ONNXRUNTIME = EngineRow(
    name="onnxruntime",
    title="ONNX Runtime",
    runner="maskserve_server.engines.onnxruntime:ONNXRuntimeEngine",
    package="onnxruntime",
    module="onnxruntime",
    extra=SERVER_EXTRA,
    files=ONNX_FILES,
    precisions=(FP32, INT8),
    backend=Backend(
        precisions={CONTAINER_CPU: (FP32, INT8), CONTAINER_GPU: (FP32, FP16)},
        file="model.onnx",
        threads="intra_op_thread_count",
        parameters=frozenset(  # of the release r26.06
            (
                "arena_extend_strategy",
                "cudnn_conv_algo_search",
                "do_copy_in_default_stream",
                "enable_mem_arena",
                "enable_mem_pattern",
                "execution_mode",
                "gpu_mem_limit",
                "inter_op_thread_count",
                "intra_op_thread_count",
                "session.use_device_allocator_for_initializers",
            )
        ),
    ),
)
PADDLE = EngineRow(
    name="paddle",
    title="Paddle Inference",
    runner="maskserve_server.engines.paddle:PaddleEngine",
    package="paddlepaddle",
    module="paddle",
    extra="convert",
    files=PADDLE_FILES,
    precisions=(FP32,),
)

# In the order in which `auto` tries them for a family that was not measured. Paddle runs everything, and slowest.
ENGINES: tuple[EngineRow, ...] = (OPENVINO, ONNXRUNTIME, PADDLE)


def find_engine(name: str) -> EngineRow | None:
    """Return the engine called `name`; None if there is none."""
    return next((engine for engine in ENGINES if engine.name == name), None)


def engine_called(name: str) -> EngineRow:
    """Return the engine called `name`.

    Raises:
        ToolError: there is none; the message names all engines.
    """
    found = find_engine(name)
    if found is None:
        raise ToolError(f"{name!r} is not an engine of this maskserve; it has {', '.join(engine_names())}")
    return found


def backend_called(name: str) -> Backend | None:
    """Return Triton's C++ backend called `name`; None if no engine has it."""
    found = find_engine(name)
    return found.backend if found is not None else None


def engine_names() -> tuple[str, ...]:
    """Return the names of all engines, in the table's order."""
    return tuple(engine.name for engine in ENGINES)


def precisions() -> tuple[str, ...]:
    """Return every precision that some engine computes in, fp32 first."""
    of_backends = (engine.backend_precisions(target) for engine in ENGINES for target in engine.targets)
    return tuple(dict.fromkeys(p for found in (*(e.precisions for e in ENGINES), *of_backends) for p in found))


def targets() -> tuple[str, ...]:
    """Return every target that some engine runs on: the embedded server first."""
    return tuple(dict.fromkeys(target for engine in ENGINES for target in engine.targets))


def engines_for(target: str) -> tuple[EngineRow, ...]:
    """Return the engines that have a C++ backend in a container; one that computes in true float32 comes first."""
    found = (engine for engine in ENGINES if target in engine.targets)
    return tuple(sorted(found, key=lambda engine: bool(engine.backend and engine.backend.not_fp32)))
