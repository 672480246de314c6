"""Two thousand hostile files, each the same in every run: none ends a process, takes long, or takes much memory."""

from __future__ import annotations

import pytest

from maskserve.inputs.formats import format_of
from tests.fuzz import run
from tests.fuzz.seeds import kinds, seeds


def test_two_thousand_files_do_no_harm() -> None:
    totals = run.Totals()
    totals.run(0, 2000)
    assert totals.findings == []
    assert not totals.failed
    assert totals.cases == 2000
    assert totals.counts["image"] > 100  # or the mutations are too coarse to reach a decoder
    assert totals.counts["InvalidImage"] > 500


def test_a_case_is_the_same_every_time() -> None:
    assert [run.make(case) for case in range(50)] == [run.make(case) for case in range(50)]


@pytest.mark.parametrize("kind", kinds())
def test_seeds_are_files_of_their_format(kind: str) -> None:
    assert len(seeds(kind)) >= 12
    if kind != "not read":
        assert {format_of(file) for file in seeds(kind)} == {kind}


def test_a_process_that_dies_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.sys, "executable", "/bin/false")
    totals = run.Totals()
    totals.run(0, 1)
    assert totals.failed
    assert totals.deaths == 1
