"""One row of `cut_against_uncut.py`: PaddleX itself, in its own environment, from decoded pixels to instances.

It is run by that environment's interpreter, where nothing of maskserve is installed.

    python paddlex_model.py PADDLE_DIR PHOTO WIDTHxHEIGHT REPEATS
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

# With oneDNN, its default, Paddle 3.3.1 fails at the first photo for PP-YOLOE_seg-S and others, and PaddleX itself
# leaves it out for the rest.
os.environ |= {"PADDLE_PDX_ENABLE_MKLDNN_BYDEFAULT": "False", "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True"}


def main() -> None:
    """Print seconds of each run, instances found, and peak memory in bytes."""
    import cv2
    import yaml
    from paddlex import create_model  # type: ignore[import-not-found]

    folder, photo, size, repeats = sys.argv[1:]
    name = yaml.safe_load((Path(folder) / "inference.yml").read_text())["Global"]["model_name"]
    model = create_model(name, model_dir=folder, device="cpu")
    width, height = map(int, size.split("x"))
    image = cv2.resize(cv2.imread(photo), (width, height))
    seconds, found = [], 0
    for _ in range(1 + int(repeats)):
        start = time.perf_counter()
        (result,) = model.predict(image, threshold=0.5)
        found = len(result["boxes"])
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds[1:], "found": found, "bytes": peak}))


if __name__ == "__main__":
    main()
