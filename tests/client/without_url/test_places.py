"""Where the model of a pipeline without an address runs: the argument, the environment, what is installed."""

import sys

import pytest
from tests.conftest import ROOT

from maskserve import create_pipeline
from maskserve.errors import InvalidParameter, ServerUnavailable
from maskserve.transport.local import ENTRY_POINTS, find_opener, find_starter


@pytest.mark.parametrize("variable", [None, "process", "server"])
def test_whoever_wants_this_process_gets_it_whatever_server_runs(variable, opened, usual, urls, monkeypatch):
    """The argument, and where it says nothing the environment, mean what they say."""
    usual.answers = True
    if variable is not None:
        monkeypatch.setenv("MASKSERVE_LOCAL", variable)
    create_pipeline("tiny", server=None if variable == "process" else False)
    assert opened == [("tiny", None, 60)]
    assert urls == []


def test_the_argument_beats_the_environment(opened, starter, monkeypatch):
    monkeypatch.setattr("maskserve.transport.local.find_starter", lambda: starter)
    create_pipeline("tiny")
    assert (len(starter.calls), len(opened)) == (1, 0)
    create_pipeline("tiny", server=False)
    assert (len(starter.calls), len(opened)) == (1, 1)
    monkeypatch.delenv("MASKSERVE_LOCAL")
    create_pipeline("tiny", server=True)
    assert (len(starter.calls), len(opened)) == (2, 1)


def test_a_place_that_is_none_is_refused(opened, monkeypatch):
    for wrong in ("yes", 1):
        with pytest.raises(InvalidParameter, match="server="):
            create_pipeline("tiny", server=wrong)  # type: ignore[arg-type]
    monkeypatch.setenv("MASKSERVE_LOCAL", "thread")
    with pytest.raises(InvalidParameter, match="MASKSERVE_LOCAL='thread': process and server"):
        create_pipeline("tiny")
    assert opened == []


@pytest.mark.parametrize(("place", "extra"), [("server", "embedded,convert"), ("process", "local")])
def test_without_the_tools_the_extra_and_the_url_are_named(place, extra, urls, monkeypatch):
    monkeypatch.setattr("maskserve.transport.local.ENTRY_POINTS", "maskserve.none")
    monkeypatch.setenv("MASKSERVE_LOCAL", place)
    with pytest.raises(ServerUnavailable, match=rf'pip install "maskserve\[{extra}\]"\. .* url= or MASKSERVE_URL'):
        create_pipeline("tiny")


@pytest.mark.parametrize(("name", "find"), [("server", find_starter), ("process", find_opener)])
def test_the_starter_is_an_entry_point(name, find, tmp_path, monkeypatch):
    information = tmp_path / "starter_of_a_test-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Name: starter-of-a-test\nVersion: 1\n")
    (information / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\n{name} = starter_of_a_test:start\n")
    (tmp_path / "starter_of_a_test.py").write_text("def start(model, *, device): ...")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    found = find()
    assert (found.__module__, found.__name__) == ("starter_of_a_test", "start")


def test_the_project_declares_its_starters():
    from maskserve_tools.local import open_here, start

    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    process = f'process = "{open_here.__module__}:{open_here.__name__}"'
    server = f'server = "{start.__module__}:{start.__name__}"'
    assert f'[project.entry-points."{ENTRY_POINTS}"]\n{process}\n{server}\n' in text
