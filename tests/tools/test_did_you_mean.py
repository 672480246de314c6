"""Names that are not known: commands, options, choices and models say what may have been meant."""

from __future__ import annotations

import pytest

from maskserve.errors import MaskserveError
from maskserve.pipeline import Pipeline
from maskserve.transport.base import ServedModel
from maskserve.transport.errors import missing_model
from maskserve_tools import cli
from tests.client.conftest import FakeTransport

MEANT = {
    "pridict a.jpg": "did you mean predict?",
    "predict a.jpg --modle X": "did you mean --model?",
    "predict a.jpg --model X --treshold 0.3": "unrecognized arguments: --treshold 0.3; did you mean --threshold?",
    "predict a.jpg --model X --treshold=0.3": "did you mean --threshold?",
    "predict a.jpg --model X --generation 3.y": "did you mean 3.x?",
    "gateway --url grpc://a --maxpixels 3": "did you mean --max-pixels?",
    "convert x --pricision fp16": "did you mean --precision?",
    "--verison": "did you mean --version?",
}


@pytest.mark.parametrize("line", MEANT)
def test_the_command_line(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(line.split())
    assert ended.value.code == 2
    assert MEANT[line] in capsys.readouterr().err


@pytest.mark.parametrize("line", ["predict a.jpg --model X --zzzz", "zzzz", "predict a.jpg --thresh x --model X"])
def test_nothing_is_guessed_where_nothing_is_close(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(line.split())
    assert "did you mean" not in capsys.readouterr().err


def test_a_model_of_a_server() -> None:
    transport = FakeTransport()
    transport.served = [ServedModel("people", "READY"), ServedModel("dogs", "READY")]
    message = missing_model("peopel", transport).message
    assert message.endswith("has no model 'peopel'; it has dogs, people; did you mean people?")


def test_a_label(transport: FakeTransport) -> None:
    with pytest.raises(MaskserveError, match="no class 'persn'; did you mean 'person'"):
        list(Pipeline("tiny", transport).predict(b"", labels="persn"))


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()
