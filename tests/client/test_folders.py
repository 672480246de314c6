"""Which folder a path leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskserve.errors import InvalidParameter
from maskserve.paddlex.config import read_settings
from maskserve.paddlex.model_files import ModelFiles, archive_stem, as_name, find_model, name_of, wrong_name

PADDLEX = ("inference.yml", "inference.json", "inference.pdiparams")
PADDLEDETECTION = ("infer_cfg.yml", "model.pdmodel", "model.pdiparams")


def model(folder, names=PADDLEX):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("names", [PADDLEX, PADDLEDETECTION, ("infer_cfg.yml", "model.json", "model.pdiparams")])
def test_a_folder_with_a_model_is_itself(tmp_path, names):
    folder = model(tmp_path / "m", names)
    assert find_model(folder) == folder
    assert ModelFiles.of(folder).complete
    assert {path.name for path in (ModelFiles.of(folder).settings, ModelFiles.of(folder).program) if path} < set(names)


@pytest.mark.parametrize("inside", ["inference", "best_model/inference", "a/b/c", "model_infer"])
def test_the_only_model_below_a_folder_is_taken(tmp_path, inside):
    assert (
        find_model(model(tmp_path / "out" / inside).parents[len(Path(inside).parts) - 1]) == tmp_path / "out" / inside
    )


@pytest.mark.parametrize("top", ["", "run1"])
def test_of_a_trainings_output_the_best_model_is_taken(tmp_path, top):
    out = tmp_path / "out" / top
    best = model(out / "best_model" / "inference")
    for epoch in ("1", "10", "last"):
        model(out / epoch / "inference")
    assert find_model(tmp_path / "out") == best


@pytest.mark.parametrize("places", [("a", "b"), ("best_model/inference", "inference"), ("1/inference", "2/inference")])
def test_several_models_are_named(tmp_path, places):
    for place in places:
        model(tmp_path / "out" / place)
    with pytest.raises(InvalidParameter, match=f"holds 2 models: {places[0]}, {places[1]}; give the folder of one"):
        find_model(tmp_path / "out")


def test_a_whole_model_comes_before_half_of_one(tmp_path):
    model(tmp_path / "out" / "old", ("inference.yml",))
    assert find_model(tmp_path / "out") == tmp_path / "out" / "old"
    assert find_model(model(tmp_path / "out" / "new").parent) == tmp_path / "out" / "new"


def test_no_model_is_none(tmp_path):
    (tmp_path / "out" / "a").mkdir(parents=True)
    (tmp_path / "out" / "loop").symlink_to(tmp_path)
    assert find_model(tmp_path / "out") is None
    assert find_model(tmp_path / "nowhere") is None
    assert find_model(Path("n" * 5000)) is None
    assert find_model(Path("n\0")) is None
    assert read_settings("n" * 5000).folder is None
    assert read_settings("n" * 5000 + ".maskserve").model == "n" * 5000


def test_the_files_of_both_exporters_side_by_side_are_paddlexs(tmp_path):
    files = ModelFiles.of(model(tmp_path / "m", PADDLEX + PADDLEDETECTION))
    assert [path and path.name for path in (files.settings, files.program, files.weights)] == list(PADDLEX)


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ((), ["inference.yml", "inference.pdiparams", "inference.json or inference.pdmodel"]),
        (PADDLEX[:2], ["inference.pdiparams"]),
        (PADDLEDETECTION[:1], ["model.pdiparams", "model.json or model.pdmodel"]),
        (PADDLEDETECTION[1:], ["infer_cfg.yml"]),
    ],
)
def test_what_is_missing_is_named_as_its_exporter_names_it(tmp_path, names, missing):
    assert ModelFiles.of(model(tmp_path / "m", names)).missing() == missing


def test_a_model_without_a_name_is_called_as_its_folder(tmp_path):
    assert name_of(tmp_path / "solov2_r50") == "solov2_r50"
    assert name_of(tmp_path / "cars" / "best_model" / "inference") == "cars"
    assert archive_stem(Path("x/SOLOv2_infer.tar")) == "SOLOv2"
    assert name_of(tmp_path / "my model (1)") == "my-model-1"
    assert name_of(tmp_path / "行人") == "model"
    assert archive_stem(Path("my model (1).TAR.GZ")) == "my-model-1"
    assert archive_stem(Path(".tar")) == "model"


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".zip"])
def test_create_pipeline_takes_an_archive_for_a_folder(tmp_path, suffix):
    archive = tmp_path / f"cars{suffix}"
    archive.touch()
    found = read_settings(archive)
    assert (found.model, found.folder) == ("cars", str(archive))


def test_create_pipeline_takes_a_trainings_output(tmp_path):
    folder = model(tmp_path / "cars" / "best_model" / "inference", PADDLEDETECTION)
    (folder / "infer_cfg.yml").write_text("label_list: [car]")
    found = read_settings(tmp_path / "cars")
    assert (found.model, found.folder) == ("cars", str(tmp_path / "cars"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("行人", "use letters, digits"),
        ("a b", "use letters, digits"),
        ("a\n", "use letters, digits"),
        ("", "use letters, digits"),
        ("-a", "begin with a letter"),
        ("..", "begin with a letter"),
        ("x" * 201, "it has 201 letters, and 200 are the most"),
        ("cars.core", "it would be the name of a step of the model cars"),
        ("cars.v2.preprocess", "a step of the model cars.v2"),
        ("a.core.postprocess", "a step of the model a.core"),
    ],
)
def test_a_name_that_a_model_cannot_have_becomes_one_that_it_can(name: str, words: str) -> None:
    assert words in str(wrong_name(name))
    assert wrong_name(as_name(name)) is None


@pytest.mark.parametrize("name", ["Mask-RT-DETR-S", "a", "1", "a.b", "core", "a.core2", "a_core", "x" * 200, "a.-_b."])
def test_a_name_that_a_model_can_have_stays(name: str) -> None:
    assert wrong_name(name) is None
    assert as_name(name) == name


def test_a_name_of_a_step_is_spelled_otherwise() -> None:
    assert as_name("cars.core") == "cars-core"
    assert as_name("行人 v2") == "v2"
