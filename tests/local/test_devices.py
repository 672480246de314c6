"""Which engine runs a core on which device, with stand-ins for engines that have such devices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from maskserve.errors import InvalidParameter
from maskserve_local import devices
from maskserve_local.devices import CPU, Place, find_place
from maskserve_local.sources import open_source
from maskserve_server.engines import load_engine
from maskserve_server.spec import CoreSpec, ModelSpec


class Machine:
    """What the installed engines say of this machine."""

    def __init__(self) -> None:
        self.providers = ["CPUExecutionProvider"]
        self.openvino = ["CPU"]
        self.cuda = 0
        self.plugins: list[str] = []
        self.missing: set[str] = set()

    def imported(self, module: str) -> Any:
        if module in self.missing:
            return None
        cuda = SimpleNamespace(device_count=lambda: self.cuda)
        return {
            "onnxruntime": SimpleNamespace(get_available_providers=lambda: self.providers),
            "openvino": SimpleNamespace(Core=lambda: SimpleNamespace(available_devices=self.openvino)),
            "paddle": SimpleNamespace(
                is_compiled_with_cuda=lambda: self.cuda > 0,
                is_compiled_with_xpu=lambda: "xpu" in self.plugins,
                device=SimpleNamespace(cuda=cuda, get_all_custom_device_type=lambda: self.plugins),
            ),
        }[module]


def test_what_a_package_warns_of_while_it_is_loaded_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paddle warns that there is no ccache, which nobody who asks for a GPU needs to know."""
    (tmp_path / "noisy_engine.py").write_text("import warnings\nwarnings.warn('no ccache')\nx = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert devices._imported("noisy_engine").x == 1
    assert devices._imported("no_such_engine") is None


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(devices, "_imported", made.imported)
    return made


@pytest.mark.parametrize("device", [None, "cpu", "CPU"])
def test_the_cpu_is_the_models_own_engine(device: str | None, machine: Machine) -> None:
    assert find_place(device) == CPU == Place(None, "cpu")


def test_a_gpu_goes_to_the_engine_that_has_it(machine: Machine) -> None:
    machine.cuda = 2
    assert find_place("gpu:1") == Place("paddle", "gpu:1")
    machine.openvino = ["CPU", "GPU"]
    assert find_place("gpu") == Place("openvino", "GPU")
    machine.openvino = ["CPU", "GPU.0", "GPU.1"]
    assert find_place("gpu:1") == Place("openvino", "GPU.1")
    machine.providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert find_place("GPU:1") == Place("onnxruntime", "cuda:1")
    machine.missing = {"onnxruntime", "paddle"}
    assert find_place("gpu:0") == Place("openvino", "GPU.0")


def test_auto_is_a_gpu_if_there_is_one(machine: Machine) -> None:
    assert find_place("auto") == CPU
    machine.openvino = ["CPU", "GPU"]
    assert find_place("auto") == Place("openvino", "GPU")


@pytest.mark.parametrize("kind", ["xpu", "npu", "mlu"])
def test_other_devices_go_to_a_paddle_that_knows_them(kind: str, machine: Machine) -> None:
    with pytest.raises(InvalidParameter, match=f"paddlepaddle that knows {kind}.*device='cpu'"):
        find_place(f"{kind}:0")
    machine.plugins = [kind]
    assert find_place(f"{kind}:3") == Place("paddle", f"{kind}:3")


@pytest.mark.parametrize(("device", "words"), [("gpu", "onnxruntime-gpu"), ("gpu:3", "onnxruntime-gpu")])
def test_a_device_that_is_not_there_names_the_package(device: str, words: str, machine: Machine) -> None:
    machine.cuda = 1
    if device == "gpu":
        machine.cuda = 0
    with pytest.raises(InvalidParameter, match=rf"device='{device}'.*{words}.*device='auto'"):
        find_place(device)


def test_several_devices_are_refused(machine: Machine) -> None:
    with pytest.raises(InvalidParameter, match="one device"):
        find_place("gpu:0,1")


@pytest.fixture
def entry(tmp_path: Path, spec: ModelSpec) -> Path:
    (tmp_path / "1").mkdir()
    (tmp_path / "config.pbtxt").touch()
    (tmp_path / "1" / "model.json").write_text(spec.to_json())
    (tmp_path / "1" / "core.onnx").touch()
    return tmp_path


def test_an_onnx_core_runs_on_every_engine_that_reads_onnx(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    monkeypatch.setattr(
        "maskserve_local.sources.load_engine", lambda core, directory, **how: loaded.append((core.engine, how))
    )
    open_source(entry, Place("openvino", "GPU.0")).load(2)
    open_source(entry).load(2, 3)
    assert loaded == [
        ("openvino", {"threads": 2, "streams": 1, "device": "GPU.0"}),
        ("onnxruntime", {"threads": 2, "streams": 3, "device": "cpu"}),
    ]


@pytest.mark.parametrize(("precision", "engine"), [("fp32", "onnxruntime"), ("bf16", "openvino")])
def test_another_engine_runs_the_core_where_its_own_is_not_installed(
    precision: str, engine: str, entry: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = replace(spec, core=replace(spec.core, engine="openvino", precision=precision))
    (entry / "1" / "model.json").write_text(there.to_json())
    assert open_source(entry).spec.core.engine == "openvino"
    monkeypatch.setattr("maskserve_local.sources.find_spec", lambda module: None if module == "openvino" else object())
    assert open_source(entry).spec.core.engine == engine  # bf16 is nothing that the other one has: its error says so


def test_a_paddle_device_needs_a_paddle_core(entry: Path) -> None:
    with pytest.raises(InvalidParameter, match="npu:0 needs paddle: convert it with --engine paddle"):
        open_source(entry, Place("paddle", "npu:0"))


CORE = CoreSpec("onnxruntime", "core.onnx", ("image",), ("a",), (3, 8, 8))


@pytest.mark.parametrize("loads", [True, False])
def test_onnx_runtime_never_falls_back_to_the_cpu(loads: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    asked: list[Any] = []

    class Session:
        def __init__(self, model: str, options: Any, providers: list[Any]) -> None:
            asked.extend(providers)

        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider", "CPUExecutionProvider"] if loads else ["CPUExecutionProvider"]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    if loads:
        load_engine(CORE, tmp_path, threads=1, device="cuda:1")
    else:
        with pytest.raises(InvalidParameter, match="ONNX Runtime cannot use cuda:1"):
            load_engine(CORE, tmp_path, threads=1, device="cuda:1")
    assert asked[0] == ("CUDAExecutionProvider", {"device_id": "1", "use_tf32": "0"})


def test_openvino_compiles_for_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino")
    compiled: list[Any] = []

    class Core:
        def read_model(self, source: Path) -> Any:
            return SimpleNamespace(reshape=lambda shapes: None)

        def compile_model(self, model: Any, device: str, settings: dict[str, Any]) -> Any:
            compiled.append((device, sorted(settings)))
            return SimpleNamespace(create_infer_request=lambda: None)

    monkeypatch.setattr(openvino, "Core", Core)
    monkeypatch.setenv("MASKSERVE_COMPILED_CACHE", "")
    for device in ("GPU.1", "cpu"):
        load_engine(replace(CORE, engine="openvino"), tmp_path, threads=1, device=device)
    assert compiled == [
        ("GPU.1", ["INFERENCE_PRECISION_HINT", "PERFORMANCE_HINT"]),
        ("CPU", ["ENABLE_CPU_PINNING", "INFERENCE_NUM_THREADS", "INFERENCE_PRECISION_HINT", "PERFORMANCE_HINT"]),
    ]
