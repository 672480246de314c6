"""Every command in an environment with only some extras: one line installs all of them, and there is no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from maskserve_tools.extras import extra_of, install_line, missing_packages, need
from tests.conftest import ROOT

PACKAGES = {
    "batch": ("ray", "pandas", "pyarrow"),
    "convert": ("paddle", "paddle2onnx", "onnx_ir", "onnx"),
    "embedded": ("pytriton", "onnxruntime", "openvino"),
    "gateway": ("aiohttp", "fastapi", "fastapi_offline", "httptools", "prometheus_client", "uvicorn", "uvloop"),
    "int8": ("nncf",),
    "label-studio": ("fastapi", "label_studio_sdk", "uvicorn"),
    "cvat": ("cvat_sdk",),
}
_BLOCKED = """
import sys
from importlib.abc import MetaPathFinder
class Blocked(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in sys.argv[1].split(",") else found(name, package)
sys.meta_path.insert(0, Blocked())
from maskserve_tools.cli import main
sys.exit(main(sys.argv[2:]))
"""
MODEL, PHOTOS, ENTRY = "demo/model", "demo/photos", "models/people"
ALL = tuple(PACKAGES)
COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {
    f"up {MODEL}": (ALL, "convert,embedded,gateway"),
    f"serve {MODEL}": (("embedded",), "embedded"),
    f"serve {MODEL} --http-api 0": (("gateway",), "embedded,gateway"),
    "gateway --url grpc://127.0.0.1:9": (("gateway",), "gateway"),
    f"convert {MODEL}": (ALL, "convert,server"),
    f"convert {MODEL} --precision int8 --calibration {PHOTOS}": (ALL, "convert,int8,server"),
    f"verify X --source {MODEL} --photos {PHOTOS}": (ALL, "convert,embedded"),
    f"predict {PHOTOS} --model {MODEL}": (ALL, "convert,local"),
    f"predict {PHOTOS} --model {MODEL} --server": (ALL, "convert,embedded"),
    f"predict {PHOTOS} --model {ENTRY}": (ALL, "local"),
    f"predict {PHOTOS} --model {ENTRY} --server": (ALL, "embedded"),
    f"up {ENTRY}": (ALL, "embedded,gateway"),
    f"batch {PHOTOS} --to OUT --model {ENTRY}": (ALL, "batch,local"),
    f"annotate label-studio --model {ENTRY}": (ALL, "label-studio,local"),
    "annotate label-studio --pipeline X --url grpc://127.0.0.1:9": (ALL, "label-studio"),
    f"annotate cvat 7 --pipeline {ENTRY}": (ALL, "cvat,local"),
    "annotate cvat 7 --pipeline X --url grpc://127.0.0.1:9": (ALL, "cvat"),
    f"batch {PHOTOS} --to OUT --model {MODEL}": (ALL, "batch,convert,local"),
    f"batch {PHOTOS} --to OUT --url grpc://127.0.0.1:9 --pipeline X": (("batch",), "batch"),
}


def run(blocked: list[str], command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [
        str(ROOT / word) if word.startswith("demo/") else word.replace("OUT", str(folder)) for word in command.split()
    ]
    line = [sys.executable, "-c", _BLOCKED, ",".join(blocked), *words]
    environment = {"PATH": "/usr/bin:/bin", "MASKSERVE_CACHE": str(folder), "HOME": str(folder)}
    return subprocess.run(line, capture_output=True, text=True, env=environment, cwd=folder, check=False, timeout=100)


@pytest.mark.parametrize("command", COMMANDS)
def test_missing_extras_are_named_together(command: str, tmp_path: Path) -> None:
    extras, line = COMMANDS[command]
    if "annotate cvat" in command and sys.version_info < (3, 11):
        pytest.skip("cvat-sdk needs Python 3.11")
    (tmp_path / ENTRY).mkdir(parents=True)
    (tmp_path / ENTRY / "config.pbtxt").touch()
    done = run([package for extra in extras for package in PACKAGES[extra]], command, tmp_path)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 1
    assert f'pip install "maskserve[{line}]"' in done.stderr
    assert not any(tmp_path.rglob("*.onnx"))


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (f"up {MODEL}", "convert"),
        (f"up {MODEL}", "embedded"),
        (f"up {MODEL}", "gateway"),
        (f"predict {PHOTOS} --model {MODEL}", "convert"),
    ],
)
def test_one_extra_is_missing(command: str, extra: str, tmp_path: Path) -> None:
    """The line has all extras of the command, not just that one."""
    done = run([*PACKAGES[extra]], command, tmp_path)
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
    assert f'pip install "maskserve[{COMMANDS[command][1]}]"' in done.stderr


@pytest.mark.parametrize("command", ["--version", "models", "doctor", "pipeline-config instance_segmentation"])
def test_what_the_base_install_can_do(command: str, tmp_path: Path) -> None:
    done = run([package for extra in ALL for package in PACKAGES[extra]], command, tmp_path)
    assert "Traceback" not in done.stderr
    assert "pip install" not in done.stderr
    assert done.stdout


@pytest.mark.parametrize("tool", ["label-studio", "cvat"])
def test_annotation_tools_get_a_bundle(tool: str, tmp_path: Path) -> None:
    """A line with the converter's extra could not be installed: the tools' packages need another numpy."""
    if tool == "cvat" and sys.version_info < (3, 11):
        pytest.skip("cvat-sdk needs Python 3.11")
    blocked = [package for extra in ("convert", tool) for package in PACKAGES[extra]]
    done = run(blocked, f"annotate {tool} {'7 ' * (tool == 'cvat')}--pipeline {MODEL}", tmp_path)
    check_bundle_first(done, tool)


def test_an_official_name_gets_a_bundle_where_no_server_has_it(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="Label Studio's backend needs fastapi", exc_type=ImportError)
    (tmp_path / "label_studio_sdk.py").touch()
    done = run([*PACKAGES["convert"]], "annotate label-studio --pipeline Mask-RT-DETR-S", tmp_path)
    assert "no server has Mask-RT-DETR-S" in done.stderr
    check_bundle_first(done, "label-studio")


def check_bundle_first(done: subprocess.CompletedProcess[str], tool: str) -> None:
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 1
    assert 'pip install "maskserve[convert,server]", maskserve convert' in done.stderr
    assert f'Here: pip install "maskserve[{tool},local]"' in done.stderr


WRONG = {
    "up Mask-RT-DETR-s": "did you mean Mask-RT-DETR-S",
    "up object_detection": "object_detection is another of PaddleX's pipelines; maskserve serves instance_segmentation",
    "up nowhere/model": "there is no nowhere/model",
    "up demo/modle": "did you mean",
    "up people.maskserve": "there is no people.maskserve",
    f"up {PHOTOS}": "is not a Paddle inference folder",
    "convert SOLOv9": "did you mean SOLOv2",
    "convert OCR": "another of PaddleX's pipelines",
    f"predict {PHOTOS} --model Mask-RT-DETR-s": "did you mean Mask-RT-DETR-S",
    f"predict {PHOTOS} --model OCR": "another of PaddleX's pipelines",
    f"predict missing.jpg --model {MODEL}": "missing.jpg is not there",
    f"predict missing.jpg other.jpg --model {MODEL}": "none of missing.jpg, other.jpg is there",
    f"batch {PHOTOS} --to OUT --model table_recognition": "another of PaddleX's pipelines",
    f"verify X --source {MODEL} --photos missing": "there are no images at",
    f"verify X --source Mask-RT-DETR-s --photos {PHOTOS}": "did you mean Mask-RT-DETR-S",
}


@pytest.mark.parametrize("command", WRONG)
def test_what_is_wrong_is_found_before_anything_is_installed(command: str, tmp_path: Path) -> None:
    done = run([package for extra in ALL for package in PACKAGES[extra]], command, tmp_path)
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
    assert WRONG[command] in done.stderr
    assert "pip install" not in done.stderr


def test_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert install_line("gateway", "convert") == 'pip install "maskserve[convert,gateway]"'
    assert install_line("") == "pip install maskserve"
    assert extra_of("uvicorn.config") == "gateway"
    assert extra_of("numpy") == ""
    for package in ("openvino", "onnxruntime"):
        assert missing_packages("local") == []  # any engine will do
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Exception, match=r'this needs \w+: pip install "maskserve\[local\]"'):
        need("this", "local")


def test_a_damaged_package_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "uvicorn").mkdir()
    (tmp_path / "uvicorn" / "__init__.py").write_text("import no_such_part\n")
    # Port 0: the suite's own gateway may listen on the default one.
    line = [sys.executable, "-m", "maskserve", "gateway", "--url", "grpc://127.0.0.1:9", "--model", "x", "--port", "0"]
    done = subprocess.run(
        line, capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)}, cwd=ROOT, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith("maskserve: a package is missing or damaged (No module named 'no_such_part')")
