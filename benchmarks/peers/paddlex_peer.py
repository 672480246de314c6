"""PaddleX's own service, in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml
from processes import free_port, stopped_at_the_end, wait_until_healthy

import maskserve

PADDLEX = "paddlex[cv,serving]==3.7.2"
PADDLE = "paddlepaddle==3.3.1"
# With oneDNN, which is the default, Paddle 3.3.1 fails at the first request to PP-YOLOE_seg-S and several others
# (ConvertPirAttribute2RuntimeAttribute); for Mask-RT-DETR-S PaddleX itself leaves it out.
SETTINGS = {
    "PADDLE_PDX_ENABLE_MKLDNN_BYDEFAULT": "False",
    "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True",
    "PADDLE_PDX_LOCAL_FONT_FILE_PATH": str(Path(maskserve.__file__).parent / "fonts" / "DejaVuSans.ttf"),
}


def create_environment(folder: Path) -> Path:
    """Return the `bin` of a virtual environment with PaddleX, made once."""
    stamp, wanted = folder / ".installed", f"{PADDLEX} {PADDLE}"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"installing {wanted} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        install: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", PADDLEX, PADDLE]
        subprocess.run(install, check=True, stdout=sys.stderr)
        stamp.write_text(wanted, encoding="utf-8")
    return folder / "bin"


@contextmanager
def serve_paddlex(binaries: Path, model: Path, scratch: Path, settings: Mapping[str, str]) -> Iterator[str]:
    """Run `paddlex --serve` on a Paddle inference folder; gives the URL.

    Args:
        binaries: of the environment.
        model: the folder.
        scratch: for the pipeline file, PaddleX's cache and its log.
        settings: environment variables that go before `SETTINGS`.
    """
    name = yaml.safe_load((model / "inference.yml").read_text(encoding="utf-8"))["Global"]["model_name"]
    module = {"module_name": "instance_segmentation", "model_name": name, "model_dir": str(model.resolve())}
    pipeline = {"pipeline_name": "instance_segmentation", "SubModules": {"InstanceSegmentation": module}}
    module |= {"batch_size": 1, "threshold": 0.5}
    (scratch / "pipeline.yaml").write_text(yaml.safe_dump(pipeline), encoding="utf-8")

    port = free_port()
    command: list[str | Path] = [
        binaries / "paddlex",
        "--serve",
        "--pipeline",
        scratch / "pipeline.yaml",
        "--device",
        "cpu",
    ]
    environment = {**os.environ, **SETTINGS, "PADDLE_PDX_CACHE_HOME": str(scratch / "cache"), **settings}
    log = scratch / "paddlex.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], stdout=output, stderr=output, env=environment
        )
    with stopped_at_the_end(process):
        url = f"http://127.0.0.1:{port}"
        wait_until_healthy(url, process, log)
        yield url
