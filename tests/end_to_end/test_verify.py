"""`maskserve verify`: says equal where it is, and different where it is not."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from maskserve.errors import ToolError
from maskserve_tools import cli
from maskserve_tools.verify.verification import check_source
from tests.end_to_end.conftest import DEMO

if TYPE_CHECKING:
    from maskserve_tools.embedded import Server


@pytest.fixture
def image(demo_model: Path) -> Path:
    return demo_model.parent / "photos" / "astronaut.jpg"


def test_a_conversion_is_proved_equal(
    server: Server, demo_model: Path, image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["verify", DEMO, "--source", str(demo_model), "--photos", str(image), "--url", server.http_url]
    assert cli.main([*command, "--threshold", "0.05"]) == 0
    assert "1 of 1 answers equal" in capsys.readouterr().out


def test_another_model_is_proved_different(
    server: Server, demo_model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(demo_model, tmp_path / "other"))
    settings = (other / "inference.yml").read_text()
    assert "interp: 2" in settings
    (other / "inference.yml").write_text(settings.replace("interp: 2", "interp: 0"))
    command = ["verify", DEMO, "--source", str(other), "--photos", str(image), "--url", server.grpc_url]
    assert cli.main([*command, "--threshold", "0.05", "--ties"]) == 1
    said = capsys.readouterr().out
    assert "DIFFERENT" in said
    assert re.search(r"of Paddle's \d+ instances \d+ are missing.*scores differ by 0\.\d+ at most", said)


def test_the_folder_must_be_the_one_that_was_converted(demo_repository: Path, demo_model: Path, tmp_path: Path) -> None:
    check_source(demo_repository / DEMO, demo_model)
    other = Path(shutil.copytree(demo_model, tmp_path / "other"))
    (other / "inference.yml").write_text((other / "inference.yml").read_text() + "\n")
    with pytest.raises(ToolError, match=r"was not converted from .*inference\.yml differ"):
        check_source(demo_repository / DEMO, other)
    with pytest.raises(ToolError, match="not an entry"):
        check_source(demo_repository / "nothing", demo_model)


def test_no_photos_are_an_error(demo_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["verify", DEMO, "--source", str(demo_model), "--photos", str(tmp_path), "--url", "http://localhost:1"]
    assert cli.main(command) == 1
    assert "no images" in capsys.readouterr().err


def test_paddle_s_wish_for_a_compiler_s_cache_is_not_shown(demo_model: Path) -> None:
    """Paddle warns when it is imported; who verifies a model compiles nothing with it."""
    pytest.importorskip("paddle", reason="the reference is Paddle", exc_type=ImportError)
    program = "import sys, pathlib, maskserve_tools.verify.reference as r; r.open_reference(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-W", "error::UserWarning", "-c", program, str(demo_model)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
