"""The documentation site is built strictly, is complete, and asks no other host for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import maskserve
import maskserve.exports
import maskserve_tools
from maskserve_tools.cli import COMMANDS
from tests.conftest import ROOT

pytest.importorskip("mkdocs", reason="the extra docs is not installed")
_LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return target


class _Loads(HTMLParser):
    """Collects what a browser loads for a page, and the ids in it."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids.add(values.get("id") or "")
        if tag == "link" and values.get("rel") in ("canonical", "next", "prev"):
            return
        self.addresses += [value or "" for name, value in attrs if (tag, name) in _LOADED]


def read(page: Path) -> _Loads:
    parser = _Loads()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def test_nothing_is_loaded_from_other_hosts(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    foreign = {address for page in pages for address in read(page).addresses if re.match(r"(https?:)?//", address)}
    assert foreign == set()
    styles = [
        found for sheet in site.rglob("*.css") for found in re.findall(r"url\(([^)]*)\)", sheet.read_text("utf-8"))
    ]
    assert not [address for address in styles if re.match(r"['\"]?(https?:)?//", address)]


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    ids = read(site / "reference" / "python" / "index.html").ids
    names = [f"{module.__name__}.{name}" for module in _public() for name in module.__all__]
    assert len(names) > 30
    assert [name for name in names if name not in ids] == []


def _public() -> list:
    return [maskserve, maskserve.exports, maskserve_tools]


def test_every_command_is_in_the_reference(site: Path) -> None:
    ids = read(site / "reference" / "cli" / "index.html").ids
    assert [name for name in COMMANDS if f"maskserve-{name.replace('_', '-')}" not in ids] == []


def test_the_rest_reference_has_the_routes_of_the_document(site: Path) -> None:
    text = (site / "reference" / "openapi" / "index.html").read_text(encoding="utf-8")
    for words in ("POST /instance-segmentation", "GET /health", "GET /info", "Schema ", "threshold"):
        assert words in text


def test_links_out_of_the_folder_lead_to_pages_or_show_the_path(site: Path) -> None:
    deployment = (site / "deployment" / "index.html").read_text(encoding="utf-8")
    assert 'href="../docker/"' in deployment
    assert "docker/envoy.yaml" in deployment
    assert "../docker/envoy.yaml" not in deployment


def test_the_page_of_the_rest_service_shows_the_fields_of_the_request(site: Path) -> None:
    text = (site / "reference" / "openapi" / "index.html").read_text(encoding="utf-8")
    request = text.partition("The fields of the request:")[2].partition("GET /health")[0]
    assert [field for field in ("image", "threshold", "visualize") if f"<code>{field}</code>" not in request] == []
