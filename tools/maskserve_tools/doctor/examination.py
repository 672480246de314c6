"""All checks in order: of a machine, of a repository, of a server."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from maskserve.errors import ServerError, ToolError
from maskserve.transport.base import ServedModel, Transport
from maskserve.transport.connect import open_transport
from maskserve.transport.endpoint import Endpoint
from maskserve_tools.doctor import capacity, configurations, exposure, files, labels, passes
from maskserve_tools.doctor import model_answers as health
from maskserve_tools.doctor import port_checks as ports
from maskserve_tools.doctor import python_environment as environment
from maskserve_tools.doctor.finding import Finding, Level, ok, unknown
from maskserve_tools.doctor.machine import Machine
from maskserve_tools.doctor.probe import REPOSITORY, Outcome, Probe, open_probe
from maskserve_tools.doctor.read_entries import ReadRepository, read_entries
from maskserve_tools.doctor.workload import as_started

_STATUS_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Section:
    """The findings on one subject.

    Attributes:
        title: "machine", "repository", "server" or "gateway".
        findings: in the order of the checks.
    """

    title: str
    findings: Sequence[Finding]


def examine_machine(repository: ReadRepository | None, machine: Machine, *, ports_matter: bool) -> Section:
    """Look at this machine, as far as `repository` needs it.

    Args:
        repository: what is to be served; None for nothing.
        machine: what the kernel says of it.
        ports_matter: whether a server is still to be started.
    """
    entries = as_started(repository.entries if repository else (), machine.usable_cores)
    findings = [environment.check_python(), environment.check_numpy(), environment.check_opencv()]
    findings.append(environment.check_embedded_server())
    findings += [*environment.check_engines(entries), *environment.check_painting()]
    findings += environment.check_backends(entries)
    if entries:
        findings += [capacity.check_shared_memory(entries, machine), capacity.check_memory(entries, machine)]
    findings += [*capacity.check_cores(entries, machine), *capacity.check_precision(entries, machine)]
    findings += [capacity.check_processor(entries, machine), capacity.check_gpu(entries, machine)]
    findings.append(capacity.check_open_files(machine))
    return Section("machine", [*findings, *(ports.check_ports() if ports_matter else [])])


def read_or_say(path: Path) -> tuple[ReadRepository | None, Section]:
    """Read a repository and look at it; where there is none, that is the finding."""
    try:
        repository = read_entries(path)
    except ToolError as error:
        fix = f"`maskserve convert PADDLE_DIR --repository {shlex.quote(str(path))}` makes one"
        return None, Section("repository", [unknown(error.message, "nothing in it could be looked at", fix)])
    return repository, examine_repository(repository)


def examine_repository(repository: ReadRepository) -> Section:
    """Look at the entries of a repository."""
    entries = repository.entries
    findings = [
        *repository.findings,
        *configurations.check_names(entries),
        *configurations.check_steps(entries),
        *configurations.check_conversions(entries),
        *files.check_versions(entries),
        *files.check_files(entries),
        *files.check_digests(entries),
        *configurations.check_contract(entries),
        *configurations.check_converter(entries),
        *configurations.check_warm_up(entries),
        *configurations.check_parameters(entries),
    ]
    findings = findings or [ok(f"{len(entries)} entries in {repository.path}, and what each needs is there")]
    told = [*labels.check_labels(entries), *passes.show_passes(entries), *configurations.check_foreign(entries)]
    return Section("repository", [*findings, *told])


def examine_server(endpoint: Endpoint, models: Sequence[str], metrics_url: str | None, timeout: float) -> Section:
    """Look at a running server, without changing anything there.

    Args:
        endpoint: where it is.
        models: the models to try; none for all that it lists.
        metrics_url: where its metrics are; None for the usual port.
        timeout: how many seconds a model has for a test image.
    """
    patience = min(timeout, _STATUS_TIMEOUT)
    probe = open_probe(replace(endpoint, timeout=patience, connect_timeout=patience))
    transport = open_transport(replace(endpoint, timeout=timeout, shared_memory=False))
    try:
        reachable = health.check_reachable(probe, endpoint.url)
        if reachable.level is Level.UNKNOWN:
            return Section("server", [reachable])
        findings = [reachable, health.check_ready(probe)]
        served, of_models = _examine_models(probe, transport, models)
        findings += [*of_models, *_examine_exposure(probe, endpoint)]
        metrics = metrics_url or f"http://{_host(endpoint)}:{ports.USUAL['metrics']}/metrics"
        local = exposure.is_local(endpoint)
        findings.append(exposure.check_metrics(metrics, served, only_local=local, timeout=_STATUS_TIMEOUT))
        return Section("server", findings)
    finally:
        transport.close()
        probe.close()


def _examine_models(probe: Probe, transport: Transport, models: Sequence[str]) -> tuple[list[str], list[Finding]]:
    """Return the names of the server's models, and the findings about them."""
    served: Sequence[ServedModel] = ()
    findings = list[Finding]()
    if probe.ask(REPOSITORY).outcome is Outcome.ANSWERED:
        try:
            served = transport.models()
            findings += health.check_loaded(served)
        except ServerError as error:
            findings.append(unknown("the list of its models cannot be read", error.message, "see its log"))
    elif not models:
        findings.append(health.hidden_models())
    names = list(models) or health.models_to_try(served)
    return [model.name for model in served] or names, [
        *findings, *(health.check_answers(transport, name) for name in names)
    ]  # fmt: skip


def _examine_exposure(probe: Probe, endpoint: Endpoint) -> list[Finding]:
    listening = ports.listening_addresses(endpoint.port)
    addresses = exposure.check_addresses(endpoint, listening)
    only_local = bool(addresses) and all(finding.level is Level.OK for finding in addresses)
    version = exposure.server_version(probe)
    return [
        exposure.check_holes(version, only_local=only_local),
        *addresses,
        exposure.check_encryption(endpoint),
        *exposure.check_apis(probe, endpoint),
        exposure.check_request_size(version, endpoint),
    ]


def _host(endpoint: Endpoint) -> str:
    return f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
