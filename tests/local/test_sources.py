"""Opening models in the process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maskserve.errors import ToolError
from maskserve_convert.triton import entries, repository
from maskserve_convert.triton.entries import TensorType
from maskserve_local.sources import open_source
from maskserve_server.bundle import write_bundle
from maskserve_server.one_conversion import NotOfOneConversion
from maskserve_server.spec import ModelSpec
from maskserve_tools import local

CUT = {"detections": TensorType("FP32", (1, 20, 6)), "mask_logits": TensorType("FP32", (1, 20, 8, 8))}
LAYOUTS = pytest.mark.parametrize("layout", ["single", "ensemble"])


class Writer:
    """Converts a model whose labels, core and record all have a word that tells conversions apart."""

    def __init__(self, folder: Path, spec: ModelSpec) -> None:
        self.folder, self.spec = folder, spec

    def described(self, word: str) -> ModelSpec:
        return replace(self.spec, labels=(word,), classes=1)

    def write(self, word: str, layout: str = "single", where: str = "models") -> Path:
        core = self.folder / "core.onnx"
        core.write_bytes(word.encode())
        built = entries.build(self.described(word), CUT, [core], layout=layout, provenance=f'{{"word": "{word}"}}')
        repository.write(self.folder / where, self.spec.name, built)
        return self.folder / where / self.spec.name

    def bundle(self, word: str) -> Path:
        path, core = self.folder / "model.maskserve", self.folder / "core.onnx"
        core.write_bytes(word.encode())
        write_bundle(path, self.described(word), {"core.onnx": core}, "{}")
        return path


@pytest.fixture
def writer(tmp_path: Path, spec: ModelSpec) -> Writer:
    return Writer(tmp_path, spec)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """Let a core be the text of its file; what is in the list happens while one is loaded, each once."""
    meanwhile: list[Callable[[], object]] = []

    def load_engine(core: Any, directory: Path, **how: Any) -> str:
        text = (directory / core.file).read_text()
        if meanwhile:
            meanwhile.pop()()
        return text

    monkeypatch.setattr("maskserve_local.sources.load_engine", load_engine)
    monkeypatch.setattr("maskserve_server.bundle.load_engine_from_bytes", lambda core, content, **how: content.decode())
    return meanwhile


def test_an_entry_that_goes_while_it_is_opened_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(self: Path, pattern: str) -> list[Path]:
        raise FileNotFoundError(2, "No such file or directory", str(self))

    monkeypatch.setattr(Path, "glob", gone)
    with pytest.raises(ToolError, match="cannot be read, try again if it is being converted"):
        open_source(tmp_path / "model")


@LAYOUTS
def test_a_core_of_another_conversion_is_never_taken(layout: str, writer: Writer, loads: list[Any]) -> None:
    source = open_source(writer.write("old", layout))
    assert source.load(1) == "old"
    writer.write("new", layout)
    for streams in (1, 2):
        with pytest.raises(ToolError, match="written anew or removed since it was opened: open it again"):
            source.load(1, streams)


@LAYOUTS
def test_an_entry_that_is_replaced_while_its_core_is_loaded(layout: str, writer: Writer, loads: list[Any]) -> None:
    source = open_source(writer.write("old", layout))
    loads.append(lambda: writer.write("new", layout))  # a core of several files may be of both
    with pytest.raises(ToolError, match="written anew"):
        source.load(1)


def test_an_entry_that_is_replaced_while_its_description_is_read(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, read = writer.write("old"), ModelSpec.read

    def slowly(directory: Path) -> ModelSpec:
        spec = read(directory)
        writer.write("new")
        return spec

    monkeypatch.setattr(ModelSpec, "read", slowly)
    with pytest.raises(ToolError, match="written anew"):
        open_source(path)


def test_an_entry_that_is_gone_when_its_core_is_loaded(writer: Writer, loads: list[Any]) -> None:
    path = writer.write("old")
    source = open_source(path)
    shutil.rmtree(path)
    with pytest.raises(ToolError, match="written anew or removed since it was opened: open it again"):
        source.load(1)


def test_an_entry_that_goes_while_its_description_is_read(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = writer.write("old"), ModelSpec.read

    def late(directory: Path) -> ModelSpec:
        shutil.rmtree(path)
        return read(directory)

    monkeypatch.setattr(ModelSpec, "read", late)
    with pytest.raises(NotOfOneConversion, match="written anew or removed"):
        open_source(path)
    with pytest.raises(NotOfOneConversion, match="is not there, or not at the moment"):
        open_source(path)


def test_what_a_server_leaves_beside_a_core_changes_nothing(writer: Writer, loads: list[Any]) -> None:
    path = writer.write("old")
    source = open_source(path)
    (path / "1" / "__pycache__").mkdir()
    path.rename(path.with_name("aside"))
    path.with_name("aside").rename(path)
    assert source.load(1) == "old"


def test_a_core_of_another_bundle_is_never_taken(writer: Writer, loads: list[Any]) -> None:
    path = writer.bundle("old")
    source = open_source(path)
    assert source.load(1) == "old"
    writer.bundle("new")
    with pytest.raises(ToolError, match="written anew or removed since it was opened: open it again"):
        source.load(1)
    path.unlink()
    with pytest.raises(ToolError, match=r"model\.maskserve cannot be read: No such file"):
        source.load(1)


def test_entries_of_two_conversions_are_named(writer: Writer) -> None:
    path, new = writer.write("old", "ensemble"), writer.write("new", "ensemble", "others")
    core = path.with_name("fake.core")
    shutil.rmtree(core)
    shutil.copytree(new.with_name("fake.core"), core)
    with pytest.raises(ToolError, match=r"fake and fake\.core are not of one conversion: convert fake again"):
        open_source(path)


def test_an_ensemble_whose_core_is_missing_is_named(writer: Writer) -> None:
    path = writer.write("old", "ensemble")
    shutil.rmtree(path.with_name("fake.core"))
    with pytest.raises(ToolError, match=r"fake\.core, which is not there: convert fake again"):
        open_source(path)


def test_who_opens_during_a_conversion_gets_the_new_model(
    writer: Writer, loads: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = writer.write("old"), []

    class Transport:
        def __init__(self, source: Any, *, timeout: float) -> None:
            opened.append((source.spec.labels, source.load(1)))

    monkeypatch.setattr("maskserve_local.transport.InProcessTransport", Transport)
    loads.append(lambda: writer.write("new"))
    assert local.open_here(str(path))[0] == "fake"
    assert opened == [(("new",), "new")]


def test_who_opens_during_conversions_without_an_end_is_told(
    writer: Writer, loads: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = writer.write("old")
    monkeypatch.setattr("maskserve_local.transport.InProcessTransport", lambda source, timeout: source.load(1))
    loads += [lambda word=word: writer.write(word) for word in "abcdef"]
    with pytest.raises(ToolError, match="written anew"):
        local.open_here(str(path))
    assert 1 <= len(loads) <= 5
