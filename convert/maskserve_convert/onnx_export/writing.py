"""Write a core for those who run it themselves: the ONNX file, what it reads and makes, and a program that uses it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from maskserve.errors import ToolError
from maskserve.temporary import owned_folder, remove_stale
from maskserve_convert.triton.entries import TensorType
from maskserve_convert.triton.repository import PROVENANCE
from maskserve_convert.writable import check_writable, explained
from maskserve_server.spec import ModelSpec

MODEL, PROGRAM, SETTINGS, README = "model.onnx", "segment.py", "settings.json", "README.md"
_OWN = {MODEL, PROGRAM, SETTINGS, README, PROVENANCE}
_INPUTS = {
    "image": "the prepared image: RGB, as `prepare` in segment.py makes it",
    "im_shape": "its height and width after resizing, before padding",
    "scale_factor": "these over the height and width of the original image",
    "threshold": "the score threshold",
}
_TYPES = {"FP32": "float32", "INT32": "int32", "INT64": "int64"}


def write_onnx_folder(
    folder: Path, spec: ModelSpec, core: Path, outputs: Mapping[str, TensorType], provenance: str
) -> None:
    """Write the files into a folder, which is made where it does not exist.

    Args:
        folder: where to; files of an earlier export are overwritten, once all of the new ones are written beside them.
        spec: the model.
        core: its ONNX file.
        outputs: the tensors that it makes.
        provenance: the text of the provenance file.

    Raises:
        ToolError: the folder holds something else, or cannot be written.
    """
    texts = {PROGRAM: _program(spec), SETTINGS: _settings(spec), README: _readme(spec, outputs)}
    with explained(folder):
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            remove_stale(folder, hidden=True)
            check_onnx_folder(folder)
            with owned_folder("onnx", folder, hidden=True) as staging:
                shutil.copyfile(core, staging.path / MODEL)
                for name, text in {**texts, PROVENANCE: provenance}.items():
                    (staging.path / name).write_text(text, encoding="utf-8")
                for name in sorted(_OWN & set(os.listdir(staging.path))):
                    (staging.path / name).replace(folder / name)
        except BaseException:
            if is_new:
                shutil.rmtree(folder, ignore_errors=True)
            raise


def check_onnx_folder(folder: Path) -> None:
    """Make sure that a folder can be written, and holds nothing but an earlier export. Nothing is changed.

    Raises:
        ToolError: it is otherwise.
    """
    check_writable(folder)
    with explained(folder):
        there = os.listdir(folder) if folder.is_dir() else ()
    foreign = sorted(name for name in there if name not in _OWN and not name.startswith(".maskserve-"))
    if foreign:
        raise ToolError(f"{folder} holds {foreign[0]}, which `maskserve convert --onnx` did not write")


def _program(spec: ModelSpec) -> str:
    start, family = (files(__package__).joinpath(f"{name}.py.txt") for name in ("start", spec.family))
    values = {"@NAME@": spec.name, "@FILE@": MODEL, "@FAMILY@": family.read_text(encoding="utf-8")}
    text = start.read_text(encoding="utf-8")
    for token, value in values.items():
        text = text.replace(token, value)
    return text


def _settings(spec: ModelSpec) -> str:
    values = {
        "threshold": spec.draw_threshold,
        "labels": spec.labels,
        "preprocess": spec.preprocess,
        "family": spec.settings,
    }
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _readme(spec: ModelSpec, outputs: Mapping[str, TensorType]) -> str:
    shapes = {"image": (1, *spec.core.image_shape), "im_shape": (1, 2), "scale_factor": (1, 2), "threshold": (1, 1)}
    inputs = [f"| `{name}` | float32 | {_dims(shapes[name])} | {_INPUTS[name]} |" for name in spec.core.inputs]
    made = [f"| `{name}` | {_TYPES[tensor.dtype]} | {_dims(tensor.dims)} |" for name, tensor in outputs.items()]
    return f"""# {spec.name}

An instance segmentation model of the family `{spec.family}` as an ONNX file, cut in front of the steps that paint masks
at the size of the image. `{PROGRAM}` does these steps with numpy:

    pip install numpy opencv-python-headless onnxruntime
    python {PROGRAM} photo.jpg

| input | type | shape | what it is |
|---|---|---|---|
{chr(10).join(inputs)}

| output | type | shape |
|---|---|---|
{chr(10).join(made)}

A side of -1 depends on the image. `instances` in `{PROGRAM}` says what each output means. `{SETTINGS}` has the score
threshold, the class names by class id, and the settings of the steps before and after the network. `{PROVENANCE}` says
what the file was made from.
"""


def _dims(dims: tuple[int, ...]) -> str:
    return " x ".join(map(str, dims))
