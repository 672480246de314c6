"""The network's two definitions and the decoder."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore")  # Paddle's own, from within


@pytest.fixture
def paddle(needs: Callable[[str], ModuleType]) -> ModuleType:
    return needs("paddle")


def test_both_definitions_give_the_same_answers(paddle: ModuleType, needs: Callable[[str], ModuleType]) -> None:
    torch = needs("torch")
    from maskserve_demo import network, transfer, twin

    torch.manual_seed(0)
    trained, shipped = twin.PeopleNet(), network.PeopleNet()
    for module in trained.modules():  # statistics that would show if they were mixed up
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    trained.fix_backbone()
    transfer.transfer(trained.state_dict(), shipped)
    trained.eval()
    shipped.eval()
    image = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    with torch.no_grad():
        expected = trained(torch.from_numpy(image))
    found = shipped(paddle.to_tensor(image))
    shapes = [(2, 84, 1), (2, 84, 4), (2, 84, 233), (2, 16, 16, 16)]
    for one, two, shape in zip(expected, found, shapes, strict=True):
        assert tuple(two.shape) == shape
        np.testing.assert_allclose(one.numpy(), two.numpy(), atol=1e-4)


def test_masks_are_painted_alike_in_training_and_serving(
    paddle: ModuleType, needs: Callable[[str], ModuleType]
) -> None:
    torch = needs("torch")
    from maskserve_demo import decode, layout, losses

    rng = np.random.default_rng(0)
    kernels = rng.normal(size=(1, 3, layout.KERNEL)).astype(np.float32)
    features = rng.normal(size=(1, layout.MASK_FEATURES, 16, 16)).astype(np.float32)
    boxes = np.array([[[0.1, 0.2, 0.5, 0.9], [0, 0, 1, 1], [0.4, 0.4, 0.6, 0.5]]], np.float32)
    served = decode.Decoder(64).paint(*(paddle.to_tensor(v) for v in (kernels, boxes, features))).numpy()
    spread = torch.from_numpy(features).expand(3, -1, -1, -1)
    taught = losses.paint(torch.from_numpy(kernels[0]), torch.from_numpy(boxes[0]), spread).numpy()
    np.testing.assert_allclose(served[0].reshape(3, 16, 16), taught, rtol=1e-3, atol=1e-3)


def test_parallel_suppression_is_greedy_suppression(paddle: ModuleType) -> None:
    from maskserve_demo import decode

    # Each overlaps its neighbours only: greedy keeps every other one.
    chain = np.zeros((1, 5, 5), np.float32)
    for i in range(4):
        chain[0, i, i + 1] = chain[0, i + 1, i] = 0.9
    kept = decode.survivors(paddle.to_tensor(chain), 0.5, decode.earlier_rows(5))
    assert kept.numpy().tolist() == [[1, 0, 1, 0, 1]]


def test_exported_layer_keeps_the_interface(paddle: ModuleType) -> None:
    from maskserve_demo import decode, network

    model = decode.Exported(network.PeopleNet())
    model.eval()
    sizes = paddle.full([2, 2], 384.0)
    image = paddle.zeros([2, 3, 384, 384])
    scale = paddle.to_tensor([[384 / 40, 384 / 60], [384 / 40, 384 / 60]])
    rows, counts, masks = (output.numpy() for output in model(sizes, image, scale))
    people = decode.PEOPLE
    assert rows.shape == (2 * people, 6)
    assert counts.tolist() == [people, people]
    assert masks.shape == (2 * people, 40, 60)
    assert masks.dtype == np.int32
    scores = rows[:people, 1]
    assert (scores[:-1] >= scores[1:]).all()
    assert (rows[:, 2:] >= 0).all()
    assert (rows[:, [2, 4]] <= 60).all()
    assert (rows[:, [3, 5]] <= 40).all()
