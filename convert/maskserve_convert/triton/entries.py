"""The repository entries of a converted model: configurations through Triton's schema, adapters, descriptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from tritonclient.grpc import model_config_pb2 as schema

from maskserve import contract
from maskserve_convert.triton.repository import LABELS_FILE, PROVENANCE, VERSION, Entry
from maskserve_convert.triton.sizing import Wanted, write
from maskserve_server import spec as server_spec
from maskserve_server.admission.ticket import ADMISSION, LENGTH
from maskserve_server.entry_parameters import BY_THE_CORES, INSTANCES
from maskserve_server.spec import ModelSpec
from maskserve_server.stages import CORE_THRESHOLD, IM_SHAPE, IMAGE_TENSOR, SCALE_FACTOR


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
# What the first step gives a request on its way.
TICKET: Tensors = {ADMISSION: TensorType("INT64", (LENGTH,))}
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
    """Return the entries of a model whose core runs in the python backend.

    Args:
        spec: the model.
        core_outputs: the tensors at the cut.
        core_files: the files of the core, to be moved into its version directory.
        layout: "ensemble" (a step each for preprocessing, core and postprocessing) or "single".
        provenance: the text of the provenance file.
    """
    moved = {f"{VERSION}/{path.name}": path for path in core_files}
    if layout == "single":
        config = _in_one_process(_python(spec.name, REQUEST, ANSWER))
        return [Entry(_public(config, spec), {**_texts("single", spec, provenance), **_labels(spec)}, moved)]
    feeds = _feeds(spec)
    available = {**feeds, CORE_THRESHOLD: REQUEST[contract.THRESHOLD]}
    to_core = {**{_request_name(name): available[name] for name in spec.core.inputs}, **TICKET}
    name = contract.step_name(spec.name, contract.CORE)
    core = Entry(_python(name, to_core, core_outputs), _texts(contract.CORE, spec, provenance), moved)
    prepared = REQUEST, {**feeds, **_pick(ANSWER, contract.IMAGE_SIZE), **TICKET}
    return _around(spec, core, prepared, (to_core, core_outputs), provenance)


def build_around(
    spec: ModelSpec, core_outputs: Tensors, core: Entry, *, provenance: str, instances: int | None
) -> list[Entry]:
    """Return the entries of a model whose core runs in another backend.

    Such a core cannot know the threshold of a request that names none: where it reads one, the preprocessing hands
    it one.

    Args:
        spec: the model.
        core_outputs: the tensors at the cut, with a batch dimension of 1 where they have one.
        core: the core's entry, called `contract.step_name(spec.name, contract.CORE)`.
        provenance: the text of the provenance file.
        instances: how many requests the preprocessing and the postprocessing answer at the same time; None leaves it to
            whoever starts a server.
    """
    feeds = dict(_feeds(spec))
    if CORE_THRESHOLD in spec.core.inputs:
        feeds[CORE_THRESHOLD] = TensorType("FP32", (1, 1))
    prepared = REQUEST, {**feeds, **_pick(ANSWER, contract.IMAGE_SIZE), **TICKET}
    made = _around(spec, core, prepared, (_pick(feeds, *spec.core.inputs), core_outputs), provenance)
    for entry in made:
        if instances is not None and entry.config.backend == "python":
            write(entry.config, Wanted(instances))
    return made


def _around(spec: ModelSpec, core: Entry, prepared: Step, computed: Step, provenance: str) -> list[Entry]:
    """Return the core's entry with the other steps before and behind it, and the ensemble of them."""
    to_postprocess = {
        **computed[1],
        **_pick(_feeds(spec), SCALE_FACTOR),
        **_pick(ANSWER, contract.IMAGE_SIZE),
        **_pick(REQUEST, contract.THRESHOLD, contract.CLASS_IDS),
        **TICKET,
    }
    steps = {contract.PREPROCESS: prepared, contract.CORE: computed, contract.POSTPROCESS: (to_postprocess, ANSWER)}
    entries = [
        core
        if step == contract.CORE
        else Entry(_step(step, contract.step_name(spec.name, step), tensors), _texts(step, spec, provenance))
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
    """Return the inputs of a core: one that reads the threshold gets the request's own."""
    return contract.THRESHOLD if tensor == CORE_THRESHOLD else tensor


def _pick(tensors: Tensors, *names: str) -> dict[str, TensorType]:
    return {name: tensors[name] for name in names}


def _texts(step: str, spec: ModelSpec, provenance: str) -> dict[str, str]:
    adapter = files("maskserve_server.adapters").joinpath(f"{step}.py").read_text(encoding="utf-8")
    return {
        f"{VERSION}/model.py": adapter,
        f"{VERSION}/{server_spec.FILE_NAME}": spec.to_json(),
        PROVENANCE: provenance,
    }


def _labels(spec: ModelSpec) -> dict[str, str]:
    """Return Triton's own list of labels, one a line: what would break a line becomes a space."""
    return {LABELS_FILE: "".join(f"{' '.join(label.splitlines())}\n" for label in spec.labels)}


def _step(step: str, name: str, tensors: Step) -> schema.ModelConfig:
    config = _python(name, *tensors)
    return _in_one_process(config) if step == contract.PREPROCESS else config


def _python(name: str, inputs: Tensors, outputs: Tensors) -> schema.ModelConfig:
    """Return a Python-backend entry; requests carry one image, so there is no batch dimension.

    How many instances there are is not said: see `maskserve_convert.triton.sizing`.
    """
    config = schema.ModelConfig(name=name, backend="python", max_batch_size=0)
    declare(config, inputs, outputs)
    config.instance_group.add(kind=schema.ModelInstanceGroup.KIND_CPU)
    return config


def _in_one_process(config: schema.ModelConfig) -> schema.ModelConfig:
    """Return the configuration of what takes requests in: it has one queue, and so one process."""
    config.instance_group[0].count = 1
    config.parameters[INSTANCES].string_value = BY_THE_CORES
    return config


def _ensemble(name: str, steps: Mapping[str, Step]) -> schema.ModelConfig:
    """Chain the steps; every tensor keeps its name from the step that makes it to the step that reads it.

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
            if step == contract.POSTPROCESS:
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
    """Return a tensor's type by Triton's schema."""
    return int(schema.DataType.Value(f"TYPE_{tensor.dtype}"))


def _public(config: schema.ModelConfig, spec: ModelSpec) -> schema.ModelConfig:
    """Return what clients read from the entry that they call."""
    for key, value in spec.parameters().items():
        config.parameters[key].string_value = value
    next(output for output in config.output if output.name == contract.LABELS).label_filename = LABELS_FILE
    return config
