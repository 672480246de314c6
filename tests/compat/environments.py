"""The virtual environments of the comparison, made once and kept, and what their processes need to know."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# In each line what one call of pip installs.
PADDLEX = {
    "3.x": [["paddlex[cv]==3.7.2", "paddlepaddle==3.3.1"]],
    # Pinned to releases of Python 3.8 to 3.10: installed without its pins, and without what the chat pipelines need.
    "3.0b2": [
        [
            *("paddlepaddle==3.0.0", "setuptools<81", "numpy==1.24.4", "opencv-python-headless==4.8.1.78"),
            *("pandas<2.3", "pillow", "prettytable", "imagesize", "colorlog", "PyYAML", "filelock", "ruamel.yaml"),
            *("chardet", "scikit-learn", "scikit-image", "pycocotools", "tqdm", "pyclipper", "shapely", "requests"),
            *("GPUtil", "lxml", "openpyxl", "premailer", "PyMuPDF", "ujson", "networkx", "matplotlib<3.9"),
            *("chinese-calendar", "parsley"),
        ],
        ["--no-deps", "paddlex==3.0.0b2"],
    ],
}
MASKSERVE = [["--editable", f"{ROOT}[embedded,convert,pdf]"]]


def environment(folder, installs):
    """The Python of a virtual environment in `folder` with these packages; made where it is not there yet."""
    python = folder / "bin" / "python"
    stamp = folder / hashlib.sha256(repr(installs).encode()).hexdigest()[:16]
    if not stamp.exists():
        print(f"making {folder}", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True, clear=True)
        for packages in installs:
            subprocess.run([python, "-m", "pip", "install", "-qq", *packages], check=True)
        stamp.touch()
    return python


def variables(home):
    """The environment variables with which PaddleX runs without a network, and on these releases of Paddle."""
    return {
        **os.environ,
        "HOME": str(home),
        "PADDLE_PDX_CACHE_HOME": str(home),
        "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True",
        # oneDNN in Paddle 3.3 fails on several of the models
        "PADDLE_PDX_ENABLE_MKLDNN_BYDEFAULT": "False",
        # PaddleX downloads its font
        "PADDLE_PDX_LOCAL_FONT_FILE_PATH": str(ROOT / "client" / "maskserve" / "fonts" / "DejaVuSans.ttf"),
        # 3.0.0b2 looks for inference.pdmodel otherwise
        "FLAGS_json_format_model": "1",
    }
