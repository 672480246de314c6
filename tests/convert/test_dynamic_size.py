"""A model that takes images of any size: what is answered equals Paddle on the uncut program, also a padded one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from maskserve import contract
from maskserve.decoding.decoders import OwnProcess
from maskserve.decoding.limits import Limits
from maskserve.errors import ToolError
from maskserve_convert import core_check
from maskserve_convert.paddle.folder import PaddleFolder
from maskserve_server.spec import ModelSpec
from maskserve_server.stages import Single
from maskserve_tools import convert
from maskserve_tools.embedded.canary import canary_image
from maskserve_tools.verify.comparison import compare
from maskserve_tools.verify.reference import Reference
from tests.answers import instances_of
from tests.packages import need

need("paddle2onnx", reason="converting needs the convert extra")


MODEL = "custom-PP-YOLOE_seg-S-dynamic"
# The program's anchors are those of 8400 cells, which all three of these sizes have.
RESIZED = {"square": ([640, 640], 0), "wide": ([320, 1280], 0), "padded": ([310, 1262], 32)}


@pytest.fixture(scope="module")
def version(paddle_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The version folder of the converted model, in Paddle: its random weights amplify what other engines round."""
    repository = tmp_path_factory.mktemp("dynamic") / "models"
    convert(paddle_model(MODEL), repository=repository, name="dynamic", layout="single", engine="paddle")
    return repository / "dynamic" / "1"


def resized_folder(source: Path, target: list[int], stride: int, folder: Path) -> PaddleFolder:
    """Link the model into `folder`, with settings that resize to `target`."""
    for file in source.iterdir():
        if file.suffix != ".yml":
            (folder / file.name).symlink_to(file)
    content = yaml.safe_load((source / "inference.yml").read_text(encoding="utf-8"))
    steps = [{**step, "target_size": target} if step["type"] == "Resize" else step for step in content["Preprocess"]]
    content["Preprocess"] = [*steps, {"type": "PadStride", "stride": stride}] if stride else steps
    (folder / "inference.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return PaddleFolder.open(folder)


@pytest.mark.parametrize("kind", RESIZED)
def test_every_size_agrees_with_paddle(
    kind: str, version: Path, paddle_model: Callable[[str], Path], images: list[Path], tmp_path: Path
) -> None:
    folder = resized_folder(paddle_model(MODEL), *RESIZED[kind], tmp_path)
    input_image = cv2.resize(cv2.imread(str(images[0])), (400, 310))
    wanted = Reference(folder).predict(input_image, 0.3)
    answer = Single(
        replace(ModelSpec.read(version), preprocess=folder.preprocess), version, threads=2, decoder=OwnProcess(Limits())
    )(
        {
            contract.IMAGE: np.array([cv2.imencode(".png", input_image)[1].tobytes()], object),
            contract.THRESHOLD: np.array([0.3], np.float32),
            contract.CLASS_IDS: None,
        }
    )
    comparison = compare(wanted, instances_of(answer), 0.3)
    assert comparison.equal, comparison
    assert len(wanted) > 5, "an image on which nothing is found proves nothing"


def test_a_core_whose_answer_cannot_be_painted_is_not_converted(version: Path, tmp_path: Path) -> None:
    """The check before writing asks at a threshold of 0, and so gets as far as painting."""
    spec = ModelSpec.read(version)
    for name in ("core.json", "core.pdiparams"):
        (tmp_path / name).symlink_to(version / name)
    (tmp_path / "model.json").write_text(spec.to_json(), encoding="utf-8")
    core_check.check_core(tmp_path)
    broken = replace(spec, settings={**spec.settings, "mask_threshold": "half"})
    (tmp_path / "model.json").write_text(broken.to_json(), encoding="utf-8")
    with pytest.raises(ToolError, match="failed"):
        core_check.check_core(tmp_path)


def test_a_test_image_is_answered_with_instances(version: Path) -> None:
    """At a threshold of 0 the test image proves the postprocessing; at the model's own nothing is found in it."""
    single = Single(ModelSpec.read(version), version, threads=2, decoder=OwnProcess(Limits()))
    image = np.array([canary_image()], object)
    inputs = {contract.IMAGE: image, contract.THRESHOLD: np.zeros(1, np.float32), contract.CLASS_IDS: None}
    assert len(instances_of(single(inputs))) > 100
