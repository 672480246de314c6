"""What the cores for Triton's containers answer, by ONNX Runtime: in batches, in a fixed shape and in float16."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from maskserve_convert.onnx import batching
from maskserve_convert.onnx.batching import Arrays, OnnxCore, why_not_batched
from tests.convert.conftest import needs_paddle
from tests.convert.containers.conftest import Made, declared_in_onnx


@needs_paddle
@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_batch_of_the_demo_model_is_its_photos_one_by_one(size: int, made: Callable[[str], Made]) -> None:
    _check_batch(made("gpu"), size)


@needs_paddle
@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("name", ["tiny-Mask-RT-DETR-320", "tiny-PP-YOLOE_seg-320"])
def test_a_batch_is_its_photos_one_by_one(name: str, size: int, tiny: Callable[..., Made]) -> None:
    _check_batch(tiny(name, "gpu"), size)


def _check_batch(made: Made, size: int) -> None:
    assert made.config(".core").max_batch_size >= size
    core, images = OnnxCore(made.onnx_file), made.images()[:size]
    single = [core(image) for image in images]
    together = core({name: np.concatenate([image[name] for image in images]) for name in core.signature.inputs})
    for name, batch in together.items():
        apart = np.concatenate([answer[name] for answer in single])
        assert len(batch) == size
        assert size == 1 or not np.allclose(apart[0], apart[1]), "the images do not differ"
        np.testing.assert_allclose(batch, apart, rtol=1e-4, atol=1e-4 * float(np.abs(apart).max()))


@needs_paddle
def test_openvino_gets_a_core_of_one_image_that_answers_the_same(made: Callable[[str], Made]) -> None:
    import openvino

    fixed, open_batch = made("openvino"), made("gpu")
    model = openvino.Core().read_model(fixed.onnx_file)
    assert not any(port.partial_shape.is_dynamic for port in (*model.inputs, *model.outputs))
    for image in fixed.images()[:2]:
        expected = OnnxCore(open_batch.onnx_file)(image)
        for name, answer in OnnxCore(fixed.onnx_file)(image).items():
            np.testing.assert_allclose(answer, expected[name], atol=1e-4 * float(np.abs(expected[name]).max()))


@needs_paddle
def test_a_core_whose_answers_depend_on_the_batch_is_found_out(
    made: Callable[[str], Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    core, images = OnnxCore(made("gpu").onnx_file), made("gpu").images()
    assert why_not_batched(core, images) is None

    def first_for_all(self: OnnxCore, arrays: Arrays) -> dict[str, np.ndarray]:
        answer = run(self, arrays)
        return {name: np.broadcast_to(array[:1], array.shape) for name, array in answer.items()}

    run = OnnxCore.__call__
    monkeypatch.setattr(OnnxCore, "__call__", first_for_all)
    assert "is not that of the images one by one" in str(why_not_batched(core, images))


@needs_paddle
def test_the_graph_for_tensorrt_is_in_fp16_with_float32_at_its_ends(made: Callable[[str], Made]) -> None:
    """On ONNX Runtime's CPU it answers as in fp32: scores within 0.005, boxes within 1 px, logits within 3 %."""
    import onnx
    from onnx import TensorProto

    half = onnx.load(str(made("tensorrt").onnx_file))
    kinds = {value.type.tensor_type.elem_type for value in (*half.graph.input, *half.graph.output)}
    assert kinds == {TensorProto.FLOAT}
    kernels = {node.input[1] for node in half.graph.node if node.op_type == "Conv"}
    stored = {one.name: one.data_type for one in half.graph.initializer}
    assert len(kernels) > 50 and {stored[name] for name in kernels} == {TensorProto.FLOAT16}
    expected, found = OnnxCore(made("gpu").onnx_file), OnnxCore(made("tensorrt").onnx_file)
    for arrays in made("gpu").images():
        before, after = expected(arrays), found(arrays)
        best = before["detections"][0, 0], after["detections"][0, 0]
        assert best[0][0] == best[1][0] and abs(best[0][1] - best[1][1]) < 0.005
        np.testing.assert_allclose(best[1][2:], best[0][2:], atol=1)
        logits = before["mask_logits"][0, 0]
        assert np.abs(logits - after["mask_logits"][0, 0]).max() < 0.03 * np.abs(logits).max()


def test_shapes_are_written_where_they_are_open(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the convert extra")
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 2])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", "n"])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    path = tmp_path / "core.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    signature = OnnxCore(path).signature
    batching.write_shapes(path, signature)
    assert declared_in_onnx(path) == signature
    assert signature.outputs["y"].dims == (-1, 2)
    batching.fix_batch(path, ["y"])
    assert OnnxCore(path).signature.outputs["y"].dims == (1, 2)
