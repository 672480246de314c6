"""The catalogue says what the published table says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from maskserve.errors import ToolError
from maskserve_convert import catalogue
from maskserve_convert.catalogue import CATALOGUE, VERSIONS
from maskserve_convert.choices import ENGINES
from maskserve_tools import cli
from maskserve_tools.models.fetching import SOURCE

_ROW = re.compile(
    r'<td>(?P<name>[\w.-]+)</td><td><a href="(?P<url>[^"]+)">.*?</td>\s*'
    r"<td>(?P<ap>[\d.]+)</td>\s*<td>(?P<gpu>[\d.-]+)</td>\s*<td>(?P<cpu>[\d.-]+)</td>\s*<td>(?P<size>[\d.]+) M</td>"
)


def _number(text: str) -> float | None:
    return None if text == "-" else float(text)


def test_it_has_the_numbers_and_links_of_the_published_table(shared: Path) -> None:
    table = (shared / "seed.md").read_text().split("Model List Details", 1)[1].split("</details>", 1)[0]
    rows = {row["name"]: row for row in _ROW.finditer(table)}
    assert len(rows) == 15
    assert {model.name for model in CATALOGUE} == set(rows)
    for model in CATALOGUE:
        row = rows[model.name]
        published = tuple(_number(row[key]) for key in ("ap", "gpu", "cpu", "size"))
        assert (model.mask_ap, model.gpu_ms, model.cpu_ms, model.size_mb) == published, model.name
        assert f"{SOURCE}/{VERSIONS[0]}/{model.name}_infer.tar" == row["url"]


def test_each_family_names_engines_that_convert_knows() -> None:
    for model in CATALOGUE:
        assert model.family.engines
        assert set(model.family.engines) <= set(ENGINES) - {"auto"}


def test_the_engines_are_in_the_order_in_which_auto_tries_them() -> None:
    from maskserve_convert.engine_ranking import MEASURED, preference

    assert {model.family.engines for model in CATALOGUE} == {preference(family) for family in MEASURED}


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("mask-rt-detr-s", "Mask-RT-DETR-S"),
        ("Mask-RT-DETR-S_infer.tar", "Mask-RT-DETR-S"),
        ("SOLO", "SOLOv2"),
        ("PP-YOLOE-seg-S", "PP-YOLOE_seg-S"),
        ("MaskRCNN-R50-vd-FPN", "MaskRCNN-ResNet50-vd-FPN"),
    ],
)
def test_an_unknown_name_is_answered_with_what_comes_close(wrong: str, meant: str) -> None:
    with pytest.raises(ToolError, match=rf"did you mean .*{meant}.*`maskserve models` lists all 15"):
        catalogue.find(wrong)


def test_a_name_like_no_other_gets_no_guess() -> None:
    with pytest.raises(ToolError) as raised:
        catalogue.find("YOLOv8n")
    assert "did you mean" not in raised.value.message


def test_the_command_prints_one_line_for_each_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = [re.split(r"\s{2,}", line) for line in lines[:16]]
    assert [row[0] for row in cells[1:]] == [model.name for model in CATALOGUE]
    row = dict(zip(cells[0], next(row for row in cells if row[0] == "Mask-RT-DETR-L"), strict=True))
    assert row == {
        "model": "Mask-RT-DETR-L",
        "family": "Mask-RT-DETR",
        "size MB": "113.6",
        "mask AP": "45.7",
        "GPU ms": "46.5",
        "CPU ms": "2575.9",
        "engines": "openvino, onnxruntime, paddle",
    }


def test_on_a_terminal_every_model_is_drawn_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "110")
    assert cli.main(["models"]) == 0
    printed = capsys.readouterr().out
    assert all(model.name in printed for model in CATALOGUE)


def test_as_json_it_says_which_numbers_there_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "--json"]) == 0
    records = {record["name"]: record for record in json.loads(capsys.readouterr().out)}
    assert len(records) == 15
    assert records["Mask-RT-DETR-M"]["gpu_ms"] == 36.8329
    assert records["Mask-RT-DETR-M"]["cpu_ms"] is None
    assert records["SOLOv2"]["recommended_engine"] == records["SOLOv2"]["engines"][0]
