"""What a running server exposes: published vulnerabilities, open APIs, plain text, requests without a limit."""

from __future__ import annotations

import ipaddress
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from http.client import HTTPException

from maskserve.decoding.limits import DEFAULT_MAX_BYTES
from maskserve.transport.endpoint import LOOPBACK, Endpoint
from maskserve_tools.doctor.advisories import HTTP_SIZE_LIMIT, SAFE_RELEASE, Version, advisories_for, parse_version
from maskserve_tools.doctor.finding import Finding, ok, problem, warning
from maskserve_tools.doctor.port_checks import Address
from maskserve_tools.doctor.probe import LOGGING, METADATA, REPOSITORY, SHARED_MEMORY, TRACE, Outcome, Probe, Question

_POWERS = {
    REPOSITORY: "they list the models, and with --model-control-mode=explicit load code of their own",
    SHARED_MEMORY: "they let the server map any shared memory of its machine, and read and write there",
    TRACE: "they switch tracing on and choose the file that it writes to",
    LOGGING: "they silence the log or choose the file that it is written to",
}
_CRITICAL = 9.0


def is_local(endpoint: Endpoint) -> bool:
    """Return whether the server is asked over a loopback address."""
    with suppress(ValueError):
        return ipaddress.ip_address(endpoint.host).is_loopback
    return endpoint.host in LOOPBACK


def server_version(probe: Probe) -> Version | None:
    """Return the version that the server tells, where it does."""
    content = probe.ask(METADATA).content
    return parse_version(str(content.get("version", ""))) if isinstance(content, dict) else None


def check_holes(version: Version | None, *, only_local: bool) -> Finding:
    """Check whether the server's version has published vulnerabilities.

    Args:
        version: the server's; None where it did not tell.
        only_local: whether nobody but programs on its machine reaches it.
    """
    if version is None:
        fix = f"see the log of its start; {SAFE_RELEASE} or newer has none that maskserve knows of"
        return ok(f"it does not tell its version ({fix})")
    name, open_ones = ".".join(map(str, version)), advisories_for(version)
    if not open_ones:
        return ok(f"Triton {name} has no published vulnerability that this maskserve knows of")
    worst = [f"{a.holes[0]} ({a.what}; fixed in {a.release})" for a in open_ones if a.score >= _CRITICAL]
    count = sum(len(advisory.holes) for advisory in open_ones)
    what = f"Triton {name} has {count} published vulnerabilities"
    why = "among them " + "; ".join(worst or [f"{a.holes[0]} ({a.what}; fixed in {a.release})" for a in open_ones])
    fix = f"the official container, {SAFE_RELEASE} or newer"
    if only_local:
        return warning(what, f"{why}. Only programs on its machine reach it", f"{fix}; until then keep it on loopback")
    return problem(what, why, fix)


def check_apis(probe: Probe, endpoint: Endpoint) -> list[Finding]:
    """Check whether the APIs that are for operators answer without a key. Nothing is changed by asking."""
    return [_api_finding(probe, endpoint, question) for question in _POWERS]


def _api_finding(probe: Probe, endpoint: Endpoint, question: Question) -> Finding:
    protocol = "gRPC" if endpoint.scheme.startswith("grpc") else "HTTP"
    outcome = probe.ask(question).outcome
    if outcome is Outcome.REFUSED:
        return ok(f"the {question.api} API requires a key over {protocol}")
    if outcome is not Outcome.ANSWERED:
        return ok(f"the {question.api} API does not answer over {protocol}")
    flag = "--grpc-restricted-protocol" if protocol == "gRPC" else "--http-restricted-api"
    what = f"the {question.api} API answers over {protocol} without a key"
    why = f"everybody who reaches the server can use it: {_POWERS[question]}"
    return warning(what, why, f"start tritonserver with {flag}={question.api}:NAME=SECRET")


def check_addresses(endpoint: Endpoint, listening: Iterable[Address]) -> list[Finding]:
    """Check whether a server on this machine can be reached from others.

    Args:
        endpoint: the server.
        listening: the addresses at which this machine listens at its port.
    """
    addresses = set(listening)
    if not is_local(endpoint) or not addresses:
        return []
    where = ", ".join(sorted(map(str, addresses)))
    if all(address.is_loopback for address in addresses):
        return [ok(f"it listens on {where}, so only programs on this machine reach it")]
    protocol = "grpc" if endpoint.scheme.startswith("grpc") else "http"
    why = "other machines reach it, as far as no firewall is in between"
    fix = f"--{protocol}-address=127.0.0.1, or in Docker -p 127.0.0.1:{endpoint.port}:{endpoint.port}"
    return [warning(f"it listens on {where}", why, fix)]


def check_encryption(endpoint: Endpoint) -> Finding:
    """Check whether what goes over a network is encrypted."""
    if endpoint.scheme in ("grpcs", "https"):
        return ok("the connection is encrypted")
    if is_local(endpoint):
        return ok("the connection is not encrypted, and does not leave this machine")
    why = "images, results and keys can be read and changed on their way"
    fix = "--grpc-use-ssl with a certificate; for HTTP, which Triton has no TLS for, a proxy such as docker/envoy.yaml"
    return warning(f"{endpoint.url} is not encrypted", why, fix)


def check_request_size(version: Version | None, endpoint: Endpoint) -> Finding:
    """Check whether the size of a request is limited."""
    limit = f"{DEFAULT_MAX_BYTES >> 20} MiB"
    if endpoint.scheme.startswith("grpc"):
        return ok(f"requests over gRPC may have 2 GiB; the models refuse images of more than {limit} each")
    if version is None or version >= HTTP_SIZE_LIMIT:
        return ok("the size of HTTP requests is limited: 64 MiB, or what --http-max-input-size says")
    why = "the server takes whatever is sent into its memory before a model can refuse it"
    fix = f"a limit in a proxy in front of it, or Triton {SAFE_RELEASE} or newer (--http-max-input-size)"
    return warning("HTTP requests may be of any size", why, fix)


def check_metrics(url: str, models: Iterable[str], *, only_local: bool, timeout: float) -> Finding:
    """Check whether there are metrics to watch, and whether they are for everybody.

    Args:
        url: where Triton usually has them, or where they are said to be.
        models: the server's models, to know its metrics from another's.
        only_local: whether the server is asked over a loopback address.
        timeout: in seconds.
    """
    names = list(models)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout) as response:
            text = response.read(16 << 20).decode("utf-8", "replace")
    except (OSError, ValueError, HTTPException) as error:
        why = f"nobody sees how busy it is, nor how many requests fail ({getattr(error, 'reason', error)})"
        return warning(f"no metrics at {url}", why, "tell with --metrics-url where they are, or --allow-metrics=true")
    if names and not any(f'model="{name}"' in text for name in names):
        return warning(
            f"the metrics at {url} are not this server's", "it may have none", "name them with --metrics-url"
        )
    if only_local:
        return ok(f"metrics at {url}")
    why = "everybody who reaches them learns the models' names, their errors and how busy they are"
    return warning(f"metrics at {url} are open", why, "--metrics-address=127.0.0.1, or a firewall")
