"""The seven clients against a gateway and a real server: our examples, and the seed's programs as they are printed."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import urllib.request
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from tests.rest_clients.conftest import PADDLEX_PORT
from tests.rest_clients.languages import LANGUAGES, Language

PATH = "/instance-segmentation"
_SCORE = re.compile(r"score\W{1,8}?(?=[\d.])([\d.]+(?:[eE]-?\d+)?)")

each_language = pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)


@dataclass(frozen=True, slots=True)
class Service:
    """A running gateway, an image, and the instances that it finds there."""

    url: str
    image: Path
    instances: list[dict[str, Any]]


@pytest.fixture(scope="session")
def service(gateway: str, two_people: Path) -> Service:
    body = json.dumps({"image": b64encode(two_people.read_bytes()).decode()}).encode()
    request = urllib.request.Request(gateway + PATH, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        instances = json.load(response)["result"]["instances"]
    assert len(instances) > 1, "this image proves too little"
    return Service(gateway + PATH, two_people, instances)


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def _is_drawn_upon(path: Path, original: Path) -> bool:
    with Image.open(path) as drawn, Image.open(original) as image:
        return drawn.format == "JPEG" and drawn.size == image.size and drawn.tobytes() != image.tobytes()


@each_language
def test_our_client(language: Language, service: Service, tmp_path: Path) -> None:
    language.require()
    command = language.built(language.example, tmp_path, seed=False)

    done = _run([*command, service.url, str(service.image), "seen.jpg"], tmp_path)

    assert done.returncode == 0, done.stderr
    head, _, printed = done.stdout.partition("\n\nInstances:\n")
    assert head == "Output image saved at seen.jpg"
    assert json.loads(printed) == service.instances
    assert _is_drawn_upon(tmp_path / "seen.jpg", service.image)


@each_language
def test_our_client_says_what_is_wrong(language: Language, service: Service, tmp_path: Path) -> None:
    language.require()
    command = language.built(language.example, tmp_path, seed=False)
    (tmp_path / "notes.txt").write_text("this is no image")

    done = _run([*command, service.url, "notes.txt", "seen.jpg"], tmp_path)

    assert done.returncode == 1, done.stdout
    assert re.match(r"4\d\d: .+", done.stderr), done.stderr
    assert not (tmp_path / "seen.jpg").exists()


@pytest.fixture(scope="session")
def seed_programs(shared: Path) -> dict[str, str]:
    """The programs of the document's section 3, by the label of their code blocks."""
    document = shared / "seed.md"
    if not document.is_file():
        pytest.skip("the document with the seven programs is not on this machine")
    text = document.read_text(encoding="utf-8")
    section = text[text.index("Multi-Language Service Invocation Examples") :]
    blocks = re.findall(r'<pre><code class="language-(\w+)">(.*?)</code></pre>', section, re.S)
    return {label: html.unescape(code) for label, code in blocks}


@each_language
def test_the_seeds_client(language: Language, seed_programs: dict[str, str], service: Service, tmp_path: Path) -> None:
    language.require()
    source = tmp_path / "seed"
    # Unchanged, unless somebody else has PaddleX's port.
    host = urlsplit(service.url).netloc
    source.write_text(seed_programs[language.label].replace(f"localhost:{PADDLEX_PORT}", host))
    command = language.built(source, tmp_path, seed=True)
    shutil.copy(service.image, tmp_path / "demo.jpg")

    done = _run(command, tmp_path)

    assert done.returncode == 0, done.stderr
    scores = [float(text) for text in _SCORE.findall(done.stdout)]
    assert scores == pytest.approx([instance["score"] for instance in service.instances], rel=1e-6)
    assert _is_drawn_upon(tmp_path / "out.jpg", service.image)
