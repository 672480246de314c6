"""What the benchmark of all ways concludes, and how its rows answer."""

from __future__ import annotations

import io
import json
import sys
import threading
from pathlib import Path

import pytest
import yaml
from benchmarks.peers.paddlex_folder import named_for_paddlex
from benchmarks.row import BARE, IN_PROCESS, QUEUE
from benchmarks.side_by_side import Row, table
from benchmarks.turns import answer_turns


def row(way: str, one: list[float], four: list[float]) -> Row:
    """Return a row that took turns, seconds for an image each."""
    return Row(way, [], 0.5, {1: one, 4: four}, one)


def test_the_share_is_of_the_best_core_in_the_same_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Row, "memory", lambda _: 123_456_789)
    first, second = BARE
    lines = table(
        [
            row(first, [0.2, 2.0, 0.2], [0.2, 2.0, 0.2]),
            row(second, [0.4, 4.0, 0.4], [0.1, 1.0, 0.1]),
            row(QUEUE, [0.4, 4.0, 0.4], [0.125, 1.25, 0.125]),
            row(IN_PROCESS, [0.4, 4.0, 0.4], [0.2, 1.25, 0.125]),
        ]
    ).splitlines()
    assert lines[2] == f"| {first} | 5.00/s | 5.00/s | 50% | 200 ms | 0.5 s | 123 MB |"
    assert lines[-1] == f"| {IN_PROCESS} | 2.50/s | 5.00/s | 80% | 400 ms | 0.5 s | 123 MB |"


def test_a_row_answers_each_line_with_a_turn_of_its_callers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    together = threading.Barrier(3, timeout=60)
    callers: list[int] = []

    def run() -> int:
        callers.append(threading.get_ident())
        if len(callers) > 2:  # after the first image and the turn of a lone caller
            together.wait()
        return 7

    monkeypatch.setattr(sys, "stdin", io.StringIO("1 0\n3 0\n"))
    answer_turns(run)
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["found"] for answer in answers] == [7, 7, 7]
    assert callers[0] == callers[1] == threading.get_ident()
    assert len(set(callers[2:])) == 3
    assert answers[0]["seconds"] == 0 < answers[1]["seconds"]


def test_paddlex_gets_a_name_that_it_knows(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "inference.yml").write_text("Global: {model_name: people}\nmode: paddle\n", encoding="utf-8")
    copy = named_for_paddlex(folder, "mask_rt_detr", tmp_path / "theirs")
    assert yaml.safe_load((copy / "inference.yml").read_text(encoding="utf-8")) == {
        "Global": {"model_name": "Mask-RT-DETR-S"},
        "mode": "paddle",
    }
    assert "people" in (folder / "inference.yml").read_text(encoding="utf-8")
