"""Let a running server load what was converted: our own through its control socket, others through Triton's API."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote

from maskserve.errors import ToolError
from maskserve.transport.endpoint import Endpoint, parse_url
from maskserve.transport.grpc_channel import GrpcChannel
from maskserve.transport.http_exchange import HttpExchange
from maskserve.transport.http_tensors import error_text
from maskserve_tools.doctor.probe import METADATA, Outcome, open_probe
from maskserve_tools.embedded.control import ask_to_reload, socket_of

_KEY_HEADER = "maskserve-admin-key"
_KEY_VARIABLE = "MASKSERVE_ADMIN_KEY"
_MOST_TEXT = 2000  # bytes of an answer that may become words of an error
_OURS = "maskserve-"  # what embedded servers call themselves begins so


def find_server(url: str) -> tuple[Endpoint, Path | None]:
    """Make sure that a server answers, and find the control socket of one of ours.

    Raises:
        InvalidParameter: the URL is none.
        ToolError: no server answers there, or it is one of ours that cannot be asked from here.
    """
    endpoint = parse_url(url)
    probe = open_probe(endpoint)
    try:
        reply = probe.ask(METADATA)
    finally:
        probe.close()
    if reply.outcome is not Outcome.ANSWERED:
        raise ToolError(f"--reload: no server answers at {url} ({reply.text or reply.outcome.value})")
    identity = str(reply.content.get("name", "")) if isinstance(reply.content, dict) else ""
    path = socket_of(identity)
    if path is None and identity.startswith(_OURS):
        raise ToolError(
            f"--reload: the server at {url} was started on another machine or by another user, and only its own may let"
            " it load models. Convert there, or restart it"
        )
    return endpoint, path


def let_load(url: str, repository: Path, name: str, entries: Sequence[str], *, timeout: float) -> None:
    """Let the server at `url` load a converted model, and wait until it answers.

    Args:
        url: the server.
        repository: where the model was written to.
        name: what clients call it.
        entries: the names of its entries.
        timeout: seconds that it may take.

    Raises:
        ToolError: it did not load it, and why.
    """
    endpoint, path = find_server(url)
    if path is None:
        _load_in_triton(endpoint, name, entries, timeout)
        return
    told = ask_to_reload(path, timeout=timeout)
    broken = [entry for entry in told.broken if entry.name == name or entry.name.startswith(f"{name}.")]
    if broken:
        goes_on = f"; it goes on with {name} as it was before" if name in told.kept else ""
        raise ToolError(f"the server at {url} did not load it: {'; '.join(map(str, broken))}{goes_on}")
    if name not in told.loaded:
        raise ToolError(
            f"the server at {url} has found nothing new: does it serve {repository}, and was it started for all models"
            " of it (without --model)?"
        )


def _load_in_triton(endpoint: Endpoint, name: str, entries: Sequence[str], timeout: float) -> None:
    """Exchange a model in a server with explicit model control: out as a whole, then in, its steps first."""
    ask = _over_grpc if endpoint.scheme.startswith("grpc") else _over_http
    steps = [entry for entry in entries if entry != name]
    for action, entry in [("unload", name), *(("load", step) for step in steps), ("load", name)]:
        failure = ask(endpoint, entry, action, timeout)
        if failure is None or (action == "unload" and "not allowed" not in failure and "restricted" not in failure):
            continue  # a model that was not loaded need not be unloaded
        if "not allowed" in failure:
            raise ToolError(
                f"the server at {endpoint.url} loads no models while it runs (--model-control-mode=explicit would let"
                " it): restart it"
            )
        key = f". {_KEY_VARIABLE} holds the key, if it requires one" if "restricted" in failure else ""
        raise ToolError(f"the server at {endpoint.url} did not {action} {entry}: {failure}{key}")


def _over_http(endpoint: Endpoint, entry: str, action: str, timeout: float) -> str | None:
    """Return the reason why it did not work; None where it did."""
    key = os.environ.get(_KEY_VARIABLE)
    headers = {"Content-Type": "application/json", **({_KEY_HEADER: key} if key else {})}
    path = f"/v2/repository/models/{quote(entry, safe='')}/{action}"
    try:
        with closing(HttpExchange(replace(endpoint, timeout=timeout, connect_timeout=timeout))) as exchange:
            answer = exchange.send("POST", path, b"{}", headers)
    except (OSError, HTTPException) as error:
        return str(error)
    if answer.status == HTTPStatus.OK:
        return None
    if answer.status == HTTPStatus.FORBIDDEN:
        return f"restricted: {answer.content[:_MOST_TEXT].decode('utf-8', 'replace')}"
    return error_text(answer.content, most=_MOST_TEXT)


def _over_grpc(endpoint: Endpoint, entry: str, action: str, timeout: float) -> str | None:
    """Return the reason why it did not work; None where it did."""
    import grpc
    from tritonclient.grpc import service_pb2

    key = os.environ.get(_KEY_VARIABLE)
    headers = {f"triton-grpc-protocol-{_KEY_HEADER}": key} if key else {}
    call = f"RepositoryModel{action.capitalize()}"
    with closing(GrpcChannel(replace(endpoint, timeout=timeout))) as channel:
        try:
            channel.call(call, getattr(service_pb2, f"{call}Request")(model_name=entry), headers)
        except grpc.RpcError as error:
            return str(error.details())
    return None
