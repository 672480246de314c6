"""The repository entries of a converted model: configurations through Triton's schema, adapters, descriptions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from tritonclient.grpc import model_config_pb2 as schema

from maskserve import contract
from maskserve_server import spec as server_spec
from maskserve_server.spec import ModelSpec
from maskserve_server.stages import CORE_THRESHOLD, IM_SHAPE, IMAGE_TENSOR, SCALE_FACTOR
from maskserve_tools.converting.repository import PROVENANCE, VERSION, Entry

LABELS_FILE = "labels.txt"


@dataclass(frozen=True, slots=True)
class TensorType:
    """A tensor as a configuration declares it."""

    dtype: str
    dims: tuple[int, ...]
    optional: bool = False


Tensors = Mapping[str, TensorType]
Step = tuple[Tensors, Tensors]  # what it reads, and what it makes

REQUEST: Tensors = {
    contract.IMAGE: TensorType("STRING", (1,)),
    contract.THRESHOLD: TensorType("FP32", (1,), optional=True),
    contract.CLASS_IDS: TensorType("INT32", (-1,), optional=True),
}
ANSWER: Tensors = {
    contract.BOXES: TensorType("FP32", (-1, 4)),
    contract.SCORES: TensorType("FP32", (-1,)),
    contract.LABELS: TensorType("INT32", (-1,)),
    contract.MASKS: TensorType("STRING", (-1,)),
    contract.MASK_BOXES: TensorType("INT32", (-1, 4)),
    contract.IMAGE_SIZE: TensorType("INT32", (2,)),
}


def build(
    spec: ModelSpec, core_outputs: Tensors, core_files: Sequence[Path], *, layout: str, provenance: str
) -> list[Entry]:
    """The entries of a model whose core runs in the python backend.

    Args:
        spec: the model.
        core_outputs: the tensors at the cut.
        core_files: the files of the core, to be moved into its version directory.
        layout: "ensemble" (a step each for preprocessing, core and postprocessing) or "single".
        provenance: the text of the provenance file.
    """
    moved = {f"{VERSION}/{path.name}": path for path in core_files}
    if layout == "single":
        config = _python(spec.name, REQUEST, ANSWER)
        return [Entry(_public(config, spec), {**_texts("single", spec, provenance), **_labels(spec)}, moved)]
    feeds = _feeds(spec)
    available = {**feeds, CORE_THRESHOLD: REQUEST[contract.THRESHOLD]}
    to_core = {_request_name(name): available[name] for name in spec.core.inputs}
    name = step_name(spec, "core")
    core = Entry(_python(name, to_core, core_outputs), _texts("core", spec, provenance), moved)
    prepared = _pick(REQUEST, contract.IMAGE), {**feeds, **_pick(ANSWER, contract.IMAGE_SIZE)}
    return _around(spec, core, prepared, (to_core, core_outputs), provenance)


def build_around(
    spec: ModelSpec, core_outputs: Tensors, core: Entry, *, provenance: str, instances: int
) -> list[Entry]:
    """The entries of a model whose core runs in another backend.

    Such a core cannot know the threshold of a request that names none: where it reads one, the preprocessing hands
    it one.

    Args:
        spec: the model.
        core_outputs: the tensors at the cut, with a batch dimension of 1 where they have one.
        core: the core's entry, called `step_name(spec, "core")`.
        provenance: the text of the provenance file.
        instances: how many processes the preprocessing and the postprocessing have each.
    """
    feeds, wanted = dict(_feeds(spec)), [contract.IMAGE]
    if CORE_THRESHOLD in spec.core.inputs:
        feeds[CORE_THRESHOLD] = TensorType("FP32", (1, 1))
        wanted.append(contract.THRESHOLD)
    prepared = _pick(REQUEST, *wanted), {**feeds, **_pick(ANSWER, contract.IMAGE_SIZE)}
    made = _around(spec, core, prepared, (_pick(feeds, *spec.core.inputs), core_outputs), provenance)
    for entry in made:
        if entry.config.backend == "python":
            entry.config.instance_group[0].count = instances
    return made


def step_name(spec: ModelSpec, step: str) -> str:
    """What a step's entry is called."""
    return f"{spec.name}.{step}"


