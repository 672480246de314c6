"""Pipeline files, and command lines that were written for paddlex."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from maskserve.paddlex.config import Settings, read_settings
from maskserve_tools.cli import main
from tests.conftest import ROOT


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nobody is there to answer."""
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    return monkeypatch


def test_a_file_of_each_generation_reads_back(tmp_path: Path) -> None:
    written = {"SOLOv2": "SOLOv2", "instance_segmentation": "Mask-RT-DETR-S"}
    for name, model in written.items():
        assert main(["pipeline-config", name, "--save_path", str(tmp_path)]) == 0
        assert read_settings(tmp_path / f"{name}.yaml") == Settings(model, batch_size=1)
        path = tmp_path / f"later-{name}.yml"
        command = ["pipeline-config", name, "--generation", "3.x", "--save_path", str(path), "--url", "http://b"]
        assert main(command) == 0
        assert read_settings(path) == Settings(model, url="http://b:8000", threshold=0.5, batch_size=1)


@pytest.mark.parametrize("generation", ["3.0b2", "3.x"])
def test_the_comments_are_settings_that_work(generation: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    main(["pipeline-config", "SOLOv2", "--generation", generation, "--save_path", str(path)])
    path.write_text(path.read_text().replace("# url", "url").replace("# device", "device"))
    settings = read_settings(path)
    assert (settings.url, settings.device) == ("grpc://localhost:8001", "cpu")


@pytest.mark.parametrize(
    "command",
    [
        ["--get_pipeline_config", "instance_segmentation"],
        ["--get_pipeline_config=instance_segmentation"],
        ["--save_path", ".", "--get_pipeline_config", "instance_segmentation"],
        ["--save_path", "instance_segmentation.yaml", "--get_pipeline_config", "instance_segmentation"],
    ],
)
def test_as_paddlex_is_asked_for_one(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(command) == 0
    assert capsys.readouterr().out == "The pipeline config has been saved to: instance_segmentation.yaml\n"
    assert read_settings(tmp_path / "instance_segmentation.yaml").model == "Mask-RT-DETR-S"


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("Yes\n", 0), ("n\n", 1), ("\n", 1)])
def test_a_file_that_is_there_is_asked_about(
    answer: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("mine")
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert main(["pipeline-config", "SOLOv2", "--save_path", str(path)]) == status
    assert (path.read_text() == "mine") == bool(status)
    assert "already exists. Overwrite it? (y/N)" in capsys.readouterr().err


def test_nobody_to_ask(tmp_path: Path, answers: object, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("mine")
    assert main(["pipeline-config", "SOLOv2", "--save_path", str(path)]) == 1
    assert f"{path} exists and nobody answers: give --overwrite" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert main(["pipeline-config", "SOLOv2", "--save_path", str(path), "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["OCR"], "there is no pipeline 'OCR'"),
        (["SOLOv2", "--url", "nowhere"], "'nowhere' is not the URL"),
        (["SOLOv2", "--save_path", "/dev/null/x"], "cannot be written"),
    ],
)
def test_what_makes_no_sense(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pipeline-config", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("maskserve: ")
    assert words in error


def test_no_arguments_is_a_question_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "predict" in capsys.readouterr().err


def test_serving_is_two_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--serve", "--pipeline", "instance_segmentation"]) == 1
    assert "maskserve gateway" in capsys.readouterr().err


def test_options_in_any_order_are_a_prediction(capsys: pytest.CaptureFixture[str]) -> None:
    image = str(ROOT / "demo" / "photos" / "camera.jpg")
    command = ["--device", "tpu", "--use_hpip", "--input", image, "--pipeline", "SOLOv2"]
    assert main(command) == 1
    assert "device='tpu' is no device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["--pipeline", "SOLOv2"], "required: --input"),
        (["--input", "x.jpg"], "required: --pipeline"),
        (["--pipeline", "SOLOv2", "--input", "x.jpg", "--bogus"], "unrecognized arguments: --bogus"),
        (["--bogus"], "required: COMMAND"),
    ],
)
def test_command_lines_without_sense(command: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(command)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err
