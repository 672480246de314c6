"""The whole of `maskserve tune`: read the entry, search, report, write the best setup into the entry."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from maskserve import contract
from maskserve.decoding.decoders import OwnProcess
from maskserve.errors import InputError, ToolError
from maskserve.temporary import owned_folder
from maskserve_convert.choices import LAYOUTS
from maskserve_convert.triton import entries, repository
from maskserve_server.cpus import usable_cpus
from maskserve_server.engine_table import engine_called
from maskserve_server.engines import load_engine
from maskserve_server.spec import Queue
from maskserve_server.stages import Core, Inputs, Preprocess
from maskserve_tools.tune.entry import TunedEntry
from maskserve_tools.tune.load import Turn
from maskserve_tools.tune.record import Record, alone_in
from maskserve_tools.tune.report import Findings
from maskserve_tools.tune.search import Search
from maskserve_tools.tune.setups import Setup, choose
from maskserve_tools.tune.trial import Trial, free_memory, groups, trial

_IMAGES = 32


@dataclass(frozen=True, slots=True)
class Plan:
    """What `maskserve tune` is asked for.

    Attributes:
        name: the model.
        repository: where its entry is.
        photos: files of images.
        folder: where turns and reports are kept.
        latency: seconds that the p95 may take; None for any.
        precisions: those to choose among; () for the entry's own.
        clients: numbers of clients.
        seconds: of one turn for one number of clients.
        turns: how often a setup is measured at most.
        exhaustive: whether nothing is dropped early.
        write: whether the entry is changed.
        report: called with a line for each step.
    """

    name: str
    repository: Path
    photos: Sequence[Path]
    folder: Path
    latency: float | None = None
    precisions: Sequence[str] = ()
    clients: Sequence[int] = (1, 4)
    seconds: float = 4.0
    turns: int = 4
    exhaustive: bool = False
    write: bool = True
    report: Callable[[str], None] = field(default=lambda line: None)


def tune(plan: Plan) -> tuple[Findings, bool]:
    """Measure the setups of a model, and write the best one into its entry.

    Returns:
        What was found, and whether the entry was changed.

    Raises:
        ToolError: the entry cannot be tuned, no image can be read, or nothing can be written.
    """
    cpus = usable_cpus()
    entry = TunedEntry.read(plan.repository, plan.name, cpus=cpus)
    if plan.write:
        repository.check_place(plan.repository, plan.name)
    with alone_in(plan.folder):
        return _tune(plan, entry, cpus)


def _tune(plan: Plan, entry: TunedEntry, cpus: int) -> tuple[Findings, bool]:
    most, queue = max(plan.clients), entry.spec.queue
    if most > queue.size:
        plan.report(f"{plan.name} refuses more than {queue.size} requests at once (convert --queue), in the tests none")
    images = _images(plan, entry)
    outputs = _outputs(entry, images[0], cpus)
    own, shown = _engines(entry, plan.precisions)
    record = Record(plan.folder, _conditions(plan, entry, images, cpus, engines={name for name, _ in own + shown}))
    core_bytes = sum(path.stat().st_size for path in entry.core_files if path.is_file())

    @contextmanager
    def served(setups: Sequence[Setup]) -> Iterator[_Measures]:
        with trial(entry, setups, outputs, cpus=cpus, clients=most) as running:
            yield _Measures(running, images, plan)

    search = Search(
        current=entry.setup,
        engines=own,
        shown=shown,
        layouts=LAYOUTS,
        cpus=cpus,
        clients=plan.clients,
        turns=plan.turns,
        exhaustive=plan.exhaustive,
        serve=served,
        groups=lambda setups: groups(setups, entry.setup, core_bytes, free_memory()),
        record=record,
        report=plan.report,
    )
    left = search.run()
    everything = record.figures(record.setups)
    choice = choose(record.figures(left), entry.setup, latency=plan.latency)
    findings = Findings(
        plan.name, f"{cpu_name()}, {cpus} CPUs", len(images), everything, entry.setup, choice, plan.latency
    )
    findings.write(plan.folder)
    changed = plan.write and choice.within and choice.figures.setup != entry.setup
    if changed:
        write_setup(entry, choice.figures.setup, outputs, cpus=cpus)
    return findings, changed


def write_setup(entry: TunedEntry, setup: Setup, outputs: entries.Tensors, *, cpus: int) -> None:
    """Write an entry anew, for another setup."""
    with owned_folder("tune") as owned:
        made = entry.build(setup, outputs, owned.path, name=entry.spec.name, cpus=cpus)
        repository.write(entry.home, entry.spec.name, made)


class _Measures:
    """See `search.Measures`."""

    def __init__(self, running: Trial, images: Sequence[bytes], plan: Plan) -> None:
        self.problems = dict(running.problems)
        self._running, self._images, self._plan = running, images, plan

    def turn(self, setup: Setup) -> dict[int, Turn]:
        """See `search.Measures`."""
        return self._running.turn(setup, self._images, self._plan.clients, self._plan.seconds)

    def memory(self, setup: Setup) -> int:
        """See `search.Measures`."""
        return self._running.memory(setup)


def _images(plan: Plan, entry: TunedEntry) -> list[bytes]:
    """Return the contents of up to 32 images, from all over the folder, that the model can read."""
    step = max(1, len(plan.photos) / _IMAGES)
    chosen = [plan.photos[int(number * step)] for number in range(min(_IMAGES, len(plan.photos)))]
    decoder, images = OwnProcess(entry.spec.limits), []
    for path in chosen:
        try:
            content = path.read_bytes()
            decoder.decode(content)
        except (OSError, InputError) as error:
            plan.report(f"{path} is left out: {error}")
        else:
            images.append(content)
    if not images:
        raise ToolError("none of the images can be read: choose others with --photos")
    return images


def _outputs(entry: TunedEntry, image: bytes, cpus: int) -> entries.Tensors:
    """Run the core once: its outputs' types are in no file of every layout."""
    encoded = np.empty(1, np.object_)
    encoded[0] = image
    inputs: Inputs = {contract.IMAGE: encoded, contract.THRESHOLD: None, contract.CLASS_IDS: None}
    prepared = {**inputs, **Preprocess(entry.spec, OwnProcess(entry.spec.limits))(inputs)}
    with entry.opened.unchanged():
        core = Core.on(entry.spec, load_engine(entry.spec.core, entry.directory, threads=cpus))
    return entry.output_types(core, prepared)


