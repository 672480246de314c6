"""What stays in float, and which clips a quantisation does anyway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="converting needs the convert extra")
ort = pytest.importorskip("onnxruntime", reason="converting needs the convert extra")
pytest.importorskip("onnx_ir", reason="converting needs the convert extra")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from maskserve.errors import ToolError  # noqa: E402
from maskserve_convert.int8.clips import remove_clips  # noqa: E402
from maskserve_convert.int8.joins import find_joins  # noqa: E402
from maskserve_convert.int8.tail import find_tail, name_nodes  # noqa: E402
from maskserve_convert.onnx.model import load, save  # noqa: E402


def graph(nodes: list[Any], constants: dict[str, Any], shape: list[int]) -> Any:
    made = helper.make_graph(
        nodes,
        "core",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_the_tail_is_what_leads_to_no_convolution() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),  # leads to the next convolution
        helper.make_node("Conv", ["b", "k"], ["c"]),  # the last one, which itself is quantised
        helper.make_node("Add", ["c", "b"], ["d"]),
        helper.make_node("MatMul", ["d", "d"], ["y"]),
    ]
    made = graph(nodes, {"k": np.ones((1, 1, 1, 1), np.float32)}, [1, 1, 4, 4]).graph
    name_nodes(made)
    assert find_tail(made) == ["3.Add", "4.MatMul"]


def test_a_subgraph_reads_what_is_around_it() -> None:
    branch = helper.make_graph(
        [helper.make_node("Conv", ["a", "k"], ["z"])],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("If", ["which"], ["y"], then_branch=branch, else_branch=branch),
    ]
    made = graph(nodes, {"which": np.array(True), "k": np.ones((1, 1, 1, 1), np.float32)}, [1, 1, 4, 4]).graph
    name_nodes(made)
    assert "0.Relu" not in find_tail(made)


def quantised_clip(scale: Any, zero: Any, high: float, axis: int = 1) -> Any:
    nodes = [
        helper.make_node("Clip", ["x", "low", "high"], ["a"]),
        helper.make_node("QuantizeLinear", ["a", "scale", "zero"], ["q"], axis=axis),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], axis=axis),
    ]
    constants = {"low": np.float32(0), "high": np.float32(high), "scale": scale, "zero": zero}
    return graph(nodes, constants, [1, 2, 50])


@pytest.mark.parametrize(
    ("scale", "zero", "high", "gone"),
    [
        (np.float32(6 / 255), np.uint8(0), 6.0, True),
        (np.float32(6.00001 / 255), np.uint8(0), 6.0, True),  # a rounding above
        (np.float32(4 / 255), np.uint8(0), 6.0, True),
        (np.float32(7 / 255), np.uint8(0), 6.0, False),
        (np.float32(6 / 255), np.uint8(1), 6.0, False),  # has a number below the clip's
        (np.float32(6 / 127), np.int8(0), 6.0, False),
        (np.array([6 / 255, 3 / 255], np.float32), np.zeros(2, np.uint8), 6.0, True),
        (np.array([6 / 255, 7 / 255], np.float32), np.zeros(2, np.uint8), 6.0, False),
    ],
)
def test_a_clip_goes_only_where_the_answer_stays(
    tmp_path: Path, scale: Any, zero: Any, high: float, gone: bool
) -> None:
    file = tmp_path / "core.onnx"
    onnx.save(quantised_clip(scale, zero, high), str(file))
    x = np.linspace(-3, 12, 100, dtype=np.float32).reshape(1, 2, 50)
    before = run(file, x)
    model = load(file)
    assert remove_clips(model) == int(gone)
    save(model, file)
    assert ("Clip" in [node.op_type for node in onnx.load(str(file)).graph.node]) == (not gone)
    np.testing.assert_allclose(run(file, x), before, atol=0.01 * float(np.max(scale)))


def test_a_clip_that_something_else_reads_stays(tmp_path: Path) -> None:
    made = quantised_clip(np.float32(6 / 255), np.uint8(0), 6.0)
    made.graph.node[2].output[0] = "b"
    made.graph.node.append(helper.make_node("Add", ["a", "b"], ["y"]))
    onnx.save(made, str(tmp_path / "core.onnx"))
    assert remove_clips(load(tmp_path / "core.onnx")) == 0


def run(file: Path, x: Any) -> Any:
    return ort.InferenceSession(str(file), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def two_levels(*boxes: int) -> Any:
    """Return a model that pools as many boxes on each level, joins the levels, and convolves."""
    pool: dict[str, Any] = {"output_height": 4, "output_width": 4}
    nodes = [helper.make_node("Conv", ["x", "k"], ["a"])]
    for level in range(len(boxes)):
        nodes.append(helper.make_node("RoiAlign", ["a", f"boxes{level}", f"image{level}"], [f"pooled{level}"], **pool))
    nodes += [
        helper.make_node("Reshape", ["pooled0", "same"], ["moved0"]),
        helper.make_node("Concat", ["moved0", *(f"pooled{level}" for level in range(1, len(boxes)))], ["all"], axis=0),
        helper.make_node("Gather", ["all", "order"], ["sorted"], axis=0),
        helper.make_node("Conv", ["sorted", "k"], ["y"]),
    ]
    constants = {
        "k": np.ones((1, 1, 1, 1), np.float32),
        "order": np.arange(sum(boxes)),
        "same": np.array([-1, 1, 4, 4]),
    }
    for level, count in enumerate(boxes):
        constants[f"boxes{level}"] = np.tile(np.array([[0, 0, 6, 6]], np.float32), (count, 1))
        constants[f"image{level}"] = np.zeros(count, np.int64)
    made = graph(nodes, constants, [1, 1, 8, 8])
    made.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "boxes"
    name_nodes(made.graph)
    return made


def test_levels_are_not_quantised_before_they_are_joined() -> None:
    made = two_levels(2, 1)
    assert find_joins(made.graph) == ["1.RoiAlign", "2.RoiAlign", "3.Reshape", "4.Concat"]


def test_a_single_level_is_quantised_where_it_is_pooled() -> None:
    nodes = [
        helper.make_node("RoiAlign", ["x", "boxes", "image"], ["a"]),
        helper.make_node("Conv", ["a", "k"], ["b"]),
        helper.make_node("Concat", ["b", "b"], ["y"], axis=0),
    ]
    constants = {"boxes": np.zeros((1, 4), np.float32), "image": np.zeros(1, np.int64), "k": np.ones((1, 1, 1, 1), "f")}
    made = graph(nodes, constants, [1, 1, 4, 4]).graph
    name_nodes(made)
    assert find_joins(made) == []


def quantise_two_levels(*boxes: int) -> list[str]:
    """Return the operations that read 8-bit integers."""
    nncf = pytest.importorskip("nncf", reason="quantising needs nncf: `make int8`")
    from maskserve_convert.int8.process import quantise_model

    image = np.random.default_rng(0).normal(size=(1, 1, 8, 8)).astype(np.float32)
    made = quantise_model(two_levels(*boxes), nncf.Dataset([{"x": image}]), 1).graph
    read = {value for node in made.node if node.op_type == "DequantizeLinear" for value in node.output}
    return [node.name for node in made.node if not read.isdisjoint(node.input)]


def test_a_level_without_boxes_is_no_obstacle() -> None:
    """No image showed anything of that level's size: NNCF found no numbers behind its pooling, and gave up."""
    assert {"0.Conv", "6.Conv"} <= set(quantise_two_levels(2, 0))


def test_images_that_leave_a_part_of_the_network_idle_are_said_to() -> None:
    with pytest.raises(ToolError, match=r"a part of the network never runs.*calibrate on images that show"):
        quantise_two_levels(0, 0)
