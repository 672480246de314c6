"""The core for other runtimes: the program in numpy that comes with it finds what the server finds."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from maskserve import create_pipeline
from maskserve.errors import ToolError
from maskserve_convert.onnx_export.writing import write_onnx_folder
from maskserve_server.spec import CoreSpec, ModelSpec
from maskserve_tools import convert
from maskserve_tools.cli import main

FAMILIES = [
    "tiny-Mask-RT-DETR-320",
    "tiny-PP-YOLOE_seg-320",
    "tiny-SOLOv2-320",
    "tiny-MaskRCNN-320",
    "custom-PP-YOLOE_seg-S-dynamic",
]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    photo = cv2.imread(str(Path(__file__).parents[2] / "demo" / "photos" / "astronaut.jpg"))
    cv2.imwrite(str(tmp_path / "photo.png"), cv2.resize(photo, (311, 240)))
    return tmp_path / "photo.png"


def program(folder: Path, threshold: float) -> Any:
    """Import the exported program, with another threshold."""
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    (folder / "settings.json").write_text(json.dumps({**settings, "threshold": threshold}), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("segment", folder / "segment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("model", FAMILIES)
def test_the_program_finds_what_the_pipeline_finds(
    model: str, paddle_model: Callable[[str], Path], image: Path, tmp_path: Path
) -> None:
    pytest.importorskip("paddle2onnx", reason="converting needs paddle2onnx", exc_type=ImportError)
    import onnxruntime

    threshold = 0.3 if "dynamic" in model else 0.05
    folder = paddle_model(model)
    convert(folder, onnx=tmp_path / "onnx")
    convert(folder, bundle=tmp_path / "model.maskserve", engine="onnxruntime")
    segment = program(tmp_path / "onnx", threshold)
    pixels = cv2.imread(str(image))
    inputs = segment.prepare(pixels)
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx")
    outputs = session.run(None, {given.name: inputs[given.name] for given in session.get_inputs()})
    named = {output.name: value for output, value in zip(session.get_outputs(), outputs, strict=True)}
    found = list(segment.instances(named, pixels.shape[:2], inputs))

    with create_pipeline(tmp_path / "model.maskserve") as pipeline:
        wanted = pipeline.segment(pixels, threshold=threshold).instances
    assert len(found) == len(wanted) > 3
    assert [label for label, *_ in found] == wanted.class_ids.tolist()
    np.testing.assert_allclose([score for _, score, *_ in found], wanted.scores, atol=1e-4)
    np.testing.assert_allclose([box for _, _, box, _ in found], wanted.boxes_xyxy, atol=0.05)
    different = [np.count_nonzero(mask != own.decode()) for (*_, mask), own in zip(found, wanted.masks, strict=True)]
    total = sum(mask.area for mask in wanted.masks)
    assert total > 1000
    assert sum(different) <= 0.002 * total


def test_the_command_writes_what_the_readme_tells(
    demo_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("paddle2onnx", reason="converting needs paddle2onnx", exc_type=ImportError)
    assert main(["convert", str(demo_model), "--onnx", str(tmp_path / "out")]) == 0
    assert f"try it with: python {tmp_path}/out/segment.py photo.jpg" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("README.md", "model.onnx", "provenance.json", "segment.py", "settings.json"),
    ]
    readme = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "| `image` | float32 | 1 x 3 x 384 x 384 |" in readme
    assert "| `mask_logits` | float32 |" in readme
    photo = demo_model.parent / "photos" / "astronaut.jpg"
    told = subprocess.run(
        [sys.executable, tmp_path / "out" / "segment.py", photo], capture_output=True, text=True, check=True
    )
    assert told.stdout.startswith("person 0.")
    assert len(told.stdout.splitlines()) == 1
    for arguments, words in (([], "usage: python"), (["gone.jpg"], "gone.jpg is not there, or no image")):
        told = subprocess.run(
            [sys.executable, tmp_path / "out" / "segment.py", *arguments], capture_output=True, text=True, check=False
        )
        assert told.returncode == 1
        assert told.stderr.splitlines()[-1].startswith(words)


def test_another_folder_is_left_alone(demo_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("paddle2onnx", reason="converting needs paddle2onnx", exc_type=ImportError)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ToolError, match=r"holds mine\.txt"):
        convert(demo_model, onnx=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("more", [{"precision": "bf16"}, {"engine": "openvino"}, {"bundle": "a.maskserve"}])
def test_what_does_not_go_together(more: dict[str, str], demo_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="leave out --bundle, --target, --precision and --engine"):
        convert(demo_model, onnx=tmp_path / "out", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"onnx": "out", "queue": 3, "decode": "reduced"}, "what --onnx writes has no place for --queue and --decode"),
        ({"onnx": "out", "threads": 2}, "what --onnx writes has no place for --threads"),
        ({"bundle": "a.maskserve", "instances": 2, "queue": 3}, "what --bundle writes has no place for --instances:"),
    ],
)
def test_what_would_be_ignored_without_a_word(given: dict[str, Any], said: str, demo_model: Path) -> None:
    with pytest.raises(ToolError, match=said):
        convert(demo_model, **given)


def _half_of_it(source: Path, target: Path) -> None:
    Path(target).write_bytes(Path(source).read_bytes()[:3])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _spec() -> ModelSpec:
    core = CoreSpec("onnxruntime", "core.onnx", ("image",), ("detections",), (3, 320, 320))
    return ModelSpec("model", "mask_rt_detr", {}, (), ("person",), 0.5, core)


def test_a_full_disk_leaves_the_earlier_export_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core, target = tmp_path / "core.onnx", tmp_path / "onnx"
    core.write_bytes(b"network")
    write_onnx_folder(target, _spec(), core, {}, "{}")
    core.write_bytes(b"another")
    monkeypatch.setattr(shutil, "copyfile", _half_of_it)
    for folder in (target, tmp_path / "new"):
        with pytest.raises(ToolError, match="cannot be written: No space left"):
            write_onnx_folder(folder, _spec(), core, {}, "{}")
    assert (target / "model.onnx").read_bytes() == b"network"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["core.onnx", "onnx"]
    assert len(list(target.iterdir())) == 5
    monkeypatch.undo()
    write_onnx_folder(target, _spec(), core, {}, "{}")
    assert (target / "model.onnx").read_bytes() == b"another"
