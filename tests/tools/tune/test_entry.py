"""Entries that are read and written again for another setup are what `convert` writes for it."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from maskserve import create_pipeline
from maskserve.errors import ToolError
from maskserve_convert.triton import repository
from maskserve_server.spec import Queue
from maskserve_tools.tune import processes
from maskserve_tools.tune.entry import TunedEntry, counts_of, set_counts
from maskserve_tools.tune.setups import Setup
from maskserve_tools.tune.tuning import _outputs, write_setup
from tests.conftest import DEMO

IMAGE = Path(__file__).parents[3] / "demo" / "photos" / "astronaut.jpg"


@pytest.fixture
def copied(demo_repository: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_repository, tmp_path / "models"))


def config(entry: Path) -> ModelConfig:
    return text_format.Parse((entry / "config.pbtxt").read_text(), ModelConfig())


def rewrite(folder: Path, name: str, setup: Setup, cpus: int = 2) -> TunedEntry:
    entry = TunedEntry.read(folder, name, cpus=cpus)
    write_setup(entry, setup, _outputs(entry, IMAGE.read_bytes(), cpus), cpus=cpus)
    return TunedEntry.read(folder, name, cpus=cpus)


def test_an_entry_that_was_converted_again_meanwhile_is_not_written_over(copied: Path) -> None:
    entry = TunedEntry.read(copied, DEMO, cpus=2)
    outputs = _outputs(entry, IMAGE.read_bytes(), 2)
    again = copied / f"{DEMO}.core"
    shutil.copytree(again, copied / "new")
    again.rename(copied.parent / "old")
    (copied / "new").rename(again)
    before = again.stat().st_ino
    with pytest.raises(ToolError, match="written anew"):
        write_setup(entry, Setup("single", "openvino", "fp32", 1, 2), outputs, cpus=2)
    with pytest.raises(ToolError, match="written anew"):
        _outputs(entry, IMAGE.read_bytes(), 2)
    assert again.stat().st_ino == before


def test_what_an_entry_is_served_with(demo_repository: Path) -> None:
    found = [TunedEntry.read(demo_repository, name, cpus=4).setup for name in (DEMO, f"{DEMO}-single")]
    assert found == [Setup("ensemble", "openvino", "fp32", 1, 4), Setup("single", "openvino", "fp32", 1, 4)]


@pytest.mark.parametrize(("name", "layout"), [(DEMO, "single"), (f"{DEMO}-single", "ensemble")])
def test_another_layout_is_what_convert_writes(name: str, layout: str, copied: Path, demo_repository: Path) -> None:
    """An ensemble made of a single entry has the files and configurations of one that was converted, and back."""
    rewrite(copied, name, Setup(layout, "openvino", "fp32", 1, 2))
    other = f"{DEMO}-single" if name == DEMO else DEMO
    converted = sorted(path for path in demo_repository.iterdir() if path.name.partition(".")[0] == other)
    made = sorted(path for path in copied.iterdir() if path.name.partition(".")[0] == name)
    assert [path.name.replace(name, other) for path in made] == [path.name for path in converted]
    for mine, theirs in zip(made, converted, strict=True):
        assert str(config(mine)).replace(name, other) == str(config(theirs))
        files = [sorted(str(p.relative_to(root)) for p in root.rglob("*")) for root in (mine, theirs)]
        assert [f for f in files[0] if "__pycache__" not in f] == [f for f in files[1] if "__pycache__" not in f]
        for file in theirs.rglob("core.onnx"):
            assert (mine / file.relative_to(theirs)).read_bytes() == file.read_bytes()
        for file in theirs.rglob("model.json"):
            own, expected = (json.loads(p.read_text()) for p in (mine / file.relative_to(theirs), file))
            assert own["queue"] == json.loads((demo_repository / _core(name) / "1" / "model.json").read_text())["queue"]
            for document in (own, expected):
                del document["name"], document["queue"]
            assert own == expected
        if theirs.joinpath("provenance.json").is_file():
            assert json.loads((mine / "provenance.json").read_text())["layout"] == layout


def _core(name: str) -> str:
    return f"{name}.core" if name == DEMO else name


def test_another_engine_and_counts_are_written_and_read(copied: Path) -> None:
    before = create_pipeline(copied / f"{DEMO}-single").segment(IMAGE)
    setup = Setup("ensemble", "onnxruntime", "fp32", 2, 2)
    assert rewrite(copied, f"{DEMO}-single", setup).setup == setup
    assert config(copied / f"{DEMO}-single.core").parameters["threads"].string_value == "2"
    record = json.loads((copied / f"{DEMO}-single" / "provenance.json").read_text())
    assert record["engine"] == {"name": "onnxruntime", "precision": "fp32", "why": "chosen by `maskserve tune`"}
    after = create_pipeline(copied / f"{DEMO}-single").segment(IMAGE)
    np.testing.assert_allclose(after.instances[0].box, before.instances[0].box, atol=0.01)
    back = Setup("single", "openvino", "fp32", 1, 2)
    assert rewrite(copied, f"{DEMO}-single", back).setup == back
    assert "threads" not in config(copied / f"{DEMO}-single").parameters
    again = create_pipeline(copied / f"{DEMO}-single").segment(IMAGE)
    assert [(i.box, i.score, i.mask.to_coco()) for i in again.instances] == [
        (i.box, i.score, i.mask.to_coco()) for i in before.instances
    ]


def test_no_room_for_the_copies_is_said_of_their_place(
    demo_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the system says names the file that was to be copied, which is elsewhere."""

    def refuse(source: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))

    monkeypatch.setattr("os.link", refuse)
    monkeypatch.setattr("shutil.copyfile", refuse)
    entry = TunedEntry.read(demo_repository, DEMO, cpus=2)
    with pytest.raises(ToolError, match=r"`maskserve tune` writes temporary files below .*No space left.*TMPDIR"):
        entry.build(entry.setup, {}, tmp_path / "cores", name="tune-0", cpus=2)


