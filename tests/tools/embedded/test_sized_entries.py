"""What a server reads has the instances and threads that fit; the repository stays as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from maskserve.errors import ToolError
from maskserve_convert.triton.sizing import Wanted, wanted
from maskserve_server.one_conversion import NotOfOneConversion
from maskserve_tools.embedded import serve
from maskserve_tools.embedded.launch import has_one_of_each
from maskserve_tools.embedded.served_entries import read_config
from maskserve_tools.embedded.sized_entries import sized
from maskserve_tools.embedded.snapshot import ServedFolder
from maskserve_tools.embedded.survey import survey
from tests.tools.doctor.conftest import Clinic


@pytest.fixture
def clinic(tmp_path: Path) -> Clinic:
    """A repository with a model of each layout."""
    made = Clinic(tmp_path / "models")
    made.convert("seg")
    made.convert("alone", layout="single")
    return made


def test_a_snapshot_has_what_fits(clinic: Clinic, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in clinic.path.rglob("config.pbtxt")}
    found = sized(survey(clinic.path), 8, Wanted())
    folder = ServedFolder.make(tmp_path / "served")
    folder.add(found.entries)
    for name in ("seg.core", "alone"):
        assert wanted(read_config(folder.path / name / "config.pbtxt")) == Wanted(2, 4)
    assert {path: path.read_bytes() for path in before} == before
    assert not any(folder.differs(entry) for entry in survey(clinic.path).entries)
    folder.close()


def test_what_is_asked_for_comes_first(clinic: Clinic) -> None:
    clinic.configure("seg.core", lambda config: config.parameters["threads"].__setattr__("string_value", "3"))
    for asked, threads in ((Wanted(), 3), (Wanted(threads=1), 1)):
        found = {entry.name: entry.config for entry in sized(survey(clinic.path), 8, asked).entries}
        assert wanted(found["seg.core"]).threads == threads


def test_a_number_that_is_none_breaks_its_model_alone(clinic: Clinic) -> None:
    clinic.configure("seg.core", lambda config: config.parameters["threads"].__setattr__("string_value", "many"))
    found = sized(survey(clinic.path), 8, Wanted())
    assert [entry.name for entry in found.entries] == ["alone"]
    assert "threads of seg.core is 'many'" in {broken.name: broken.reason for broken in found.broken}["seg"]


@pytest.mark.parametrize("wrong", [{"instances": 0}, {"threads": -1}])
def test_a_server_of_nothing_is_refused(clinic: Clinic, wrong: dict[str, int]) -> None:
    with pytest.raises(ToolError, match=f"--{next(iter(wrong))} must be"):
        serve(clinic.path, instances=wrong.get("instances"), threads=wrong.get("threads"))


@pytest.mark.parametrize(
    ("asked", "alone"), [(Wanted(1), True), (Wanted(2), False), (Wanted(), True)], ids=["one", "two", "usual"]
)
def test_the_test_image_warms_up_what_there_is_one_of(clinic: Clinic, asked: Wanted, alone: bool) -> None:
    assert has_one_of_each(sized(survey(clinic.path), 2, asked).entries) is alone


def test_an_entry_that_was_converted_again_since_the_survey_is_not_shown(clinic: Clinic, tmp_path: Path) -> None:
    found = survey(clinic.path)
    folder = ServedFolder.make(tmp_path / "served")
    clinic.convert("seg", labels=("car",))
    with pytest.raises(NotOfOneConversion, match="written anew"):
        folder.add(found.entries)
    assert not list(folder.path.iterdir())
    folder.add(survey(clinic.path).entries)
    assert "car" in (folder.path / "seg" / "labels.txt").read_text()
    folder.close()


def test_an_entry_that_is_converted_again_while_its_snapshot_is_taken(
    clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, folder = survey(clinic.path), ServedFolder.make(tmp_path / "served")
    meanwhile, copy = [lambda: clinic.convert("alone", layout="single", labels=("car",))], shutil.copy2

    def slowly(source: Path, target: Path) -> object:
        if source.name == "model.json" and meanwhile:
            meanwhile.pop()()
        return copy(source, target)

    monkeypatch.setattr("maskserve_tools.embedded.snapshot.shutil.copy2", slowly)
    with pytest.raises(NotOfOneConversion, match="written anew"):
        folder.add(entry for entry in found.entries if entry.name == "alone")
    folder.close()
