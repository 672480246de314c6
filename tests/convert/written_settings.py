"""Settings of a model as somebody wrote them: good ones, and folders with others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

GOOD = {
    "draw_threshold": 0.5,
    "Global": {"model_name": "SOLOv2"},
    "arch": "SOLOv2",
    "mask": True,
    "use_dynamic_shape": True,
    "Preprocess": [
        {"type": "Resize", "target_size": [64, 96], "keep_ratio": True, "interp": 2},
        {"type": "NormalizeImage", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "is_scale": True},
        {"type": "Permute"},
        {"type": "PadStride", "stride": 32},
    ],
    "label_list": ["cat", "dog"],
}
RESIZE, NORMALIZE, PERMUTE, PAD = range(4)


def folder_with(path: Path, text: str | bytes) -> Path:
    """A folder whose settings are `text`; its other files are there, and empty."""
    path.mkdir(exist_ok=True)
    (path / "inference.yml").write_bytes(text.encode() if isinstance(text, str) else text)
    (path / "inference.json").touch()
    (path / "inference.pdiparams").touch()
    return path


def change(folder: Path, **settings: Any) -> Path:
    """Replace settings of a folder."""
    file = folder / "inference.yml"
    content = yaml.safe_load(file.read_text(encoding="utf-8")) | settings
    file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return folder
