"""What docs/deployment.md tells people to type is what the commands and the proxies understand."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from maskserve_tools.cli import build_parser
from tests.conftest import ROOT
from tests.deployment.conftest import installed
from tests.deployment.test_configurations import check

TEXT = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
LINES = [
    line
    for block in re.findall(r"^```bash\n(.*?)^```", TEXT, re.S | re.M)
    for line in block.replace("\\\n", " ").splitlines()
]
OURS = [line for line in LINES if line.startswith("maskserve ")]


def test_there_are_commands() -> None:
    assert len(OURS) > 8


@pytest.mark.parametrize("line", OURS)
def test_our_commands_are_understood(line: str) -> None:
    ours, _, _ = line.partition(" -- ")  # behind it are tritonserver's own flags
    build_parser().parse_args(shlex.split(ours, comments=True)[1:])


@pytest.mark.parametrize(
    ("proxy", "made", "options"),
    [("envoy", "envoy.yaml", ("--mode", "validate", "-c")), ("haproxy", "haproxy.cfg", ("-c", "-f"))],
)
def test_the_edited_configurations_are_read(proxy: str, made: str, options: tuple[str, ...], tmp_path: Path) -> None:
    executable = installed(proxy)
    (line,) = [line for line in LINES if line.startswith("sed ") and line.endswith(f"> {made}")]
    (tmp_path / "docker").symlink_to(ROOT / "docker")
    subprocess.run(line, shell=True, check=True, cwd=tmp_path)
    lines = (tmp_path / made).read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if re.match(r"[^#]*(triton-|0\.0\.0\.0|bind :)", line)]
    check(executable, *options, str(tmp_path / made))


def test_its_links_lead_somewhere() -> None:
    titles = re.findall(r"^#+ (.*)", TEXT, re.M)
    headings = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        path, _, anchor = target.partition("#")
        assert (ROOT / "docs" / path).exists(), target
        assert path or anchor in headings, target
