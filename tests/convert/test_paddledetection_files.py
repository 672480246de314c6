"""Files as PaddleDetection names and writes them are the same model, read by PaddleDetection's rules."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskserve_convert.paddle.folder import PaddleFolder
from maskserve_tools import convert
from tests.convert.conftest import needs_paddle
from tests.convert.written_settings import GOOD, folder_with


def test_paddledetections_file_is_read_by_its_own_rules(tmp_path: Path) -> None:
    steps = [{"type": "Resize", "target_size": 64}, {"type": "NormalizeImage", "norm_type": "none"}]
    folder = folder_with(tmp_path / "solov2_r50", yaml.safe_dump({**GOOD, "Preprocess": [*steps, {"type": "Permute"}]}))
    (folder / "inference.yml").rename(folder / "infer_cfg.yml")
    resize, normalize, _ = PaddleFolder.open(folder).preprocess
    assert (resize["keep_ratio"], resize["interp"]) == (True, 1)
    assert (normalize["mean"], normalize["std"]) == ([0, 0, 0], [1, 1, 1])


def without_the_time_it_took(description: bytes) -> dict[str, Any]:
    """A model's description without its queue, which follows from the time that an image takes."""
    content: dict[str, Any] = json.loads(description)
    assert content.pop("queue")
    return content


@needs_paddle
@pytest.mark.parametrize("program", ["inference.json", "inference.pdmodel"])
def test_the_files_of_paddledetection_are_the_same_model(
    program: str, paddle_model: Callable[[str], Path], tmp_path: Path
) -> None:
    """Renamed, in a folder of a training's output, and as an archive: the core and the description are the same."""
    suffix = ".pdmodel" if program.endswith("pdmodel") else ""
    source = paddle_model(f"PP-YOLOE_seg-S{suffix}" if suffix else "tiny-PP-YOLOE_seg-320")
    output = tmp_path / "output" / "best_model" / "inference"
    output.mkdir(parents=True)
    names = {"inference.yml": "infer_cfg.yml", program: program.replace("inference", "model")}
    for old, new in {**names, "inference.pdiparams": "model.pdiparams"}.items():
        shutil.copyfile(source / old, output / new)
    archive = shutil.make_archive(str(tmp_path / "all"), "gztar", tmp_path / "output")
    described: list[dict[str, Any]] = []
    for number, given in enumerate((source, tmp_path / "output", Path(archive))):
        repository = tmp_path / f"models{number}"
        convert(given, repository=repository, name="m", layout="single", engine="paddle")
        files = {path.name: path.read_bytes() for path in (repository / "m" / "1").iterdir()}
        assert {"core.json", "core.pdiparams", "model.json"} <= set(files)
        described.append({**files, "model.json": without_the_time_it_took(files["model.json"])})
    assert described[0] == described[1] == described[2]
