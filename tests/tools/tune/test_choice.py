"""Which setup is chosen, and how the findings are told."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from maskserve_tools.tune.plot import plot
from maskserve_tools.tune.report import CSV, PLOT, REPORT, Findings
from maskserve_tools.tune.setups import Figures, Point, Setup, choose

CURRENT = Setup("ensemble", "openvino", "fp32", 1, 2)
OTHER = Setup("single", "openvino", "fp32", 2, 1)
THIRD = Setup("single", "openvino", "fp32", 1, 2)
SVG = "{http://www.w3.org/2000/svg}"


def figures(
    setup: Setup, one: float, four: float, *, memory: int = 100, median: float = 0.1, p95: float = 0.2
) -> Figures:
    points = {
        1: Point(one, one / 10, median, p95, 0.05),
        4: Point(four, four / 10, 4 * median, 4 * p95, 0.05),
    }
    return Figures(setup, points, memory, 3)


def test_the_most_images_for_the_most_clients() -> None:
    choice = choose([figures(CURRENT, 9, 10), figures(OTHER, 5, 12)], CURRENT)
    assert (choice.figures.setup, choice.clients, choice.within) == (OTHER, 4, True)


def test_of_equals_the_current_one_stays() -> None:
    measured = [figures(OTHER, 5, 10.1), figures(CURRENT, 5, 10), figures(THIRD, 9, 10.15)]
    assert choose(measured, CURRENT).figures.setup == CURRENT


@pytest.mark.parametrize(
    ("other", "third"),
    [
        (figures(OTHER, 5, 12, median=0.2), figures(THIRD, 5, 11.9, median=0.1)),
        (figures(OTHER, 5, 12, memory=200), figures(THIRD, 5, 11.9, memory=100)),
    ],
)
def test_of_other_equals_the_quicker_then_the_smaller(other: Figures, third: Figures) -> None:
    assert choose([figures(CURRENT, 9, 10), other, third], CURRENT).figures.setup == THIRD


def test_a_latency_counts_for_any_number_of_clients() -> None:
    measured = [figures(CURRENT, 9, 10, p95=0.15), figures(OTHER, 5, 14, p95=0.3), figures(THIRD, 8, 13, p95=0.1)]
    assert choose(measured, CURRENT, latency=2.0).figures.setup == OTHER
    assert choose(measured, CURRENT, latency=0.5).figures.setup == THIRD  # with four clients
    lone = choose(measured, CURRENT, latency=0.16)
    assert (lone.figures.setup, lone.clients) == (CURRENT, 1)
    none = choose(measured, CURRENT, latency=0.01)
    assert (none.figures.setup, none.clients, none.within) == (THIRD, 1, False)


def test_what_has_a_problem_is_not_chosen() -> None:
    assert choose([figures(CURRENT, 9, 10), Figures(OTHER, {}, problem="no")], CURRENT).figures.setup == CURRENT


def findings(choose_by: float | None = None, *, name: str = "people") -> Findings:
    measured = [
        figures(CURRENT, 9, 10),
        figures(OTHER, 5, 12, memory=2_000_000),
        Figures(THIRD, {}, problem="no memory"),
    ]
    choice = choose(measured, CURRENT, latency=choose_by)
    return Findings(name, "a CPU, 2 CPUs", 3, measured, CURRENT, choice, choose_by)


def test_the_report(tmp_path: Path) -> None:
    findings().write(tmp_path)
    text = (tmp_path / REPORT).read_text()
    assert "The best is single, openvino, fp32, 2 x 1: 12.00 images a second with 4 client(s), +20% against" in text
    assert "| single, openvino, fp32, 2 x 1 (chosen) | 5.00, 200 | 12.00, 800 | 1.20 | 50 | 2 | 3 |" in text
    assert "| ensemble, openvino, fp32, 1 x 2 (current) | 9.00, 200 | 10.00, 800 | 1.00 | 50 | 0 | 3 |" in text
    assert "| single, openvino, fp32, 1 x 2 | no memory |  |  |  |  |  |" in text
    rows = list(csv.DictReader(io.StringIO((tmp_path / CSV).read_text())))
    assert len(rows) == 4
    assert (rows[1]["Instance Group"], rows[1]["Concurrency"], rows[1]["Throughput (infer/sec)"]) == (
        "2:CPU",
        "4",
        "12.000",
    )
    assert PLOT in text
    assert (tmp_path / PLOT).is_file()


@pytest.mark.parametrize(
    ("latency", "words"),
    [
        (0.01, "No setup keeps to 10 ms. The lowest p95 is 200 ms"),
        (0.5, "There is nothing to win with a p95 of at most 500 ms"),
    ],
)
def test_the_verdict_under_a_latency(latency: float, words: str) -> None:
    assert words in findings(latency).verdict()


def test_the_plot_has_each_point_where_it_belongs() -> None:
    measured = findings().measured
    root = ElementTree.fromstring(plot(measured, OTHER, title="a <b> & c", latency=0.3))
    circles = root.findall(f"{SVG}circle")
    assert len(circles) == 4
    xs = [float(circle.attrib["cx"]) for circle in circles]
    ys = [float(circle.attrib["cy"]) for circle in circles]
    assert xs[0] == xs[2] < xs[1] == xs[3]  # p95 of 200 and 800 ms
    assert ys[3] < ys[1] < ys[0] < ys[2]  # 12, 10, 9, 5 images a second; down is more
    assert (xs[1] - 64) / (xs[0] - 64) == pytest.approx(4, abs=0.01)
    titles = [circle.find(f"{SVG}title") for circle in circles]
    assert titles[3] is not None
    assert titles[3].text == "single, openvino, fp32, 2 x 1; 4 clients: 12.00 images/s, p95 800 ms"
    assert "a <b> & c" in [text.text for text in root.findall(f"{SVG}text")]


def test_a_plot_of_very_quick_answers() -> None:
    point = Point(9999.0, 1.0, 1e-5, 2e-5, 0.0)
    root = ElementTree.fromstring(plot([replace(findings().measured[0], points={1: point})], CURRENT, title=""))
    (circle,) = root.findall(f"{SVG}circle")
    assert float(circle.attrib["cx"]) <= 510
    assert float(circle.attrib["cy"]) >= 39
