"""Pipelines without an address whose model runs in this process: what is opened, and why it cannot be."""

import pytest

from maskserve import create_pipeline
from maskserve.errors import InvalidParameter, ServerUnavailable


def test_a_file_with_the_names_of_the_classes_goes_along_with_a_folder(opened, folder, tmp_path):
    create_pipeline(folder, labels_file=tmp_path / "labels.txt")
    assert opened == [(str(folder), str(tmp_path / "labels.txt"))]


@pytest.mark.parametrize("arguments", [{"url": "grpc://box:1"}, {"pipeline": "tiny"}])
def test_names_for_what_is_converted_already_are_refused(opened, folder, arguments):
    with pytest.raises(InvalidParameter, match="convert it again, with `maskserve convert --labels FILE`"):
        create_pipeline(**{"pipeline": folder, "labels_file": "labels.txt", **arguments})
    assert opened == []


@pytest.mark.parametrize("file", ["", ["person"], 0, True])
def test_names_that_are_in_no_file_are_refused(opened, folder, file):
    with pytest.raises(InvalidParameter, match=r"labels_file=.* is not the path of a file"):
        create_pipeline(folder, labels_file=file)


def test_why_it_cannot_run_here_tells_of_no_server_that_was_not_asked(opened, usual):
    with pytest.raises(ServerUnavailable, match=r"^it cannot run in this process: the core is damaged"):
        create_pipeline("broken", server=False)


def test_a_model_is_loaded_into_this_process(opened, folder, grey):
    with create_pipeline(folder, timeout=7) as pipeline:
        assert pipeline.model == "tiny"
        assert len(list(pipeline.predict(grey()))) == 1
    create_pipeline("tiny", device="cpu")
    create_pipeline("instance_segmentation")
    assert opened == [(str(folder), None, 7), ("tiny", "cpu", 60), ("Mask-RT-DETR-S", None, 60)]


def test_a_converted_model_is_opened_by_its_path(opened, usual, tmp_path):
    usual.answers = True
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "config.pbtxt").touch()
    create_pipeline(tmp_path / "people")
    create_pipeline(tmp_path / "people.maskserve")
    create_pipeline(config={"Pipeline": {"model": str(tmp_path / "people.maskserve")}})
    bundle = str(tmp_path / "people.maskserve")
    assert [model for model, _, _ in opened] == [str(tmp_path / "people"), bundle, bundle]


def test_why_a_model_cannot_run_in_this_process(opened):
    with pytest.raises(ServerUnavailable, match=r"it cannot run in this process: the core is damaged.*url="):
        create_pipeline("broken")
