"""Whether a running server and each of its models really answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maskserve import contract
from maskserve.errors import MaskserveError, ModelNotReady
from maskserve.transport.base import ServedModel, Transport
from maskserve.transport.errors import entry_points
from maskserve.transport.wire import ImageRequest, check_answer
from maskserve_tools.doctor.finding import Finding, ok, problem, unknown, warning
from maskserve_tools.doctor.probe import LIVE, READY, Outcome, Probe
from maskserve_tools.embedded.canary import SIZE, THRESHOLD, canary_image

# A dead instance takes about half of the requests of a pair: so many in a row find it, all but surely.
_TRIES_PER_INSTANCE = 4


def check_reachable(probe: Probe, url: str) -> Finding:
    """Check whether a server answers there."""
    reply = probe.ask(LIVE)
    if reply.outcome is Outcome.NOBODY:
        fix = "start it (`maskserve serve`), or correct --url: grpc:// is usually port 8001, http:// 8000"
        return unknown(f"no server answers at {url}", reply.text, fix)
    if reply.outcome is Outcome.NO:
        return problem(f"the server at {url} says that it is not alive", reply.text or "no reason", "see its log")
    return ok(f"a server answers at {url}")


def check_ready(probe: Probe) -> Finding:
    """Check whether the server calls itself ready, which is what load balancers go by."""
    reply = probe.ask(READY)
    if reply.outcome is Outcome.ANSWERED:
        return ok("it calls itself ready")
    if reply.outcome is Outcome.REFUSED:
        return ok("it tells only those with a key whether it is ready")
    why = "load balancers send it nothing; a model did not load, or the server is stopping"
    return problem("it calls itself not ready", why, "see the findings on its models, and its log")


def check_loaded(served: Sequence[ServedModel]) -> list[Finding]:
    """Check whether each model in the server's repository is loaded."""
    if not served:
        return [problem("it has no model", "every request fails", "check --model-repository, and its log")]
    silent = "nobody asked for it (--model-control-mode=explicit), or its config.pbtxt cannot be read"
    return [
        problem(f"{model.name} is {model.state}", model.reason or "no reason given", "see its log")
        if model.state
        else warning(f"{model.name} is not loaded", silent, "load it, fix it, or move it out of the repository")
        for model in served
        if model.state != "READY" and model.reason != "unloaded"
    ]


def hidden_models() -> Finding:
    """Return the finding that there is no list of models to try, and none were named."""
    why = "the server keeps its list of models to those with a key, so none was tried"
    return unknown("its models are not known", why, "name them with --model, or name the REPOSITORY that it serves")


def check_answers(transport: Transport, model: str) -> Finding:
    """Check whether a model answers a small image, on each of its instances.

    Triton's own readiness does not notice a stub process that died, nor a model that fails at every request.
    """
    try:
        config = transport.model_config(model)
        if not keeps_contract(config):
            return ok(f"{model} is not one of maskserve's, so not tried")
        tries = _tries(transport, config)
        takes_threshold = any(tensor.get("name") == contract.THRESHOLD for tensor in config.get("input", []))
        request = ImageRequest(canary_image(), threshold=THRESHOLD if takes_threshold else None)
        for _ in range(tries):
            check_answer(transport.infer(model, request), SIZE)
    except ModelNotReady as error:
        fix = "restart the server: Triton does not start a dead process again, and goes on calling the model ready"
        return problem(f"{model} does not answer", error.message, fix)
    except MaskserveError as error:
        return problem(f"{model} fails at a test image", error.message, "see the server's log")
    return ok(f"{model} answered {tries} test image{'s' if tries > 1 else ''}")


def keeps_contract(config: Mapping[str, Any]) -> bool:
    """Return whether a served configuration is that of a model that maskserve's clients call."""
    return contract.PARAMETER_CONTRACT in config.get("parameters", {})


def models_to_try(served: Sequence[ServedModel]) -> list[str]:
    """Return the models that clients call, of those that are loaded."""
    return entry_points([model for model in served if model.state == "READY"])


def _tries(transport: Transport, config: Mapping[str, Any]) -> int:
    steps = config.get("ensemble_scheduling", {}).get("step", [])
    configs = [config, *(transport.model_config(step["model_name"]) for step in steps)]
    most = max(sum(int(group.get("count", 1)) for group in each.get("instance_group", [])) for each in configs)
    return _TRIES_PER_INSTANCE * most if most > 1 else 1
