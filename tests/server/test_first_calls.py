"""The first images may come in several threads at once: what an engine's bindings do once must not be done by all."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.conftest import ROOT

# Each thread makes the calls that `infer` makes for each input and output. Switching often makes the threads meet:
# without the module's care OpenVINO 2026.2 hung in 11 of 12 such programs.
CALLS = """
import sys, threading
import numpy as np
{imports}

sys.setswitchinterval(1e-6)
together = threading.Barrier(8)

def call():
    together.wait()
    {calls}

threads = [threading.Thread(target=call, daemon=True) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
OPENVINO = {
    "imports": "import openvino\nimport maskserve_server.engines.openvino",
    "calls": "openvino.Type.f32.to_dtype(); openvino.Tensor(np.zeros(1, np.float32), shared_memory=True).data",
}
ONNXRUNTIME = {
    "imports": """
import onnx
import maskserve_server.engines.onnxruntime
import onnxruntime
float_, helper = onnx.TensorProto.FLOAT, onnx.helper
ends = [helper.make_tensor_value_info(name, float_, [1]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
""",
    "calls": "session.run(None, {'x': np.zeros(1, np.float32)})",
}


@pytest.mark.parametrize(
    ("package", "program"), [("openvino", OPENVINO), ("onnxruntime", ONNXRUNTIME)], ids=["openvino", "onnxruntime"]
)
def test_threads_that_call_first_at_the_same_time_all_go_on(package: str, program: dict[str, str]) -> None:
    pytest.importorskip(package)
    pytest.importorskip("onnx")
    for _ in range(3):
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", CALLS.format(**program)], cwd=ROOT, check=True, timeout=120
        )
