"""A model as one file: what was written is what is opened, and whatever else is said to be none."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from maskserve import create_pipeline
from maskserve.errors import ToolError
from maskserve_local.sources import open_source
from maskserve_server.bundle import DIGESTS, Bundle, write_bundle
from maskserve_server.spec import ModelSpec
from maskserve_tools.cli import main
from tests.conftest import DEMO


@pytest.fixture
def core(tmp_path: Path) -> Path:
    path = tmp_path / "core.onnx"
    path.write_bytes(bytes(range(256)) * 5000)
    return path


@pytest.fixture
def bundle(tmp_path: Path, spec: ModelSpec, core: Path) -> Path:
    path = tmp_path / "there" / "people.maskserve"
    size = write_bundle(path, spec, {"core.onnx": core}, '{"family": "mask_rt_detr"}')
    assert size == path.stat().st_size > core.stat().st_size
    return path


def test_what_was_written_is_opened(bundle: Path, spec: ModelSpec, core: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Bundle.open(bundle)
    assert opened.spec == spec
    assert opened.provenance == {"family": "mask_rt_detr"}
    given = []
    monkeypatch.setattr("maskserve_server.bundle.load_engine_from_bytes", lambda *a, **k: given.append((a, k)))
    open_source(bundle).load(3)
    assert given == [((spec.core, core.read_bytes()), {"threads": 3, "streams": 1, "device": "cpu"})]


def test_the_same_model_makes_the_same_bytes(bundle: Path, tmp_path: Path, spec: ModelSpec, core: Path) -> None:
    again = tmp_path / "again.maskserve"
    write_bundle(again, spec, {"core.onnx": core}, '{"family": "mask_rt_detr"}')
    assert again.read_bytes() == bundle.read_bytes()


def test_nothing_is_left_of_a_failure(tmp_path: Path, spec: ModelSpec) -> None:
    (tmp_path / "old.maskserve").write_text("old")
    with pytest.raises(ToolError, match=r"old\.maskserve cannot be written"):
        write_bundle(tmp_path / "old.maskserve", spec, {"core.onnx": tmp_path / "nowhere"}, "{}")
    with pytest.raises(ToolError, match=r"must end with \.maskserve"):
        write_bundle(tmp_path / "model.zip", spec, {}, "{}")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"old.maskserve": "old"}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"nowhere\.maskserve cannot be read: No such file"):
        Bundle.open(tmp_path / "nowhere.maskserve")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04" + bytes(100)])
def test_another_file_is_no_bundle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.maskserve").write_bytes(content)
    with pytest.raises(ToolError, match="no bundle of maskserve, or a damaged one"):
        Bundle.open(tmp_path / "a.maskserve")


def test_a_bundle_that_lost_its_end_or_a_bit(bundle: Path, core: Path) -> None:
    content = bundle.read_bytes()
    bundle.write_bytes(content[:-1000])
    with pytest.raises(ToolError, match="damaged"):
        Bundle.open(bundle)
    at = content.index(core.read_bytes()[:512]) + 600
    bundle.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with pytest.raises(ToolError, match="damaged"):
        Bundle.open(bundle).load(threads=1)


def test_a_member_that_was_exchanged(bundle: Path, spec: ModelSpec) -> None:
    with zipfile.ZipFile(bundle) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["core.onnx"] = b"another core"
    with zipfile.ZipFile(bundle, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ToolError, match=r"core\.onnx is not what was written"):
        Bundle.open(bundle).load(threads=1)
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr(DIGESTS, "[1]")
    with pytest.raises(ToolError, match="no bundle"):
        Bundle.open(bundle)


def test_a_bundle_of_another_contract(tmp_path: Path, spec: ModelSpec, core: Path) -> None:
    class Later(ModelSpec):
        def to_json(self) -> str:
            return super().to_json().replace('"contract": 1', '"contract": 99')

    later = Later(**{name: getattr(spec, name) for name in ModelSpec.__slots__})
    write_bundle(tmp_path / "later.maskserve", later, {"core.onnx": core}, "{}")
    with pytest.raises(ToolError, match=r"later\.maskserve: .*contract version 99.*update this one"):
        Bundle.open(tmp_path / "later.maskserve")


@pytest.fixture(scope="module")
def people(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for module in ("paddle2onnx", "openvino"):
        pytest.importorskip(module, reason=f"converting needs {module}", exc_type=ImportError)
    path = tmp_path_factory.mktemp("bundle") / "people.maskserve"
    assert main(["convert", str(demo_model), "--bundle", str(path)]) == 0
    return path


def test_a_converted_bundle_answers_like_an_entry(people: Path, demo_repository: Path, two_people: Path) -> None:
    with create_pipeline(people) as bundle, create_pipeline(demo_repository / DEMO) as entry:
        (one,), (other,) = bundle.predict(two_people), entry.predict(two_people)
        assert bundle.labels == ("person",)
    assert len(one["boxes"]) == 2
    assert one["boxes"] == other["boxes"]
    assert one.instances.masks == other.instances.masks
    assert Bundle.open(people).provenance["family"] == "mask_rt_detr"


def test_the_command_says_the_size_and_how_to_use_it(
    demo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("paddle2onnx", "openvino"):
        pytest.importorskip(module, reason=f"converting needs {module}", exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    assert main(["convert", str(demo_model), "--bundle", "a folder/p.maskserve", "--engine", "onnxruntime"]) == 0
    assert "MB; use it with: maskserve predict --pipeline 'a folder/p.maskserve' --input" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["a folder"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--bundle", "people.zip"], "must end with .maskserve"),
        (["--bundle", "p.maskserve", "--target", "container-cpu"], "leave out --target"),
        (["--bundle", "p.maskserve", "--reload", "http://localhost:1"], "leave out --bundle or --reload"),
    ],
)
def test_what_cannot_be_a_bundle(
    more: list[str], words: str, demo_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(demo_model), *more]) == 1
    assert words in capsys.readouterr().err


def _rewritten(path: Path, change: Callable[[bytes], bytes], member: str = "model.json") -> None:
    """Edit a member and the digests, so that the bundle is whole but says something else."""
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist() if name != DIGESTS}
    held[member] = change(held[member])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in held.items():
            archive.writestr(name, content)
        archive.writestr(DIGESTS, json.dumps({name: hashlib.sha256(each).hexdigest() for name, each in held.items()}))


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a/b", "people.core", ".hidden", "x" * 300, "行人"])
def test_a_bundle_whose_model_has_a_name_that_leads_elsewhere(name: str, bundle: Path) -> None:
    def rename(text: bytes) -> bytes:
        return json.dumps({**json.loads(text), "name": name}).encode()

    _rewritten(bundle, rename)
    with pytest.raises(ToolError, match=r"cannot be a model's name|name is "):
        Bundle.open(bundle)


@pytest.mark.parametrize("text", [b"[]", b'""', b"5", b"[" * 100_000])
def test_a_bundle_whose_provenance_is_none(text: bytes, bundle: Path) -> None:
    _rewritten(bundle, lambda _: text, "provenance.json")
    with pytest.raises(ToolError, match="is no bundle of maskserve, or a damaged one"):
        Bundle.open(bundle)


def test_any_flipped_bit_is_a_sentence_or_does_not_matter(tmp_path: Path, spec: ModelSpec) -> None:
    (tmp_path / "core.onnx").write_bytes(b"network")
    path = tmp_path / "small.maskserve"
    write_bundle(path, spec, {"core.onnx": tmp_path / "core.onnx"}, "{}")
    whole, refused = path.read_bytes(), 0
    content = Bundle.open(path)._member("core.onnx")
    for place in range(len(whole)):
        for bit in (0, 3):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                opened = Bundle.open(path)
                assert opened.spec == spec
                assert opened._member("core.onnx") == content
            except ToolError:
                refused += 1
    assert refused > len(whole)