def test_a_core_that_is_a_link_is_not_left_leading_nowhere(copied: Path) -> None:
    core = copied / f"{DEMO}.core" / "1" / "core.onnx"
    core.rename(copied.parent / "core.onnx")
    core.symlink_to(Path("..", "..", "..", "core.onnx"))
    entry = TunedEntry.read(copied, DEMO, cpus=2)
    made = entry.build(entry.setup, {}, copied.parent / "deep" / "down", name="tune-0", cpus=2, queue=Queue(9, 8.0))
    files = {path.name: path for each in made for path in each.files.values()}
    assert files["core.onnx"].read_bytes() == (copied.parent / "core.onnx").read_bytes()
    descriptions = [text for each in made for name, text in each.texts.items() if name.endswith("model.json")]
    assert {json.loads(text)["queue"]["size"] for text in descriptions} == {9}
    assert entry.spec.queue != Queue(9, 8.0)


def test_threads_that_share_out_the_cpus_are_not_written() -> None:
    configuration = ModelConfig()
    configuration.instance_group.add()
    set_counts(configuration, 2, 4, cpus=8)
    assert configuration.instance_group[0].count == 0  # what a server takes on this machine
    assert counts_of(configuration, 8) == (2, 4)
    set_counts(configuration, 4, 2, cpus=8)
    assert "threads" not in configuration.parameters
    assert counts_of(configuration, 8) == (4, 2)
    assert counts_of(configuration, 16) == (4, 4)  # another machine
    set_counts(configuration, 2, 8, cpus=8)
    assert configuration.parameters["threads"].string_value == "8"
    assert counts_of(configuration, 16) == (2, 8)


def test_the_engines_of_a_core(demo_repository: Path) -> None:
    entry = TunedEntry.read(demo_repository, DEMO, cpus=2)
    found = entry.engines()
    assert found[0] == ("openvino", "fp32")
    assert ("onnxruntime", "fp32") in found
    assert "paddle" not in {engine for engine, _ in found}  # which does not read ONNX


def test_what_cannot_be_tuned_is_said(copied: Path) -> None:
    with pytest.raises(ToolError, match=f"no model 'nobody'; it has {DEMO}, {DEMO}-single"):
        TunedEntry.read(copied, "nobody", cpus=2)
    configuration = config(copied / f"{DEMO}.core")
    configuration.backend = "onnxruntime"
    (copied / f"{DEMO}.core" / "config.pbtxt").write_text(text_format.MessageToString(configuration))
    with pytest.raises(ToolError, match="C\\+\\+ backends"):
        TunedEntry.read(copied, DEMO, cpus=2)
    (copied / f"{DEMO}-single" / repository.PROVENANCE).write_text("{}")
    with pytest.raises(ToolError, match="convert the model again"):
        TunedEntry.read(copied, f"{DEMO}-single", cpus=2)


def test_processes_of_a_model(tmp_path: Path) -> None:
    def process(pid: int, parent: int, command: str, pss: int, ticks: int) -> None:
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "stat").write_text(f"{pid} (a) b) S {parent} " + "0 " * 9 + f"{ticks} {ticks} 0 0\n")
        (folder / "cmdline").write_text(command)
        (folder / "smaps_rollup").write_text(f"Rss: 999 kB\nPss: {pss} kB\n")

    process(1, 0, "init", 1, 100)
    process(10, 1, "tritonserver", 50, 100)
    process(11, 10, "stub\0/tmp/models/tune-1/1/model.py", 200, 100)
    process(12, 10, "stub\0/tmp/models/tune-11/1/model.py", 300, 100)
    process(13, 11, "decoder", 7, 100)
    assert processes.tree(10, tmp_path) == [10, 11, 12, 13]
    assert processes.memory_of(10, ["tune-1", "tune-1.core"], tmp_path) == 207 * 1024
    assert processes.processor_seconds([11, 13, 99], tmp_path) == pytest.approx(4.0)


def test_int8_is_in_the_core_and_no_setting_of_it(copied: Path) -> None:
    """A core in float cannot be run in int8, and one in int8 in nothing else: only the engine may change."""
    name = f"{DEMO}-single"
    assert "int8" not in {precision for _, precision in TunedEntry.read(copied, name, cpus=2).engines()}
    for file in copied.glob(f"{name}*/1/model.json"):
        file.write_text(file.read_text().replace('"precision": "fp32"', '"precision": "int8"'))
    found = TunedEntry.read(copied, name, cpus=2).engines()
    assert found == [("openvino", "int8"), ("onnxruntime", "int8")]
