"""The turns that are kept: a full disk or a second run does not spoil them, and other models' do not count."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from maskserve.errors import ToolError
from maskserve_server.spec import REDUCED, Queue
from maskserve_tools.tune.entry import TunedEntry
from maskserve_tools.tune.load import Turn
from maskserve_tools.tune.record import FILE, Record, alone_in
from maskserve_tools.tune.setups import Setup
from maskserve_tools.tune.tuning import Plan, _conditions, tune
from tests.conftest import DEMO, ROOT

SETUP = Setup("single", "openvino", "fp32", 1, 2)
IMAGE = ROOT / "demo" / "photos" / "astronaut.jpg"


def test_a_full_disk_does_not_take_the_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Record(tmp_path, {}).add(SETUP, {1: Turn(2.0, (0.5,))}, 7)
    with (tmp_path / FILE).open("a", encoding="utf-8") as file:
        file.write('{"setup": {"layout": "sing')  # it was stopped while it wrote
    before = (tmp_path / FILE).read_bytes()

    def fill_up(path: Path, *_: object, **__: object) -> None:
        path.open("w", encoding="utf-8").close()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", fill_up)
        with pytest.raises(ToolError, match="No space left"):
            Record(tmp_path, {})
    assert (tmp_path / FILE).read_bytes() == before
    assert len(Record(tmp_path, {}).turns(SETUP)) == 1


def test_two_runs_do_not_measure_into_one_folder(tmp_path: Path) -> None:
    with alone_in(tmp_path / "new"):
        with (
            pytest.raises(ToolError, match=r"another `maskserve tune` measures into .*new"),
            alone_in(tmp_path / "new"),
        ):
            pytest.fail("it was let in")
        with alone_in(tmp_path / "other"):
            pass
    with alone_in(tmp_path / "new"):
        pass


@pytest.fixture
def entry(demo_repository: Path) -> TunedEntry:
    return TunedEntry.read(demo_repository, DEMO, cpus=2)


@pytest.fixture
def plan(demo_repository: Path, tmp_path: Path) -> Plan:
    return Plan(DEMO, demo_repository, [IMAGE], tmp_path / "turns")


def test_another_description_makes_other_turns(entry: TunedEntry, plan: Plan) -> None:
    """The core of a model that decodes to a part of the size is the same file."""

    def conditions(**changes: object) -> object:
        opened = replace(entry.opened, spec=replace(entry.spec, **changes))  # type: ignore[arg-type]
        return _conditions(plan, replace(entry, opened=opened), [], 2, engines=["openvino"])

    assert conditions() == conditions(queue=Queue(5))
    assert conditions() != conditions(decode=REDUCED)
    assert conditions() != conditions(draw_threshold=0.123)


def test_the_versions_of_all_engines_count(entry: TunedEntry, plan: Plan) -> None:
    versions = _conditions(plan, entry, [], 2, engines=["openvino", "onnxruntime"])["versions"]
    assert isinstance(versions, dict) and {"maskserve", "openvino", "onnxruntime"} == set(versions)


def test_a_place_that_cannot_be_written_is_said_before_anything_is_measured(
    demo_repository: Path, plan: Plan, tmp_path: Path
) -> None:
    models = Path(shutil.copytree(demo_repository, tmp_path / "models"))
    (models / DEMO / "provenance.json").unlink()  # so that the entry is not one of ours
    with pytest.raises(ToolError, match="was not written by `maskserve convert`"):
        tune(replace(plan, repository=models))
    assert not plan.folder.exists()
