"""PaddleX's row of `cut_against_uncut.py`: run by the Python of an environment that has PaddleX, and no maskserve.

python paddlex_model.py PADDLE_DIR PHOTO WIDTHxHEIGHT
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent.parent))
from turns import take_turns

# With oneDNN, its default, Paddle 3.3.1 fails at the first image for PP-YOLOE_seg-S and others, and PaddleX itself
# leaves it out for the rest.
os.environ |= {"PADDLE_PDX_ENABLE_MKLDNN_BYDEFAULT": "False", "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True"}


def main() -> None:
    """Load the model, and take turns."""
    import yaml
    from paddlex import create_model  # type: ignore[import-not-found]

    folder, input_image, size = sys.argv[1:]
    name = yaml.safe_load((Path(folder) / "inference.yml").read_text(encoding="utf-8"))["Global"]["model_name"]
    model = create_model(name, model_dir=folder, device="cpu")

    def run(image: Any) -> int:
        (result,) = model.predict(image, threshold=0.5)
        return len(result["boxes"])

    take_turns(run, input_image, size)


if __name__ == "__main__":
    main()
