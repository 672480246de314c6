"""Whatever an answer's JSON and tensors claim, a client gets a result or a `MaskserveError`, in little memory."""

from __future__ import annotations

import copy
import json
import random
import struct
import tracemalloc
from typing import Any

import pytest
from tests.client.conftest import FakeTransport, make_answer
from tests.client.transport.hostile import IMAGE, good_answer, strings
from tests.examples import examples

from maskserve import contract
from maskserve.errors import InferenceFailed, MaskserveError
from maskserve.pipeline import Pipeline
from maskserve.transport.connect import open_transport
from maskserve.transport.endpoint import parse_url
from maskserve.transport.http_exchange import HttpAnswer
from maskserve.transport.http_tensors import read_object, read_tensors
from maskserve.transport.wire import Tensor, read_answer

CONFIG = json.dumps({"name": "tiny", "parameters": {contract.PARAMETER_LABELS: {"string_value": "[]"}}}).encode()


def tensors_with(name: str, data: bytes, shape: tuple[int, ...]) -> list[Tensor]:
    kept = [tensor for tensor in make_answer([(0, 0.5, (0.0, 0.0, 8.0, 6.0))], (30, 40)) if tensor.name != name]
    datatype = {contract.MASKS: "BYTES", contract.IMAGE_SIZE: "INT32"}[name]
    return [*kept, Tensor(name, datatype, shape, data)]


def test_run_lengths_of_gigabytes() -> None:
    """Twelve bytes of text may stand for a mask of 8 GB; the window says how many pixels it has."""
    for text in (b"PPPPPP?", b"_____1" * 2, b"n" * 30, b"0" * 5_000_000):
        tracemalloc.start()
        with pytest.raises(InferenceFailed, match="mask 0"):
            read_answer(tensors_with(contract.MASKS, strings(text), (1,)), ())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 30 << 20


def test_more_strings_than_announced() -> None:
    tensors = tensors_with(contract.MASKS, bytes(20_000_000), (1,))
    tracemalloc.start()
    with pytest.raises(InferenceFailed, match="does not hold the 1 strings"):
        read_answer(tensors, ())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def use(tensors: list[Tensor]) -> None:
    """Do with an answer what programs do."""
    transport = FakeTransport()
    transport.respond = lambda _: tensors
    (result,) = Pipeline("tiny", transport).predict(IMAGE)
    json.dumps(result.to_dict(), allow_nan=False)
    for mask in result.instances.masks:
        if mask.size[0] * mask.size[1] < 1_000_000:
            mask.decode()
    _ = result["masks"] if result.instances.image_size == (30, 40) else None


VALUES: list[Any] = [
    *(0, -1, 1, 2**31, 2**63, -(2**63), 10**30, 1.5, float("nan"), float("inf"), True, None, "", "3", "BYTES", "FP32"),
    *([], {}, [[]], [1, [2]], {"a": 1}, "x" * 1000, [0] * 100, "\ud800", "9" * 5000),
]


def mutated(source: random.Random, document: Any, data: bytes) -> tuple[bytes, bytes]:
    """A good answer with a few changes: values of the JSON, its text, numbers and bytes of the tensors."""
    document = json.loads(json.dumps(document))
    for _ in range(source.choice((0, 0, 1, 2))):
        place = document
        while True:
            key = source.choice(list(place) if isinstance(place, dict) else list(range(len(place))))
            if isinstance(place[key], dict | list) and place[key] and source.random() < 0.8:
                place = place[key]
                continue
            place[key] = copy.deepcopy(source.choice(VALUES))
            break
    text, content = bytearray(json.dumps(document).encode()), bytearray(data)
    for target, share in ((text, 0.2), (content, 0.7)):
        while source.random() < share and target:
            position, kind = source.randrange(len(target)), source.randrange(6)
            if kind == 0:
                target[position] ^= 1 << source.randrange(8)
            elif kind == 1:
                target[position] = source.randrange(256)
            elif kind == 2:
                del target[position : position + source.randrange(1, 20)]
            elif kind == 3:
                target[position:position] = target[: source.randrange(1, 20)]
            elif kind == 4 and target is content:
                value = source.choice((0, -1, 2**31 - 1, -(2**31), 46_340, 1 << 20))
                target[position - position % 4 : position - position % 4 + 4] = struct.pack("<i", value)
            elif target is content:
                number = source.choice((float("nan"), float("inf"), -1e30, 3e38, 1e-40))
                target[position - position % 4 : position - position % 4 + 4] = struct.pack("<f", number)
    return bytes(text), bytes(content)


def test_mutations_of_an_answer() -> None:
    source, outcomes, rounds = random.Random(15), {"result": 0, "error": 0}, examples(5000)
    document, data = good_answer()
    for _ in range(rounds):
        text, content = mutated(source, document, data)
        length = source.choice((len(text),) * 8 + (0, len(text) + 1, len(text) - 1, None))
        try:
            use(read_tensors(HttpAnswer(200, text + content, length)))
            outcomes["result"] += 1
        except MaskserveError as error:
            assert len(error.message) < 5000
            outcomes["error"] += 1
    assert min(outcomes.values()) > rounds // 10, outcomes


def test_mutations_of_the_other_answers() -> None:
    """The configuration, and the repository index: what reads them raises nothing else either."""
    source = random.Random(16)
    config = json.loads(CONFIG)
    index = [{"name": "tiny", "version": "1", "state": "READY"}, {"name": "b", "state": "UNAVAILABLE", "reason": "x"}]
    for _ in range(examples(1000)):
        answers = [mutated(source, document, b"")[0] for document in (config, index)]
        for name in ("tiny", "instance_segmentation"):
            transport = _Answering(*answers)
            try:
                Pipeline(name, transport).labels  # noqa: B018 - a property that asks
            except MaskserveError as error:
                assert len(error.message) < 5000


class _Answering(FakeTransport):
    def __init__(self, config: bytes, index: bytes) -> None:
        super().__init__()
        self._answers = {"config": config, "index": index}

    def model_config(self, model: str) -> dict[str, Any]:
        return read_object(self._answers["config"])

    def models(self) -> Any:
        http_transport: Any = open_transport(parse_url("http://127.0.0.1:1"))
        http_transport._call = lambda *_, **__: HttpAnswer(200, self._answers["index"])
        return http_transport.models()
