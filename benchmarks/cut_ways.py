"""One row of `cut_against_uncut.py`, in a process of its own: a way from decoded pixels to instances.

    python cut_ways.py WAY PADDLE_DIR TARGET PHOTO WIDTHxHEIGHT [CALIBRATION]

CALIBRATION is a directory of images, for int8. It makes what the way runs, once per TARGET, loads it, answers once, and
then takes a turn for each line it reads.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from turns import take_turns

UNCUT_ONNX = "uncut.onnx"
_PREPARE = "prepare"


def prepare(way: str, folder: Path, target: Path, calibration: Sequence[Path] = ()) -> None:
    """Make what a way runs from the Paddle folder."""
    if way == "uncut-onnx":
        from maskserve_convert.paddle.export import export
        from maskserve_convert.paddle.folder import PaddleFolder

        source = PaddleFolder.open(folder)
        export(source.program, source.weights, target / UNCUT_ONNX)
    elif way != "paddle" and not (target / way).exists():
        from maskserve_tools import convert

        engine, _, precision = way.partition("-")
        precision = precision or "fp32"
        convert(
            folder,
            repository=target,
            name=way,
            engine=engine,
            precision=precision,
            layout="single",
            calibration=calibration or None,
        )


def load(way: str, folder: Path, target: Path) -> Callable[[Any], int]:
    """Return what answers an image, uint8 [height, width, 3] BGR, with the number of instances above 0.5."""
    uncut = {"paddle": _uncut_paddle, "uncut-onnx": _uncut_onnx}
    return uncut[way](folder, target) if way in uncut else _served(target / way / "1")


def _uncut_paddle(folder: Path, _: Path) -> Callable[[Any], int]:
    from maskserve_tools.verify.reference import open_reference

    reference = open_reference(folder)
    return lambda image: len(reference.predict(image, 0.5))


def _uncut_onnx(folder: Path, target: Path) -> Callable[[Any], int]:
    import onnxruntime

    from maskserve_convert.paddle.folder import PaddleFolder
    from maskserve_server.preprocess import Preprocessor

    session = onnxruntime.InferenceSession(str(target / UNCUT_ONNX), providers=["CPUExecutionProvider"])
    names, prepared_by = (
        [item.name for item in session.get_inputs()],
        Preprocessor(PaddleFolder.open(folder).preprocess),
    )

    def run(image: Any) -> int:
        prepared = prepared_by(image)
        rows, *_ = session.run(None, {name: getattr(prepared, name) for name in names})
        return int((rows[:, 1] > 0.5).sum())

    return run


def _served(directory: Path) -> Callable[[Any], int]:
    from maskserve_server.families import Selection, load_family
    from maskserve_server.postprocess import postprocess
    from maskserve_server.preprocess import Preprocessor
    from maskserve_server.spec import ModelSpec
    from maskserve_server.stages import Core, feeds

    spec = ModelSpec.read(directory)
    core, family = Core(spec, directory, threads=2), load_family(spec.family, spec.settings)
    prepared_by = Preprocessor(spec.preprocess)

    def run(image: Any) -> int:
        prepared = prepared_by(image)
        answer = postprocess(family, core(feeds(prepared)), prepared.scale_factor[0], prepared.size, Selection(0.5))
        return len(answer.scores)

    return run


def main() -> None:
    """Prepare in a child, whose memory is not this row's, and take turns."""
    if sys.argv[1] == _PREPARE:
        way, folder, target, _, _, *calibration = sys.argv[2:]
        prepare(way, Path(folder), Path(target), [Path(path) for path in calibration])
        return
    way, folder, target, input_image, size = sys.argv[1:6]
    command = [sys.executable, "-W", "ignore", sys.argv[0], _PREPARE, *sys.argv[1:]]
    subprocess.run(command, check=True, stdout=sys.stderr)
    take_turns(load(way, Path(folder), Path(target)), input_image, size)


if __name__ == "__main__":
    main()
