"""Every damage of a repository is found, and named; a whole one has none."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from maskserve import contract
from maskserve.errors import ToolError
from maskserve_tools.doctor import configurations, files, labels, passes
from maskserve_tools.doctor.examination import examine_repository, read_or_say
from maskserve_tools.doctor.finding import Level
from maskserve_tools.doctor.read_entries import read_entries
from tests.tools.doctor.conftest import Clinic, levels, only


@pytest.mark.parametrize("layout", ["ensemble", "single"])
def test_a_repository_as_convert_writes_it_is_well(clinic: Clinic, layout: str) -> None:
    clinic.convert("other", layout=layout)
    section = examine_repository(read_entries(clinic.path))
    assert levels(list(section.findings)) == {Level.OK}
    assert [finding.what for finding in section.findings][1:] == ["other names 1 class", "seg names 1 class"]


def test_no_repository_cannot_be_looked_at(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="no model repository"):
        read_entries(tmp_path / "nothing")
    repository, section = read_or_say(tmp_path / "nothing")
    assert repository is None
    assert levels(list(section.findings)) == {Level.UNKNOWN}


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("config.pbtxt", "backend: 3", "config.pbtxt is broken"),
        ("config.pbtxt", None, "has no config.pbtxt"),
        ("provenance.json", "{", "provenance.json cannot be read"),
        ("provenance.json", "[]", "not a JSON object"),
        ("1/model.json", "{}", "model.json is damaged"),
        ("1/model.json", json.dumps({"contract": 7}), "contract version 7"),
    ],
)
def test_a_broken_entry_is_named_and_hides_no_other(clinic: Clinic, file: str, content: str | None, words: str) -> None:
    path = clinic.path / "seg.core" / file
    path.unlink() if content is None else path.write_text(content)
    read = read_entries(clinic.path)
    assert [entry.name for entry in read.entries] == ["seg", "seg.postprocess", "seg.preprocess"]
    broken = only(list(read.findings))
    assert broken.level is Level.PROBLEM
    assert words in broken.what and "seg.core" in broken.what


def test_hidden_folders_and_files_are_no_entries(clinic: Clinic) -> None:
    (clinic.path / ".staging").mkdir()
    (clinic.path / "README.md").write_text("models")
    assert len(clinic.read()) == 4


def test_a_missing_step_is_found(clinic: Clinic) -> None:
    assert configurations.check_steps(clinic.read()) == []
    shutil.rmtree(clinic.path / "seg.core")
    assert "seg calls seg.core" in only(configurations.check_steps(clinic.read())).what


def test_steps_without_their_model_are_found(clinic: Clinic) -> None:
    shutil.rmtree(clinic.path / "seg")
    assert "seg.core, seg.postprocess, seg.preprocess: steps of seg, which is not there" in only(
        configurations.check_steps(clinic.read())
    ).what  # fmt: skip


def test_entries_of_two_conversions_are_found(clinic: Clinic) -> None:
    assert configurations.check_conversions(clinic.read()) == []
    clinic.record("seg.preprocess", family="solov2")
    assert "seg and seg.preprocess are not of one conversion" in only(
        configurations.check_conversions(clinic.read())
    ).what  # fmt: skip


@pytest.mark.parametrize("moves", [1, 2, 3, 5, 6, 7])  # of 8; after 4 nothing is left in the repository
def test_a_conversion_that_was_killed_between_two_moves_is_found(clinic: Clinic, moves: int) -> None:
    child = os.fork()
    if child == 0:
        left, rename = [None] * moves, Path.rename

        def killed(path: Path, target: Path) -> Path:
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left.pop()
            return rename(path, target)

        Path.rename = killed  # type: ignore[assignment, method-assign]
        clinic.convert(labels=("car",))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    problems = {finding.what for finding in configurations.check_steps(clinic.read())}
    assert problems and all("which is not there" in what for what in problems)


def test_an_entry_of_another_name_is_found(clinic: Clinic) -> None:
    assert configurations.check_names(clinic.read()) == []
    (clinic.path / "seg.core").rename(clinic.path / "renamed")
    assert "seg.core" in only(configurations.check_names(clinic.read())).what


def test_foreign_entries_are_named_and_not_judged(clinic: Clinic) -> None:
    assert configurations.check_foreign(clinic.read()) == []
    foreign = clinic.path / "resnet"
    (foreign / "1").mkdir(parents=True)
    (foreign / "config.pbtxt").write_text('name: "resnet"\nbackend: "pytorch"\n')
    finding = only(configurations.check_foreign(clinic.read()))
    assert finding.level is Level.OK and "resnet" in finding.what
    assert files.check_files(clinic.read()) == []


def test_another_contract_is_found(clinic: Clinic) -> None:
    assert configurations.check_contract(clinic.read()) == []

    def older(config: Any) -> None:
        config.parameters[contract.PARAMETER_CONTRACT].string_value = "0"

    clinic.configure("seg", older)
    assert "seg speaks version 0" in only(configurations.check_contract(clinic.read())).what


def test_the_passes_of_a_core_are_told(clinic: Clinic) -> None:
    assert passes.show_passes(clinic.read()) == []  # an earlier converter recorded none
    record = [
        {"name": "hoist_pointwise", "found": 0, "reasons": ["nothing to find: the core has no RoiAlign"]},
        {"name": "boxes_from_masks", "found": 5, "reasons": []},
        {"name": "transpose_as_nchw", "found": 0, "reasons": ["Relu reads it, too (2 places)"]},
    ]
    clinic.record("seg.core", passes=record)
    finding = only(passes.show_passes(clinic.read()))
    assert finding.level is Level.OK
    assert finding.what == (
        "seg.core: made faster by boxes_from_masks (5 places); transpose_as_nchw: Relu reads it, too (2 places)"
    )
    clinic.record("seg.core", passes=record[:1])
    assert only(passes.show_passes(clinic.read())).what == "seg.core: no pass made it faster"


@pytest.mark.parametrize("damage", ["text", {}, [1, {"name": "x"}, {"name": "x", "found": "1", "reasons": []}]])
def test_a_record_of_passes_that_is_none_is_left_out(clinic: Clinic, damage: Any) -> None:
    clinic.record("seg.core", passes=damage)
    assert passes.show_passes(clinic.read()) == []


def test_another_converter_is_found(clinic: Clinic) -> None:
    entries = clinic.read()
    assert configurations.check_converter(entries, lambda package: "0.1.0") == []
    assert configurations.check_converter(entries, lambda package: None) == []  # run from a checkout
    finding = only(configurations.check_converter(entries, lambda package: "0.2.0"))
    assert finding.level is Level.WARNING
    assert "seg.core was converted by maskserve 0.1.0" in finding.what and "0.2.0" in finding.why


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_missing_warm_up_is_found(clinic: Clinic, backend: str) -> None:
    assert configurations.check_warm_up(clinic.read()) == []  # the python backend needs none
    clinic.to_backend("seg.core", backend)
    finding = only(configurations.check_warm_up(clinic.read()))
    assert finding.level is Level.WARNING and backend in finding.what
    clinic.configure("seg.core", lambda config: config.model_warmup.add(name="one"))
    assert configurations.check_warm_up(clinic.read()) == []


def test_a_lost_version_folder_is_found(clinic: Clinic) -> None:
    assert files.check_versions(clinic.read()) == []
    shutil.rmtree(clinic.path / "seg" / "1")
    assert "seg has no version folder" in only(files.check_versions(clinic.read())).what


@pytest.mark.parametrize(
    ("damage", "file"),
    [("remove", "seg.core/1/core.onnx"), ("empty", "seg.core/1/core.onnx"), ("remove", "seg.preprocess/1/model.py")],
)
def test_a_lost_file_is_found(clinic: Clinic, damage: str, file: str) -> None:
    assert files.check_files(clinic.read()) == []
    path = clinic.path / file
    path.unlink() if damage == "remove" else path.write_bytes(b"")
    assert str(path) in only(files.check_files(clinic.read())).what


def test_a_lost_core_of_a_container_is_found(clinic: Clinic) -> None:
    clinic.to_backend("seg.core", "onnxruntime")
    assert files.check_files(clinic.read()) == []
    (clinic.path / "seg.core" / "1" / "model.onnx").unlink()
    assert "model.onnx is missing" in only(files.check_files(clinic.read())).what


def test_an_exchanged_core_is_found_where_its_digest_is_recorded(clinic: Clinic) -> None:
    core = clinic.path / "seg.core" / "1" / "core.onnx"
    assert files.check_digests(clinic.read()) == []
    clinic.record("seg.core", core={"sha256": {"core.onnx": hashlib.sha256(core.read_bytes()).hexdigest()}})
    assert files.check_digests(clinic.read()) == []
    core.write_bytes(b"another")
    assert "is not the file that was converted" in only(files.check_digests(clinic.read())).what


@pytest.mark.parametrize(
    ("names", "level", "words"),
    [
        ((), Level.PROBLEM, "empty list"),
        (("person", "car", "person"), Level.WARNING, "same name: person"),
        (("person", "", "car", " "), Level.WARNING, "classes 1, 3"),
    ],
)
def test_labels_that_name_nothing_are_found(clinic: Clinic, names: tuple[str, ...], level: Level, words: str) -> None:
    clinic.convert(labels=names)
    finding = only(labels.check_labels(clinic.read()))
    assert finding.level is level
    assert words in finding.what


@pytest.mark.parametrize("text", [None, "person, car", '{"0": "person"}'])
def test_labels_that_cannot_be_read_are_found(clinic: Clinic, text: str | None) -> None:
    def change(config: Any) -> None:
        if text is None:
            del config.parameters[contract.PARAMETER_LABELS]
        else:
            config.parameters[contract.PARAMETER_LABELS].string_value = text

    clinic.configure("seg", change)
    assert only(labels.check_labels(clinic.read())).level is Level.PROBLEM


def test_a_label_file_that_does_not_fit_is_found(clinic: Clinic) -> None:
    path = clinic.path / "seg" / "labels.txt"
    path.write_text("person\ncar\n")
    assert "not equally many" in only(labels.check_labels(clinic.read())).what
    path.unlink()
    finding = only(labels.check_labels(clinic.read()))
    assert finding.level is Level.PROBLEM and "labels.txt is missing" in finding.what


@pytest.mark.parametrize(
    ("classes", "level", "words"),
    [
        (1, Level.WARNING, "2 labels, but its network has 1 class"),
        (3, Level.WARNING, "2 labels, but its network has 3 classes"),
        (2, Level.OK, "names 2 classes"),
        (None, Level.OK, "names 2 classes"),
    ],
)
def test_labels_are_held_against_the_networks_classes(
    clinic: Clinic, classes: int | None, level: Level, words: str
) -> None:
    clinic.convert(labels=("a", "b"), classes=classes)
    finding = only(labels.check_labels(clinic.read()))
    assert finding.level is level and words in finding.what
    assert level is Level.OK or "--labels FILE" in finding.fix


def test_a_paddle_model_is_no_repository(demo_model: Path) -> None:
    from maskserve_tools.embedded.served_entries import read_repository

    for read in (read_entries, read_repository):
        with pytest.raises(ToolError, match=r"is a Paddle model, not a model repository: convert it with `maskserve"):
            read(demo_model)


@pytest.mark.parametrize(
    ("entry", "backend", "key", "fix"),
    [
        ("seg.core", "onnxruntime", "threads", "intra_op_thread_count"),
        ("seg.core", "onnxruntime", "intra_op_thread_cnt", "intra_op_thread_count"),
        ("seg.core", "openvino", "threads", "INFERENCE_NUM_THREADS"),
        ("seg.core", "openvino", "NUM_STREAM", "NUM_STREAMS"),
        ("seg.core", "openvino", "intra_op_thread_count", "INFERENCE_NUM_THREADS"),
        ("seg.core", "", "intra_op_thread_count", "write threads"),
        ("seg.core", "", "instances", "take it out"),
        ("seg.postprocess", "", "threads", "take it out"),
        ("seg.preprocess", "", "threads", "take it out"),
        ("seg", "", "threads", "take it out"),  # an ensemble
    ],
)
def test_a_parameter_that_is_ignored_is_found(clinic: Clinic, entry: str, backend: str, key: str, fix: str) -> None:
    if backend:
        clinic.to_backend(entry, backend)
    assert configurations.check_parameters(clinic.read()) == []

    def change(config: Any) -> None:
        config.parameters[key].string_value = "2"

    clinic.configure(entry, change)
    finding = only(configurations.check_parameters(clinic.read()))
    assert finding.level is Level.WARNING
    assert entry in finding.what and key in finding.what and fix in finding.fix


@pytest.mark.parametrize("layout", ["ensemble", "single"])
def test_parameters_that_mean_something(clinic: Clinic, layout: str) -> None:
    clinic.convert("seg", layout=layout)
    core, first = ("seg.core", "seg.preprocess") if layout == "ensemble" else ("seg", "seg")
    for entry, key in ((core, "threads"), (first, "instances")):

        def change(config: Any, key: str = key) -> None:
            config.parameters[key].string_value = "2"

        clinic.configure(entry, change)
    assert configurations.check_parameters(clinic.read()) == []
