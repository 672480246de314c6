"""`maskserve tune` with a real server, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from maskserve import create_pipeline
from maskserve_tools.cli import main
from maskserve_tools.tune.entry import TunedEntry
from maskserve_tools.tune.setups import Setup
from tests.conftest import DEMO

PHOTOS = Path(__file__).parents[3] / "demo" / "photos"


def test_a_model_is_measured_and_written(
    demo_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pytriton", reason="the embedded server needs nvidia-pytriton", exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("maskserve_tools.tune.tuning.usable_cpus", lambda: 1)  # the fewest setups
    models, name = Path(shutil.copytree(demo_repository, tmp_path / "models")), f"{DEMO}-single"
    for file in models.glob("*/1/model.json"):
        description = json.loads(file.read_text())
        file.write_text(json.dumps({**description, "queue": {**description["queue"], "size": 1}}))
    before = create_pipeline(models / name).segment(PHOTOS / "astronaut.jpg")
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(PHOTOS / "astronaut.jpg", photos)
    (photos / "broken.jpg").write_bytes(b"no image")
    words = ["tune", name, "--photos", str(photos), "--repository", str(models), "--seconds", "0.2", "--turns", "1"]
    status = main(words)
    output, steps = capsys.readouterr()
    assert status == 0, steps
    assert "broken.jpg is left out" in steps
    assert "turn 1 of 1, ensemble" in steps
    assert f"{name} refuses more than 1 requests at once (convert --queue), in the tests none" in steps
    verdict = next(line for line in output.splitlines() if line.startswith(("The best is", "There is nothing to win")))
    assert verdict in (tmp_path / f"tune-{name}" / "report.md").read_text()
    setup = TunedEntry.read(models, name, cpus=1).setup
    assert str(setup) in verdict
    assert ("the entry has it" in output) == (setup != Setup("single", "openvino", "fp32", 1, 1))
    after = create_pipeline(models / name).segment(PHOTOS / "astronaut.jpg")
    assert [i.label for i in after.instances] == [i.label for i in before.instances]
    assert after.instances[0].score == pytest.approx(before.instances[0].score, abs=1e-4)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["nobody"], "has no model 'nobody'"),
        ([DEMO, "--photos", "nowhere"], "there are no images at nowhere"),
        ([DEMO, "--photos", "empty"], "there are no images at empty"),
        ([DEMO, "--photos", "broken.jpg"], "none of the images can be read"),
    ],
)
def test_what_is_refused(
    words: list[str], complaint: str, demo_repository: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "empty").mkdir()
    (place / "broken.jpg").write_bytes(b"no image")
    photos = [] if "--photos" in words else ["--photos", str(PHOTOS / "astronaut.jpg")]
    assert main(["tune", *words, *photos, "--repository", str(demo_repository)]) == 1
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--latency", "0"], ["--turns", "0"], ["--clients", "1.5"], ["--seconds", "nan"]])
def test_options_that_make_no_sense(option: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(["tune", "people", "--photos", "x", *option])
