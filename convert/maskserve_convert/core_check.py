"""Run a freshly made model once, in a child process: a model that cannot answer must not reach a repository.

At a threshold of 0, so that there is something to paint: the postprocessing is checked together with the core.

The child's command line is `python -m maskserve_convert.core_check VERSION_DIRECTORY`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskserve_convert.child import run_module

if TYPE_CHECKING:
    import numpy.typing as npt

    from maskserve_server.engines import Engine
    from maskserve_server.spec import ModelSpec
    from maskserve_server.stages import Arrays, Inputs

_SIZE = (240, 320)
_SECONDS = "seconds: "
# Runs are timed until so many seconds have passed, or so many runs were made: a slow core runs once.
_ENOUGH, _RUNS = 0.25, 3


def check_core(directory: Path) -> float:
    """Load the core of a version directory with its engine and answer a generated image with it.

    Returns:
        The seconds that one image takes with all of this machine's cores, from pixels to run lengths at a threshold of
        0.5. The first run allocates, too: of a core that takes longer than a quarter of a second it is the only one,
        and the figure is at most twice too high. The server learns the true one from its answers.

    Raises:
        ToolError: it does not load, does not run, answers with something that is not a number, or its answer cannot be
            postprocessed at a threshold of 0.
    """
    printed = run_module(__name__, [str(directory)])
    return float(printed.splitlines()[-1].removeprefix(_SECONDS))


def _main(directory: str) -> None:
    from maskserve_server.cpus import usable_cpus
    from maskserve_server.engines import load_engine
    from maskserve_server.spec import ModelSpec

    spec = ModelSpec.read(Path(directory))
    engine = load_engine(spec.core, Path(directory), threads=usable_cpus())
    print(f"{_SECONDS}{answer_once(spec, engine):.6f}")


def answer_once(spec: ModelSpec, engine: Engine) -> float:
    """Answer the generated image in this process; see `check_core` for what is checked and returned.

    Raises:
        SystemExit: the answer is wrong; the message says how.
    """
    import numpy as np

    from maskserve import contract
    from maskserve_server.preprocess import Preprocessor
    from maskserve_server.stages import Core, Postprocess, feeds

    height, width = _SIZE
    ramp = np.linspace(0, 255, height * width * 3).reshape(height, width, 3).astype(np.uint8)
    prepare, core, postprocess = Preprocessor(spec.preprocess), Core.on(spec, engine), Postprocess(spec)
    size = {contract.IMAGE_SIZE: np.array(_SIZE, np.int32), contract.CLASS_IDS: None}
    everything = {**size, contract.THRESHOLD: np.zeros(1, np.float32)}
    usual = {**size, contract.THRESHOLD: np.array([0.5], np.float32)}

    def run(asked: Inputs) -> tuple[Arrays, Arrays, float]:
        begun = time.perf_counter()
        prepared = feeds(prepare(ramp))
        answer = core({**prepared, **asked})
        return prepared, answer, time.perf_counter() - begun

    def paint(answer: Inputs) -> float:
        begun = time.perf_counter()
        postprocess({**answer, **usual})
        return time.perf_counter() - begun

    prepared, answer, spent = run(everything)
    for name, array in answer.items():
        if not np.isfinite(array).all():
            raise SystemExit(f"the core's output {name} holds values that are not finite")
    _check_columns(postprocess({**prepared, **answer, **everything}))
    times = [spent + paint({**prepared, **answer})]
    while spent < _ENOUGH and len(times) < _RUNS:
        prepared, answer, took = run(usual)
        times.append(took + paint({**prepared, **answer}))
        spent += took
    return min(times)


def _check_columns(columns: Mapping[str, npt.NDArray[Any]]) -> None:
    from maskserve.errors import InferenceFailed
    from maskserve.transport.wire import BYTES_LENGTH, Tensor, check_answer

    def packed(array: npt.NDArray[Any]) -> bytes:
        if array.dtype != object:
            return array.tobytes()
        return b"".join(BYTES_LENGTH.pack(len(text)) + text for text in array.tolist())

    kinds = {"f": "FP32", "i": "INT32", "O": "BYTES"}
    tensors = [Tensor(name, kinds[a.dtype.kind], a.shape, packed(a)) for name, a in columns.items()]
    try:
        check_answer(tensors, _SIZE)
    except InferenceFailed as error:
        raise SystemExit(f"the model's answer does not keep the contract: {error.message}") from error


if __name__ == "__main__":
    _main(*sys.argv[1:])