def _engines(entry: TunedEntry, wanted: Sequence[str]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the engines and precisions to choose among, and those to show only: answers must not change unasked.

    Raises:
        ToolError: a precision is asked for that no engine computes in here.
    """
    possible = entry.engines()
    precisions = wanted or (entry.setup.precision,)
    for precision in precisions:
        if precision not in {known for _, known in possible}:
            raise ToolError(f"no engine here computes {entry.spec.name} in {precision} on this CPU")
    own = [pair for pair in possible if pair[1] in precisions]
    others = [pair for pair in possible if pair not in own]
    # a lower precision than the one that the core was made for; a core made for a lower one is not raised
    shown = [pair for pair in others if pair[1] != "fp32"] if entry.setup.precision == "fp32" else []
    return own, shown


def _conditions(
    plan: Plan, entry: TunedEntry, images: Sequence[bytes], cpus: int, engines: Collection[str]
) -> dict[str, object]:
    """Return what turns must have in common to be compared.

    The model's description counts, as decoding and thresholds are in it; not its queue, which is measured anew whenever
    it is converted.
    """
    digest = hashlib.sha256(repr(replace(entry.spec, queue=Queue())).encode())
    for content in (*images, *(path.read_bytes() for path in entry.core_files if path.is_file())):
        digest.update(hashlib.sha256(content).digest())
    packages = {"maskserve", *(engine_called(name).package for name in engines)}
    return {
        "model": plan.name,
        "current": str(entry.setup),
        "files": digest.hexdigest(),
        "machine": f"{cpu_name()}, {cpus} CPUs",
        "clients": list(plan.clients),
        "seconds": plan.seconds,
        "versions": {package: version(package) for package in sorted(packages)},
    }


def cpu_name(info: Path = Path("/proc/cpuinfo")) -> str:
    """Return what the CPU calls itself."""
    try:
        lines = info.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    found = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return found or os.uname().machine
