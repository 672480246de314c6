"""Making a core for Triton's containers: the backend asked for, or for "auto" the first that takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from maskserve.errors import ToolError
from maskserve_convert.cores import Core, Report, is_full, make_core, words_of
from maskserve_convert.paddle.damage import DamagedFile
from maskserve_convert.recognised import RecognisedModel
from maskserve_convert.triton.backends import MODEL_FILE
from maskserve_convert.triton.container_core import ContainerCore, container_core
from maskserve_convert.triton.targets import Container
from maskserve_server.engine_table import FP32, INT8
from maskserve_server.spec import ModelSpec

MadeForContainer = tuple[Container, Core, ModelSpec, ContainerCore]


def make_for_container(
    containers: Sequence[Container], recognised: RecognisedModel, scratch: Path, report: Report
) -> MadeForContainer:
    """Make the core for the first container that takes it; it is checked on this machine's CPU, as far as that goes.

    Args:
        containers: what may run it, the best first; several where no engine was asked for.
        recognised: the model.
        scratch: a directory to work in; the core's files are left there.
        report: called with a line for each step.

    Returns:
        The container, the core, what its steps are told, and its entry.

    Raises:
        ToolError: none of them takes it; the message says why.
    """
    failures = list[str]()
    for container in containers:
        try:
            made = _make(container, recognised, _room(scratch, container), report)
        except DamagedFile:
            raise  # no backend can help
        except Exception as error:  # engines raise what they like
            if is_full(error):
                raise
            if len(containers) == 1:
                raise _refusal(container, error) from error
            failures.append(f"{container.backend} cannot run it: {words_of(error)}")
            report(failures[-1])
            continue
        core = replace(made[1], reason="; ".join([*failures, container.reason]))
        return container, core, *made[2:]
    raise ToolError(f"no engine can run this model for {containers[0].target}: {'; '.join(failures)}")


def _make(container: Container, recognised: RecognisedModel, scratch: Path, report: Report) -> MadeForContainer:
    int8 = container.precision == INT8  # the others are what the container makes of a core in float
    exact = container.exact and not int8
    checked = make_core(recognised, scratch, container.backend, INT8 if int8 else FP32, report, exact=exact)
    core = replace(checked, precision=container.precision)
    spec = recognised.spec(core.engine, core.precision, core.seconds_per_image)
    spec = replace(spec, core=replace(spec.core, file=MODEL_FILE))
    if container.on_gpu:
        report(f"looking whether {container.backend} can batch the core")
    return container, core, spec, container_core(spec, container, core.files[0], scratch)


def _refusal(container: Container, error: Exception) -> ToolError:
    if isinstance(error, ToolError):
        return error
    return ToolError(f"the core cannot be made for {container.backend} in {container.target}: {words_of(error)}")


def _room(scratch: Path, container: Container) -> Path:
    """Return a directory of its own for each backend: making an entry changes the core's file."""
    room = scratch / container.backend
    room.mkdir()
    return room
