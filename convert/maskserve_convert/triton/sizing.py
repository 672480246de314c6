"""How many instances a model has, and how many threads each: as its entries say, or by the cores that it is run on.

An entry says it in Triton's own terms: the `count` of its instance group, and the parameter that its backend takes for
threads. `convert` writes neither unless it is asked to. Who starts a server fills in what is missing, in the
configurations that the server reads, never in the repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tritonclient.grpc import model_config_pb2 as schema

from maskserve import contract
from maskserve.errors import ToolError
from maskserve_server.engine_table import Backend, backend_called
from maskserve_server.entry_parameters import BY_THE_CORES, INSTANCES, THREADS

# The threads of an instance where nothing is said: with more, each adds little to one image.
_THREADS = 4
_KIND_GPU = schema.ModelInstanceGroup.KIND_GPU


@dataclass(frozen=True, slots=True)
class Sizing:
    """How a core is run.

    Attributes:
        instances: how many images it computes at the same time.
        threads: how many threads compute each.
    """

    instances: int
    threads: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for; None leaves it to the cores.

    Attributes:
        instances: see `Sizing`.
        threads: see `Sizing`.
    """

    instances: int | None = None
    threads: int | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Wanted:
        """Return what the variables MASKSERVE_INSTANCES and MASKSERVE_THREADS ask a container for.

        Raises:
            ToolError: one of them is no number.
        """
        found = []
        for name in ("MASKSERVE_INSTANCES", "MASKSERVE_THREADS"):
            text = environment.get(name, "")
            if text and not (text.isascii() and text.isdigit() and int(text)):
                raise ToolError(f"{name}={text!r} must be a whole number from 1 on")
            found.append(int(text) if text else None)
        return cls(*found)

    def on(self, cores: int) -> Sizing:
        """Return what that is on a machine: one instance for every four cores, and the cores shared out."""
        instances = self.instances or max(1, cores // (self.threads or _THREADS))
        return Sizing(instances, self.threads or max(1, cores // instances))

    def over(self, other: Wanted) -> Wanted:
        """Return this, and `other` where this asks for nothing."""
        return Wanted(self.instances or other.instances, self.threads or other.threads)


def size_model(name: str, configs: Mapping[str, schema.ModelConfig], cores: int, asked: Wanted | None = None) -> None:
    """Write into a model's configurations how it is run on a CPU. What `convert` did not write stays as it is.

    Args:
        name: the model that clients call.
        configs: the configurations of its repository by the names of the entries; they are changed.
        cores: what it is run on.
        asked: what comes before what the entries say.

    Raises:
        ToolError: an entry says something that is no number.
    """
    core = core_of(name, configs)
    if core is None or runs_on_gpu(core):
        return
    sizing = (asked or Wanted()).over(wanted(core)).on(cores)
    write(core, Wanted(sizing.instances, sizing.threads))
    steps = {step: configs.get(contract.step_name(name, step)) for step in (contract.PREPROCESS, contract.POSTPROCESS)}
    for step in steps.values():
        if step is not None and step is not core and wanted(step).instances is None:
            write(step, Wanted(-(-sizing.instances // 2)))  # decoding and painting take less than half as long


def core_of(name: str, configs: Mapping[str, schema.ModelConfig]) -> schema.ModelConfig | None:
    """Return the configuration that the network of a model runs by; None for a model that is not ours."""
    config = configs.get(name)
    if config is None or contract.PARAMETER_CONTRACT not in config.parameters:
        return None
    return configs.get(contract.step_name(name, contract.CORE)) if config.platform == "ensemble" else config


def runs_on_gpu(config: schema.ModelConfig) -> bool:
    """Return whether an entry insists on a GPU."""
    return any(group.kind == _KIND_GPU for group in config.instance_group)


def wanted(config: schema.ModelConfig) -> Wanted:
    """Return what an entry says.

    Raises:
        ToolError: it says something that is no number.
    """
    count = sum(group.count for group in config.instance_group)
    if INSTANCES in config.parameters:  # one process, whatever is computed at the same time
        instances = _number(config, INSTANCES) or (count if count > 1 else None)
    else:
        instances = count or None
    backend = backend_called(config.backend)
    threads = _number(config, THREADS if backend is None else backend.threads)
    if threads is not None and instances and backend is not None and backend.streams:
        threads = max(1, threads // instances)
    return Wanted(instances, threads)


def write(config: schema.ModelConfig, size: Wanted) -> None:
    """Write into the configuration of one entry what is asked for.

    Args:
        config: it; what was written there before is replaced.
        size: what to write; None leaves what is there.
    """
    if size.instances is not None:
        if INSTANCES in config.parameters:
            config.parameters[INSTANCES].string_value = str(size.instances)
        _set_count(config, 1 if INSTANCES in config.parameters else size.instances)
    backend = backend_called(config.backend)
    if backend is not None and backend.streams:
        _share(config, backend, size)
    elif size.threads is not None:
        config.parameters[THREADS if backend is None else backend.threads].string_value = str(size.threads)


def _share(config: schema.ModelConfig, backend: Backend, size: Wanted) -> None:
    """Write the threads of all instances together, and into how many streams they are divided."""
    if size.instances is not None:
        config.parameters[backend.streams].string_value = str(size.instances)
    if size.threads is not None:
        config.parameters[backend.threads].string_value = str(size.threads * (wanted(config).instances or 1))


def _set_count(config: schema.ModelConfig, count: int) -> None:
    kind = config.instance_group[0].kind if config.instance_group else schema.ModelInstanceGroup.KIND_CPU
    del config.instance_group[1:]
    group = config.instance_group[0] if config.instance_group else config.instance_group.add(kind=kind)
    group.count = count


def _number(config: schema.ModelConfig, key: str) -> int | None:
    """Return a parameter's number; None where it leaves it to the cores."""
    text = config.parameters[key].string_value if key in config.parameters else ""
    if text in ("", "0", BY_THE_CORES):
        return None
    if not (text.isascii() and text.isdigit()):
        raise ToolError(
            f"the parameter {key} of {config.name} is {text!r}: it must be a whole number from 1 on, or {BY_THE_CORES}"
        )
    return int(text)
