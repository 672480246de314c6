"""PaddleX's row of `side_by_side.py`: its pipeline, in the process. Run by the Python of an environment with PaddleX.

python paddlex_pipeline.py PADDLE_DIR PHOTO FOUND.npz

What it finds first goes into FOUND.npz. PaddleX runs models of its own names only: PADDLE_DIR has such a name.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent.parent))
from turns import answer_turns

# see `paddlex_model.py`
os.environ |= {"PADDLE_PDX_ENABLE_MKLDNN_BYDEFAULT": "False", "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True"}


def main() -> None:
    """Load the pipeline, and take turns. Callers come one after the other: its predictor has one set of inputs."""
    import yaml
    from paddlex import create_pipeline  # type: ignore[import-not-found]

    folder, photo, target = sys.argv[1:]
    name = yaml.safe_load((Path(folder) / "inference.yml").read_text(encoding="utf-8"))["Global"]["model_name"]
    module = {"module_name": "instance_segmentation", "model_name": name, "model_dir": folder}
    module |= {"batch_size": 1, "threshold": 0.5}
    config = {"pipeline_name": "instance_segmentation", "SubModules": {"InstanceSegmentation": module}}
    pipeline, turn = create_pipeline(config=config, device="cpu"), threading.Lock()

    def run() -> int:
        with turn:
            (result,) = pipeline.predict(photo)
        if not Path(target).exists():
            _keep(result, Path(target))
        return len(result["boxes"])

    answer_turns(run)


def _keep(result: Any, target: Path) -> None:
    import numpy as np

    boxes = result["boxes"]
    columns = {key: np.array([box[key] for box in boxes]) for key in ("cls_id", "score", "coordinate")}
    masks = {f"mask{index}": mask for index, mask in enumerate(result["masks"])}
    np.savez(target, **columns, **masks)


if __name__ == "__main__":
    main()
