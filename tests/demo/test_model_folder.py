"""The shipped folder: its files, their size, and the structure that the converter looks for."""

import json
from pathlib import Path

import pytest
import yaml

MODEL = Path(__file__).resolve().parents[2] / "demo" / "model"


@pytest.fixture(scope="module")
def operations() -> list[dict]:
    program = json.loads((MODEL / "inference.json").read_text())
    return program["program"]["regions"][0]["blocks"][0]["ops"]


def test_weights_are_small() -> None:
    assert (MODEL / "inference.pdiparams").stat().st_size <= 15_000_000


def test_settings_say_what_paddlex_needs() -> None:
    settings = yaml.safe_load((MODEL / "inference.yml").read_text())
    assert settings["label_list"] == ["person"]
    assert settings["draw_threshold"] == 0.5
    assert settings["mask"] is True
    assert [step["type"] for step in settings["Preprocess"]] == ["Resize", "NormalizeImage", "Permute"]


def test_inputs_are_those_of_a_mask_rt_detr_export(operations: list[dict]) -> None:
    feeds = [op for op in operations if op["#"] == "1.data"]
    names = [attribute["AT"]["D"] for op in feeds for attribute in op["A"] if attribute["N"] == "name"]
    assert sorted(names) == ["im_shape", "image", "scale_factor"]


def _shape(value: dict) -> list[int]:
    return value["TT"]["D"][1]


def test_painting_ends_the_program_as_in_a_mask_rt_detr_export(operations: list[dict]) -> None:
    computed = [op for op in operations if isinstance(op["O"], list)]  # the others are weights
    made_by = {result["%"]: op for op in computed for result in op["O"]}
    fetches = [op for op in operations if op["#"] == "1.fetch"]
    assert len(fetches) == 3

    painted = [made_by[fetches[2]["I"][0]["%"]]]
    while painted[-1]["#"] != "1.bilinear_interp":
        painted.append(made_by[painted[-1]["I"][0]["%"]])
    kinds = [op["#"].removeprefix("1.") for op in painted]
    assert [kind for kind in kinds if kind != "cast"] == ["flatten", "greater_than", "sigmoid", "bilinear_interp"]
    logits = next(result for op in computed for result in op["O"] if result["%"] == painted[-1]["I"][0]["%"])
    people = _shape(logits)[1]
    assert _shape(logits) == [-1, people, 96, 96]

    rows = made_by[fetches[0]["I"][0]["%"]]
    assert rows["#"] == "1.reshape"
    assert _shape(made_by[rows["I"][0]["%"]]["O"][0]) == [-1, people, 6]
