"""Small hand-made model repositories, and the server that tests share."""

from __future__ import annotations

import importlib.util
import os
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from maskserve import contract

HAS_TRITON = importlib.util.find_spec("pytriton") is not None
needs_triton = pytest.mark.skipif(not HAS_TRITON, reason='needs the embedded server: pip install "maskserve[embedded]"')

SEGMENTER = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(r, "IMAGE").as_numpy()[0]) for r in requests]

    def answer(self, image):
        assert image[:4] == b"\\x89PNG", image[:16]
        boxes = np.array([[1, 2, 3, 4]], np.float32)
        return pb_utils.InferenceResponse([pb_utils.Tensor("BOXES", boxes)])
"""
INTERPRETER = """
import sys
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        prefix = np.array([sys.prefix.encode()], dtype=object)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("PREFIX", prefix)]) for _ in requests]
"""


class Repository:
    """Writes entries into a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def segmenter(self, name: str, code: str = SEGMENTER, **options: Any) -> Path:
        """An entry that clients of maskserve may call."""
        config = self._config(name, backend="python", **options)
        config.parameters[contract.PARAMETER_CONTRACT].string_value = str(contract.VERSION)
        self._add_tensors(config)
        return self._write(config, code)

    def ensemble(self, name: str, step: str) -> Path:
        config = self._config(name, platform="ensemble")
        config.parameters[contract.PARAMETER_CONTRACT].string_value = str(contract.VERSION)
        self._add_tensors(config)
        only_step = config.ensemble_scheduling.step.add(model_name=step, model_version=-1)
        only_step.input_map["IMAGE"] = "IMAGE"
        only_step.output_map["BOXES"] = "BOXES"
        return self._write(config, None)

    def foreign(self, name: str, code: str = INTERPRETER) -> Path:
        """A model that knows nothing of maskserve."""
        config = self._config(name, backend="python")
        config.input.add(name="X", data_type="TYPE_FP32", dims=[1])
        config.output.add(name="PREFIX", data_type="TYPE_STRING", dims=[1])
        return self._write(config, code)

    @staticmethod
    def _config(name: str, *, instances: int = 1, **options: Any) -> Any:
        from tritonclient.grpc import model_config_pb2

        config = model_config_pb2.ModelConfig(name=name, **options)
        if not config.platform:
            config.instance_group.add(count=instances, kind="KIND_CPU")
        return config

    @staticmethod
    def _add_tensors(config: Any) -> None:
        config.input.add(name="IMAGE", data_type="TYPE_STRING", dims=[1])
        config.output.add(name="BOXES", data_type="TYPE_FP32", dims=[-1, 4])

    def _write(self, config: Any, code: str | None) -> Path:
        from google.protobuf import text_format

        folder = self.path / str(config.name)
        (folder / "1").mkdir(parents=True)
        (folder / "config.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")
        if code is not None:
            (folder / "1" / "model.py").write_text(textwrap.dedent(code), encoding="utf-8")
        return folder


def region_prefix(server: Any) -> str:
    """What the names of the server's regions in /dev/shm begin with, by its command line."""
    command = Path(f"/proc/{server.pid}/cmdline").read_text(encoding="utf-8").split("\0")
    return next(word.partition("shm-region-prefix-name=")[2] for word in command if "shm-region-prefix-name" in word)


def regions(prefix: str) -> list[str]:
    """The files in /dev/shm that belong to the server with this prefix, its lock included."""
    return [name for name in os.listdir("/dev/shm") if name.startswith(prefix.removesuffix("-"))]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "models")


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from maskserve_tools.embedded import serve

    repository = Repository(tmp_path_factory.mktemp("shared"))
    repository.segmenter("Seg-S.v1.core")
    repository.ensemble("Seg-S.v1", step="Seg-S.v1.core")
    repository.foreign("foreign")
    (repository.path / "README.md").write_text("not a model", encoding="utf-8")
    (repository.path / ".unfinished").mkdir()
    with serve(repository.path) as server:
        yield server


@pytest.fixture
def grpc_infer() -> Callable[[str, str, bytes], Any]:
    """Sends image bytes to a model: (url, model, image) -> BOXES."""

    def infer(url: str, model: str, image: bytes) -> Any:
        import numpy as np
        from tritonclient import grpc

        tensor = grpc.InferInput("IMAGE", [1], "BYTES")
        tensor.set_data_from_numpy(np.array([image], dtype=object))
        with grpc.InferenceServerClient(url.removeprefix("grpc://")) as client:
            return client.infer(model, [tensor], client_timeout=30).as_numpy("BOXES")

    return infer
