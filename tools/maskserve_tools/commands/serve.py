"""`maskserve serve`: run the embedded server until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from maskserve.errors import ToolError

if TYPE_CHECKING:
    from typing import NoReturn

    from maskserve_tools.serving import Server
    from maskserve_tools.serving.gateway import GatewayProcess

_POLL = 0.5


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "serve",
        help="run the embedded tritonserver on a model repository",
        description="Run the tritonserver of the nvidia-pytriton wheel on a model repository, until Ctrl-C."
        " For development and trusted networks: it is an old release with published vulnerabilities.",
    )
    parser.add_argument("repository", nargs="?", default="model_repository", metavar="REPOSITORY", type=Path)
    for name, default in (("http", 8000), ("grpc", 8001), ("metrics", 8002)):
        help_text = f"port to listen on, or auto for a free one (default {default})"
        parser.add_argument(f"--{name}-port", type=port, default=default, metavar="N", help=help_text)
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="address to listen on (default 127.0.0.1)")
    parser.add_argument(
        "--model", action="append", dest="models", metavar="NAME", help="serve only this model; may be repeated"
    )
    parser.add_argument(
        "--ready-timeout", type=float, default=120.0, metavar="S", help="seconds the models have to get ready"
    )
    parser.add_argument(
        "--http-api",
        type=address,
        metavar="[HOST:]PORT",
        help="run the REST service for the model there, too (`maskserve gateway` has more options)",
    )
    parser.add_argument("--verbose", action="store_true", help="show all of Triton's log, not only its problems")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal asks to stop.

    Raises:
        ToolError: the server could not be started, or ended by itself.
    """
    try:
        listen_to_signals()
        from maskserve_tools.serving import serve
        from maskserve_tools.serving.gateway import GatewayProcess

        say(f"maskserve: starting tritonserver on {args.repository}")
        with serve(
            args.repository,
            http_port=args.http_port,
            grpc_port=args.grpc_port,
            metrics_port=args.metrics_port,
            host=args.host,
            models=args.models,
            ready_timeout=args.ready_timeout,
            verbose=args.verbose,
        ) as server:
            _announce(server, args.host)
            if args.http_api is None:
                _wait(server)
            host, number = args.http_api
            with GatewayProcess(server.grpc_url, server.models, host=host, port=number) as gateway:
                _wait(server, gateway)
    except KeyboardInterrupt:
        say("maskserve: stopped")
    return 0


def listen_to_signals() -> None:
    """Let each signal that asks to stop do so in the same way, as KeyboardInterrupt."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, signal.default_int_handler)


def _announce(server: Server, host: str) -> None:
    from maskserve_tools.serving.ports import is_loopback, resolve_host
    from maskserve_tools.serving.triton_wheel import RELEASE

    say(f"maskserve: ready, every model answered. Models: {', '.join(server.models)}")
    for name, url in (("gRPC", server.grpc_url), ("HTTP", server.http_url), ("metrics", server.metrics_url)):
        say(f"  {name:<8} {url}")
    say(f"This is tritonserver {RELEASE}: an old release with published vulnerabilities,")
    say("for development and trusted networks only.")
    if not is_loopback(resolve_host(host)):
        say(f"WARNING: with --host {host} it can be reached from outside this machine. That is at your own risk.")
    say("Ctrl-C stops it.")


def _wait(server: Server, gateway: GatewayProcess | None = None) -> NoReturn:
    while (code := server.wait(_POLL)) is None:
        if gateway is not None and gateway.exit_code is not None:
            raise ToolError(f"the REST service ended by itself (exit code {gateway.exit_code})")
    raise ToolError(f"tritonserver ended by itself (exit code {code}):{server.log_tail()}")


def port(text: str) -> int:
    """A port on the command line; auto is 0, a free one."""
    if text == "auto":
        return 0
    if text.isascii() and text.isdigit() and int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port: 1 to 65535, or auto for a free one")


def address(text: str) -> tuple[str, int]:
    """A port, or a host and a port, on the command line."""
    host, _, number = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", port(number)


def say(line: str) -> None:
    """Tell the person at the terminal, at once."""
    print(line, file=sys.stdout, flush=True)
