"""Requests per second and latency of one model on tritonserver, cut as maskserve converts it and uncut as it came.

Example: `python benchmarks/served_cut_against_uncut.py demo/model --photo demo/photos/astronaut.jpg`

Everything runs in one server and in turn: the two layouts of a conversion, and an entry that answers the same contract
with the uncut program in Paddle Inference and PaddleX's arithmetic.
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from maskserve import create_pipeline
from maskserve_convert.choices import LAYOUTS
from maskserve_tools import convert, serve

UNCUT_ADAPTER = """
import cv2
import numpy as np
import triton_python_backend_utils as pb_utils
from pathlib import Path

from maskserve.masks import encode_crop
from maskserve_tools.verify.reference import open_reference


class TritonPythonModel:
    def initialize(self, args):
        self.reference = open_reference(Path({folder!r}))

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        data = pb_utils.get_input_tensor_by_name(request, "IMAGE").as_numpy()[0]
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        found = self.reference.predict(image, 0.5)
        corners = np.array([np.rint(i.box) for i in found]).reshape(-1, 4)
        sizes = np.array([i.mask.shape[::-1] for i in found]).reshape(-1, 2)
        columns = {{
            "BOXES": np.array([i.box for i in found], np.float32).reshape(-1, 4),
            "SCORES": np.array([i.score for i in found], np.float32),
            "LABELS": np.array([i.label for i in found], np.int32),
            "MASKS": np.array([encode_crop(i.mask) for i in found], np.object_),
            "MASK_BOXES": np.concatenate([corners[:, :2], sizes], axis=1).astype(np.int32),
            "IMAGE_SIZE": np.array(image.shape[:2], np.int32),
        }}
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in columns.items()])
"""


def write_uncut(repository: Path, like: str, name: str, folder: Path) -> None:
    """Write an entry with the interface of the entry `like` that runs the whole program."""
    entry = repository / name
    (entry / "1").mkdir(parents=True)
    config = text_format.Parse((repository / like / "config.pbtxt").read_text(encoding="utf-8"), ModelConfig())
    config.name = name
    for output in config.output:
        output.ClearField("label_filename")
    (entry / "config.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")
    (entry / "1" / "model.py").write_text(UNCUT_ADAPTER.format(folder=str(folder.resolve())), encoding="utf-8")


def load(name: str, url: str, image: bytes, clients: int, seconds: float) -> tuple[float, list[float]]:
    """Return requests per second, and each one's latency in seconds, with `clients` asking without a pause."""
    with create_pipeline(name, url=url, timeout=300) as pipeline:
        list(pipeline.predict(image))
        end = time.perf_counter() + seconds

        def ask(_: int) -> list[float]:
            latencies = []
            while (start := time.perf_counter()) < end:
                list(pipeline.predict(image))
                latencies.append(time.perf_counter() - start)
            return latencies

        begin = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            latencies = [value for values in pool.map(ask, range(clients)) for value in values]
        return len(latencies) / (time.perf_counter() - begin), latencies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="PADDLE_DIR")
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=15, help="of each measurement (default: %(default)s)")
    arguments = parser.parse_args()
    image = arguments.photo.read_bytes()
    with TemporaryDirectory() as scratch:
        repository = Path(scratch)
        for layout in LAYOUTS:
            convert(arguments.folder, repository=repository, name=f"cut-{layout}", layout=layout)
        write_uncut(repository, "cut-single", "uncut", arguments.folder)
        with serve(repository, ready_timeout=600) as server:
            print("| | clients | requests/s | median ms | p95 ms |\n|---|---:|---:|---:|---:|")
            for clients in (1, 4):
                for name in ("uncut", *(f"cut-{layout}" for layout in LAYOUTS)):
                    rate, latencies = load(name, server.grpc_url, image, clients, arguments.seconds)
                    p95 = statistics.quantiles(latencies, n=20)[-1]
                    median = statistics.median(latencies)
                    print(f"| {name} | {clients} | {rate:.1f} | {median * 1e3:.0f} | {p95 * 1e3:.0f} |", flush=True)


if __name__ == "__main__":
    main()