def _around(spec: ModelSpec, core: Entry, prepared: Step, computed: Step, provenance: str) -> list[Entry]:
    """The core's entry with the other steps before and behind it, and the ensemble of them."""
    to_postprocess = {
        **computed[1],
        **_pick(_feeds(spec), SCALE_FACTOR),
        **_pick(ANSWER, contract.IMAGE_SIZE),
        **_pick(REQUEST, contract.THRESHOLD, contract.CLASS_IDS),
    }
    steps = {"preprocess": prepared, "core": computed, "postprocess": (to_postprocess, ANSWER)}
    entries = [
        core if step == "core" else Entry(_python(step_name(spec, step), *tensors), _texts(step, spec, provenance))
        for step, tensors in steps.items()
    ]
    ensemble = _public(_ensemble(spec.name, steps), spec)
    return [*entries, Entry(ensemble, {PROVENANCE: provenance, **_labels(spec), f"{VERSION}/.keep": ""})]


def _feeds(spec: ModelSpec) -> Tensors:
    return {
        IMAGE_TENSOR: TensorType("FP32", (1, *spec.core.image_shape)),
        IM_SHAPE: TensorType("FP32", (1, 2)),
        SCALE_FACTOR: TensorType("FP32", (1, 2)),
    }


def _request_name(tensor: str) -> str:
    """A core that reads the threshold is handed the request's own."""
    return contract.THRESHOLD if tensor == CORE_THRESHOLD else tensor


def _pick(tensors: Tensors, *names: str) -> dict[str, TensorType]:
    return {name: tensors[name] for name in names}


def _texts(step: str, spec: ModelSpec, provenance: str) -> dict[str, str]:
    adapter = files("maskserve_server.adapters").joinpath(f"{step}.py").read_text()
    return {
        f"{VERSION}/model.py": adapter,
        f"{VERSION}/{server_spec.FILE_NAME}": spec.to_json(),
        PROVENANCE: provenance,
    }


def _labels(spec: ModelSpec) -> dict[str, str]:
    return {LABELS_FILE: "".join(f"{label}\n" for label in spec.labels)}


def _python(name: str, inputs: Tensors, outputs: Tensors) -> schema.ModelConfig:
    """A Python-backend entry; requests carry one image, so there is no batch dimension."""
    config = schema.ModelConfig(name=name, backend="python", max_batch_size=0)
    declare(config, inputs, outputs)
    config.instance_group.add(count=1, kind=schema.ModelInstanceGroup.KIND_CPU)
    return config


def _ensemble(name: str, steps: Mapping[str, Step]) -> schema.ModelConfig:
    """Chains the steps; every tensor keeps its name from the step that makes it to the step that reads it.

    IMAGE_SIZE leaves the preprocessing and the postprocessing, so the first one's goes by a name of its own. Triton
    refuses an ensemble in which a step's output goes nowhere: what no step reads is not mapped.
    """
    config = schema.ModelConfig(name=name, platform="ensemble", max_batch_size=0)
    declare(config, REQUEST, ANSWER)
    read = {tensor for inputs, _ in steps.values() for tensor in inputs}
    for step, (inputs, outputs) in steps.items():
        entry = config.ensemble_scheduling.step.add(model_name=f"{name}.{step}", model_version=-1)
        for tensor in inputs:
            entry.input_map[tensor] = _between(tensor)
        for tensor in outputs:
            if step == "postprocess":
                entry.output_map[tensor] = tensor
            elif tensor in read:
                entry.output_map[tensor] = _between(tensor)
    return config


def _between(tensor: str) -> str:
    return f"original_{tensor}" if tensor == contract.IMAGE_SIZE else tensor


def declare(config: schema.ModelConfig, inputs: Tensors, outputs: Tensors) -> None:
    """Declare a model's inputs and outputs."""
    for name, tensor in inputs.items():
        config.input.add(name=name, data_type=dtype(tensor), dims=tensor.dims, optional=tensor.optional)
    for name, tensor in outputs.items():
        config.output.add(name=name, data_type=dtype(tensor), dims=tensor.dims)


def dtype(tensor: TensorType) -> int:
    """A tensor's type by Triton's schema."""
    return int(schema.DataType.Value(f"TYPE_{tensor.dtype}"))


def _public(config: schema.ModelConfig, spec: ModelSpec) -> schema.ModelConfig:
    """What clients read from the entry that they call."""
    values = {
        contract.PARAMETER_CONTRACT: str(contract.VERSION),
        contract.PARAMETER_LABELS: json.dumps(spec.labels, ensure_ascii=False),
        contract.PARAMETER_DRAW_THRESHOLD: repr(spec.draw_threshold),
    }
    for key, value in values.items():
        config.parameters[key].string_value = value
    next(output for output in config.output if output.name == contract.LABELS).label_filename = LABELS_FILE
    return config
