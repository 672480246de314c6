"""Thresholds and areas: Python's numbers or numpy's; anything else is an error that names it."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from maskserve import create_pipeline
from maskserve.errors import InvalidParameter, MaskserveError
from maskserve.pipeline import Pipeline
from maskserve_tools.cli import main

SCORES = {
    "float": (0.5, 0.5),
    "zero": (0, 0.0),
    "one": (1, 1.0),
    "numpy": (np.float32(0.25), 0.25),
    "numpy half": (np.float16(0.25), 0.25),
    "numpy int": (np.int64(1), 1.0),
    "array of no dimension": (np.array(0.25), 0.25),
    "decimal": (Decimal("0.25"), 0.25),
    "fraction": (Fraction(1, 4), 0.25),
}
NO_SCORE = {
    "50": 50,
    "numpy 50": np.float32(50),
    "a little too much": 1.0001,
    "negative": -0.1,
    "text": "0.5",
    "numpy text": np.str_("0.5"),
    "array of text": np.array("0.5"),
    "bytes": b"0.5",
    "bool": True,
    "numpy bool": np.True_,
    "nan": float("nan"),
    "infinite": float("inf"),
    "huge": 10**400,
    "list": [0.5],
    "array": np.array([0.5]),
    "dict": {0: 0.5},
    "complex": 0.5j,
}


@pytest.mark.parametrize(("given", "score"), SCORES.values(), ids=SCORES)
def test_a_threshold(transport, grey, result, given, score):
    list(Pipeline("tiny", transport).predict(grey(), threshold=given))
    assert transport.requests[-1][1].threshold == score
    expected = [value for value in (0.9, 0.5, 0.3) if value > score]
    assert result.filter(threshold=given).scores.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("given", NO_SCORE.values(), ids=NO_SCORE)
def test_what_is_no_threshold(pipeline, transport, grey, result, given):
    words = r"threshold=.* is not a number between 0 and 1"
    with pytest.raises(InvalidParameter, match=words):
        list(pipeline.predict(grey(), threshold=given))
    assert transport.requests == []
    with pytest.raises(InvalidParameter, match=words):
        result.filter(threshold=given)
    with pytest.raises(InvalidParameter, match=words):
        create_pipeline("m", url="http://box", threshold=given)
    module = {"model": "m", "threshold": given}
    with pytest.raises(InvalidParameter, match=words):
        create_pipeline(config={"Pipeline": module}, url="http://box")
    submodule = {"InstanceSegmentation": {"model_name": "m", "threshold": given}}
    with pytest.raises(InvalidParameter, match=words):
        create_pipeline(config={"SubModules": submodule}, url="http://box")


@pytest.mark.parametrize("given", ["5", "-0.1", "nan", "inf", "high", "1e9", ""])
@pytest.mark.parametrize(
    "command",
    [
        ("predict", "--pipeline", "m", "--url", "http://127.0.0.1:9", "--input", "a.jpg"),
        ("batch", "photos", "--to", "out", "--url", "http://127.0.0.1:9"),
        ("verify", "m", "--source", "folder", "--photos", "photos"),
    ],
    ids=lambda command: command[0],
)
def test_what_is_no_threshold_at_a_shell(command, given, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*command, f"--threshold={given}"])
    assert caught.value.code == 2
    assert f"argument --threshold: {given!r} is not a number between 0 and 1" in capsys.readouterr().err


@pytest.mark.parametrize(("given", "left"), [(5, 1), (np.int64(5), 1), (4.5, 1), (0, 3), (np.float32(2), 3)])
def test_a_smallest_area(result, given, left):
    assert len(result.filter(min_area=given).instances) == left


@pytest.mark.parametrize("given", ["9", None, True, [9], float("nan")])
def test_what_is_no_area(result, given):
    with pytest.raises(MaskserveError, match="min_area"):
        result.filter(min_area=given)
