"""Further flags for tritonserver: those that would take away what we start, watch and stop it by are refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from maskserve.errors import ToolError

_PLACES = "where it listens is said by --host, --http-port, --grpc-port and --metrics-port"
_MODELS = "what it serves is said by REPOSITORY and --model"
_LOG = "its log is read to tell what happens; --verbose shows all of it"
_STOP = "it is stopped and watched in a way of its own"
_CLOSED = "the test requests need what it closes"
_TLS = "the test requests and the addresses that are told would not fit; put a proxy in front of it"
_REFUSED = {
    **dict.fromkeys(("http-port", "grpc-port", "metrics-port", "http-address", "grpc-address"), _PLACES),
    **dict.fromkeys(("metrics-address", "reuse-http-port", "reuse-grpc-port"), _PLACES),
    **dict.fromkeys(("allow-http", "allow-grpc", "allow-metrics"), _PLACES),
    **dict.fromkeys(("model-repository", "model-store", "model-control-mode", "load-model"), _MODELS),
    **dict.fromkeys(("repository-poll-secs", "model-namespacing", "startup-models"), _MODELS),
    **dict.fromkeys(("exit-on-error", "exit-timeout-secs", "strict-readiness", "id", "backend-directory"), _STOP),
    **dict.fromkeys(("disable-auto-complete-config", "strict-model-config", "help", "version"), _STOP),
    **dict.fromkeys(("log-file", "log-format", "log-info", "log-warning", "log-error"), _LOG),
    **dict.fromkeys(("http-restricted-api", "grpc-restricted-protocol"), _CLOSED),
    **dict.fromkeys(("grpc-use-ssl", "grpc-use-ssl-mutual"), _TLS),
}
_OURS_OF_PYTHON = ("shm-region-prefix-name", "stub-timeout-seconds")


def check_options(options: Sequence[str]) -> None:
    """Refuse what would break the control over the server.

    Raises:
        ToolError: such a flag, or the short form of one, or a word that is neither a flag nor follows one.
    """
    if options and not options[0].startswith("--"):
        raise ToolError(f"{options[0]!r} is not a flag of tritonserver: behind -- they are written as --name=value")
    for name, value in _flags(options):
        flag = name if name in _REFUSED else next((flag for flag in _REFUSED if name and flag.startswith(name)), None)
        if flag is not None:
            raise ToolError(f"--{flag} cannot be passed on to tritonserver: {_REFUSED[flag]}")
        for setting in _OURS_OF_PYTHON:
            if name == "backend-config" and setting in value:
                raise ToolError(f"--backend-config=python,{setting} cannot be passed on to tritonserver: {_STOP}")


def _flags(options: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each flag with its value, which may be the next word."""
    for position, word in enumerate(options):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            following = options[position + 1] if position + 1 < len(options) else ""
            yield name, value if equals else ("" if following.startswith("--") else following)
        elif word.startswith("-"):
            raise ToolError(f"{word!r} is not a flag of tritonserver: they are written as --name=value")
