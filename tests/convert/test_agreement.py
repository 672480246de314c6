"""Two files that state the same fact are compared: the settings of a model and its program."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskserve.errors import ToolError
from maskserve_convert.agreement import check_agreement
from maskserve_convert.paddle.folder import PaddleFolder
from maskserve_convert.paddle.program import Program
from maskserve_convert.recognised import RecognisedModel
from maskserve_tools import convert
from tests.convert.conftest import needs_paddle
from tests.convert.written_settings import change


def steps(folder: Path, index: int, **settings: Any) -> list[Any]:
    """The Preprocess list with one step changed."""
    listed: list[Any] = yaml.safe_load((folder / "inference.yml").read_text(encoding="utf-8"))["Preprocess"]
    listed[index] |= settings
    return listed


def drawn(folder: Path) -> RecognisedModel:
    opened = PaddleFolder.open(folder)
    return RecognisedModel.recognise(opened, "m", Program.read(opened.program))


def test_files_that_agree_are_not_spoken_of(folder: Path) -> None:
    assert drawn(folder).classes == 1
    assert check_agreement(drawn(folder)) == []


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("tiny-Mask-RT-DETR-320", 80),
        ("tiny-PP-YOLOE_seg-320", 80),
        ("tiny-SOLOv2-320", 80),
        ("tiny-SOLOv2-320.v4", 80),
        ("tiny-MaskRCNN-320", 80),
        ("tiny-Cascade-MaskRCNN-320", 80),
        ("custom-PP-YOLOE_seg-S-dynamic", 1),
    ],
)
def test_the_number_of_classes_is_the_programs(name: str, classes: int, paddle_model: Callable[[str], Path]) -> None:
    recognised = drawn(paddle_model(name))
    assert recognised.classes == recognised.spec("openvino").classes == classes


def test_labels_of_another_data_set_are_spoken_of(folder: Path) -> None:
    change(folder, label_list=[f"class {index}" for index in range(80)])
    (warning,) = check_agreement(drawn(folder))
    assert "inference.yml has 80 labels, but" in warning
    assert "inference.json has 1 class: class 0 is called 'class 0'" in warning
    assert "--labels FILE" in warning


def test_classes_without_a_label_are_spoken_of(folder: Path) -> None:
    recognised = drawn(folder)
    (warning,) = check_agreement(replace(recognised, points=replace(recognised.points, classes=3)))
    assert "has 1 label, but" in warning
    assert "has 3 classes: classes from 1 on are called by their numbers" in warning


def test_a_number_of_classes_that_cannot_be_read_is_said_so(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("one\ntwo\n", encoding="utf-8")
    recognised = drawn(folder)
    unknown = replace(recognised, points=replace(recognised.points, classes=None))
    assert "cannot be read from it: 1 label of" in check_agreement(unknown)[0]
    with_file = replace(unknown, folder=PaddleFolder.open(folder, labels=tmp_path / "labels.txt"))
    assert check_agreement(with_file)[0].endswith("2 labels of " + str(tmp_path / "labels.txt") + " are not checked")


@pytest.mark.parametrize(
    ("index", "settings", "words"),
    [
        (0, {"target_size": [320, 320]}, "reads images of 384x384 .*makes them 320x320: correct target_size"),
        (0, {"target_size": [384, 640]}, "makes them 384x640"),
        (0, {"keep_ratio": True}, "keeps the ratio of each image, so that sizes differ: set keep_ratio to false"),
        (2, {"type": "Permute"}, None),
    ],
)
def test_a_size_that_the_program_does_not_read_is_refused(
    index: int, settings: dict[str, Any], words: str | None, folder: Path
) -> None:
    change(folder, Preprocess=steps(folder, index, **settings))
    if words is None:
        assert check_agreement(drawn(folder)) == []
        return
    with pytest.raises(ToolError, match=words):
        check_agreement(drawn(folder))


def test_an_r_cnn_runs_on_other_sizes_than_its_own(paddle_model: Callable[[str], Path], tmp_path: Path) -> None:
    """As in Paddle: a program that was exported for one size is made for all, so that a misfit is only spoken of."""
    folder = Path(shutil.copytree(paddle_model("tiny-MaskRCNN-320"), tmp_path / "paddle"))
    change(folder, use_dynamic_shape=False, Preprocess=steps(folder, 0, target_size=[320, 320], keep_ratio=False))
    recognised = drawn(folder)
    recognised.subgraph.program.feeds()["image"].raw["O"][0]["TT"]["D"][1][2:] = [256, 320]
    (warning,) = check_agreement(replace(recognised))
    assert "reads images of 256x320 (height x width), but Preprocess in" in warning
    assert "makes them 320x320: an R-CNN runs on that size, too" in warning
    change(folder, Preprocess=steps(folder, 0, keep_ratio=True))
    fitting = replace(recognised, folder=PaddleFolder.open(folder))
    assert check_agreement(fitting) == []


def test_a_solov2_of_one_size_does_not_keep_the_ratio(paddle_model: Callable[[str], Path], tmp_path: Path) -> None:
    """Its coordinates are computed from the size when it is exported; uncut Paddle fails on any other, too."""
    folder = Path(shutil.copytree(paddle_model("tiny-SOLOv2-320"), tmp_path / "paddle"))
    recognised = drawn(folder)
    recognised.subgraph.program.feeds()["image"].raw["O"][0]["TT"]["D"][1][2:] = [256, 320]
    with pytest.raises(ToolError, match=r"reads images of 256x320 .* keeps the ratio of each image"):
        check_agreement(replace(recognised))
    change(folder, use_dynamic_shape=False, Preprocess=steps(folder, 1, keep_ratio=False))
    assert check_agreement(replace(recognised, folder=PaddleFolder.open(folder))) == []


def test_padding_counts(folder: Path) -> None:
    change(folder, Preprocess=[*steps(folder, 0), {"type": "PadStride", "stride": 100}])
    with pytest.raises(ToolError, match="makes them 400x400"):
        check_agreement(drawn(folder))


@needs_paddle
def test_a_misfit_never_moves_a_model_to_another_engine(folder: Path, tmp_path: Path) -> None:
    change(folder, Preprocess=steps(folder, 0, target_size=[320, 320]))
    lines: list[str] = []
    with pytest.raises(ToolError, match="reads images of 384x384"):
        convert(folder, repository=tmp_path / "models", report=lines.append)
    assert not any("checking the core" in line or "cannot run it" in line for line in lines)
    assert not (tmp_path / "models").exists()


def test_a_program_for_images_of_four_channels_is_refused(folder: Path) -> None:
    recognised = drawn(folder)
    image = recognised.subgraph.program.feeds()["image"]
    image.raw["O"][0]["TT"]["D"][1][1] = 4
    with pytest.raises(ToolError, match="reads images of 4 channels"):
        check_agreement(replace(recognised))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"arch": "RCNN"}, "arch in .* is RCNN, but the program is a Mask-RT-DETR and is served as one"),
        ({"mask": False}, "mask in .* is false"),
        ({"use_dynamic_shape": True}, "use_dynamic_shape in .* is true, but the program reads images of 384x384 only"),
        ({"Global": {"model_name": "SOLOv2"}}, "Global.model_name in .* is SOLOv2, but the program is a Mask-RT-DETR"),
    ],
)
def test_a_claim_that_is_wrong_is_spoken_of(settings: dict[str, Any], words: str, folder: Path) -> None:
    warnings = check_agreement(drawn(change(folder, **settings)))
    assert len(warnings) == 1
    assert all(part in warnings[0] for part in words.split(" .* "))


@pytest.mark.parametrize(
    ("settings", "spoken"),
    [
        ({"is_scale": False}, True),
        ({"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}, True),
        ({"is_scale": False, "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}, False),
        ({"is_scale": False, "mean": [0, 0, 0], "std": [1, 1, 1]}, False),
        ({"is_scale": True, "mean": [0.5, 0.5, 0.5], "std": [1, 1, 1]}, False),
    ],
)
def test_numbers_for_the_other_scale_are_spoken_of(settings: dict[str, Any], spoken: bool, folder: Path) -> None:
    warnings = check_agreement(drawn(change(folder, Preprocess=steps(folder, 1, **settings))))
    assert ["they fit the other scale" in warning for warning in warnings] == [True] * spoken


@needs_paddle
def test_a_warning_is_reported_and_the_model_converted(folder: Path, tmp_path: Path) -> None:
    change(folder, label_list=["a", "b"])
    lines: list[str] = []
    made = convert(
        folder, repository=tmp_path / "models", name="m", layout="single", engine="openvino", report=lines.append
    )
    (warning,) = made.warnings
    assert f"warning: {warning}" in lines
