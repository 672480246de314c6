import ast
import subprocess
import sys
from pathlib import Path

import pytest

import maskserve

HEAVY = ("grpc", "tritonclient", "paddle", "onnx", "pandas", "matplotlib", "cv2", "PIL", "numpy")


def loaded_after(code):
    program = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_importing_loads_nothing_heavy():
    assert not loaded_after("import maskserve").intersection(HEAVY)


def test_a_pipeline_over_http_needs_no_grpc():
    loaded = loaded_after("import maskserve; maskserve.create_pipeline('m', url='http://localhost:1')")
    assert not loaded.intersection({"grpc", "tritonclient", "paddle", "onnx", "pandas", "matplotlib"})


def test_all_is_sorted_and_complete():
    assert maskserve.__all__ == sorted(maskserve.__all__)
    exported = {name: getattr(maskserve, name) for name in maskserve.__all__}
    assert all(value.__name__ == name for name, value in exported.items())
    assert set(maskserve.__all__) <= set(dir(maskserve))


def test_type_checkers_see_what_is_exported():
    tree = ast.parse(Path(maskserve.__file__).read_text(encoding="utf-8"))
    imported = [alias.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(name for name in imported if name) == maskserve.__all__


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        maskserve.nonsense  # noqa: B018
