"""Arguments of `create_pipeline` and `predict`: Python's numbers or numpy's; what makes no sense is named."""

from typing import Any

import numpy as np
import pytest

from maskserve import create_pipeline
from maskserve.errors import InvalidParameter
from maskserve.pipeline import Pipeline
from maskserve_tools.cli import main


@pytest.mark.parametrize("option", ["--concurrency=0", "--concurrency=1.5", "--timeout=0", "--timeout=nan"])
def test_other_numbers_at_a_shell(option, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["predict", "--pipeline", "m", "--input", "a.jpg", option])
    assert caught.value.code == 2
    assert option.partition("=")[2] in capsys.readouterr().err


NUMBERS = [4, np.int64(4), np.uint8(4), np.array(4)]


@pytest.mark.parametrize("given", NUMBERS)
def test_numbers_of_requests(transport, grey, given):
    list(Pipeline("tiny", transport).predict([grey()] * 2, batch_size=given))
    assert len(transport.requests) == 2
    pipeline = create_pipeline("m", url="http://box", concurrency=given, retries=given, timeout=given)
    assert pipeline._segmenter.concurrency == 4
    assert pipeline._segmenter.retries == 4
    config = {"Pipeline": {"model": "m", "batch_size": given}}
    assert create_pipeline(config=config, url="http://box", concurrency=1)._segmenter.concurrency == 4


BAD: dict[str, list[Any]] = {
    "batch_size": [0, 257, 1.5, True, "4", np.float64(4), np.array([4]), [4]],
    "concurrency": [0, -1, 1.5, True, "4", None, np.array([4])],
    "retries": [-1, 1.5, True, "2", None],
    "timeout": [0, -1, "5", None, True, float("nan"), [5]],
    "shared_memory": ["no", 0, 1, []],
    "headers": ["x", 5, ["x"], {"x": 5}, {"x": None}, {5: "x"}, {"x y": "z"}, {"x": "a\r\nb"}, {"x": "ü"}, {"": "x"}],
    "url": ["", 5, b"http://box", ["http://box"]],
    "device": ["", 0, ["cpu"]],
    "generation": ["", None, 3.0, ["3.x"]],
    "ca_file": ["", 5],
}


@pytest.mark.parametrize(("name", "given"), [(name, given) for name, values in BAD.items() for given in values])
def test_arguments_without_sense_are_named(transport, grey, name, given):
    arguments = {"url": "https://box", name: given}
    if name in ("batch_size", "headers"):
        with pytest.raises(InvalidParameter, match=name):
            list(Pipeline("tiny", transport).predict(grey(), **{name: given}))
        assert transport.requests == []
    if name != "batch_size":
        with pytest.raises(InvalidParameter) as caught:
            create_pipeline("m", **arguments)
        assert name in caught.value.message or repr(given) in caught.value.message


def test_a_time_without_limit_is_a_long_one():
    transport: Any = create_pipeline("m", url="http://box", timeout=float("inf"))._segmenter.transport
    assert transport._endpoint.timeout == 1e6


def test_headers_are_taken_as_they_are_now(transport, grey):
    headers = {"X-Tenant": "a"}
    results = Pipeline("tiny", transport).predict((grey() for _ in range(3)), headers=headers)
    next(results)
    headers["X-Tenant"] = "b"
    list(results)
    assert [request.headers for _, request in transport.requests] == [{"X-Tenant": "a"}] * 3
