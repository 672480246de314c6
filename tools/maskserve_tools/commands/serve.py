"""`maskserve serve`: run the embedded server until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from maskserve.errors import InvalidParameter, ToolError
from maskserve_tools.extras import need
from maskserve_tools.options import positive

if TYPE_CHECKING:
    from typing import NoReturn

    from maskserve_tools.embedded import Server
    from maskserve_tools.embedded.rest_service import GatewayProcess

_POLL = 0.5


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "serve",
        help="run the embedded tritonserver on a model repository",
        description="Run the tritonserver of the nvidia-pytriton wheel on a model repository, until Ctrl-C."
        " For development and trusted networks: it is an old release with published vulnerabilities."
        " A broken entry is named, and the others are served.",
        epilog="Flags behind -- go to tritonserver: maskserve serve model_repository -- --log-verbose=1",
    )
    parser.add_argument("repository", nargs="?", default="model_repository", metavar="REPOSITORY", type=Path)
    for name, default in (("http", 8000), ("grpc", 8001), ("metrics", 8002)):
        help_text = f"port to listen on, or auto for a free one (default {default})"
        parser.add_argument(f"--{name}-port", type=port, default=default, metavar="N", help=help_text)
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="H", help="address to listen on, IPv4 or IPv6 (default 127.0.0.1)"
    )
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
        help="run the REST service for the models there, too (`maskserve gateway` has more options)",
    )
    names = "a name that the REST service answers for in Host, too (*.HOST: those below it); may be repeated"
    parser.add_argument("--allow-host", action="append", dest="allow_hosts", default=[], metavar="HOST", help=names)
    parser.add_argument(
        "--instances",
        type=positive,
        metavar="N",
        help="how many images each model computes at the same time (default: as its entries say, else one for every"
        " four cores)",
    )
    parser.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="how many threads compute each image (default: as the entries say, else the cores shared out)",
    )
    parser.add_argument("--strict", action="store_true", help="do not serve at all where an entry is broken")
    parser.add_argument(
        "--no-restart",
        action="store_false",
        dest="restart",
        help="do not start again what dies or freezes: end when tritonserver does",
    )
    parser.add_argument("--verbose", action="store_true", help="show all of Triton's log, not only its problems")
    parser.set_defaults(run=run, passed_on=[])


def run(args: argparse.Namespace) -> int:
    """Serve until a signal asks to stop.

    Raises:
        ToolError: the server could not be started, or ended by itself.
    """
    try:
        listen_to_signals()
        check_options(args)
        from maskserve_tools.embedded import serve
        from maskserve_tools.embedded.rest_service import GatewayProcess, default_among

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
            strict=args.strict,
            restart=args.restart,
            options=args.passed_on,
            instances=args.instances,
            threads=args.threads,
        ) as server:
            announce_problems(server)
            _announce(server, args.host)
            if args.http_api is None:
                wait_for_end(server, restart=args.restart)
            host, number = args.http_api
            default = args.models[0] if args.models else default_among(server.models)
            with GatewayProcess(
                server.name, server.grpc_url, default, host=host, port=number, allow_hosts=args.allow_hosts
            ) as gateway:
                wait_for_end(server, gateway, restart=args.restart)
    except KeyboardInterrupt:
        say("maskserve: stopped")
    return 0


def check_options(args: argparse.Namespace) -> None:
    """Make sure that the server and the REST service can be run before anything is started.

    Raises:
        InvalidParameter: an option of the REST service is given without it.
        ToolError: an extra is not installed.
    """
    if args.http_api is None and args.allow_hosts:
        raise InvalidParameter("--allow-host is for the REST service: name its port with --http-api")
    need("maskserve serve", "embedded", *(() if args.http_api is None else ("gateway",)))


def listen_to_signals() -> None:
    """Let each signal that asks to stop do so in the same way, as KeyboardInterrupt."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, signal.default_int_handler)


def announce_problems(server: Server) -> None:
    """Name the entries that are not served, on standard error."""
    for broken in server.broken:
        print(f"maskserve: {broken}", file=sys.stderr, flush=True)


def _announce(server: Server, host: str) -> None:
    which = "these models answered, others are broken (see above)" if server.broken else "every model answered"
    say(f"maskserve: ready, {which}. Models: {', '.join(server.models)}")
    for name, url in (("gRPC", server.grpc_url), ("HTTP", server.http_url), ("metrics", server.metrics_url)):
        say(f"  {name:<8} {url}")
    warn_of_release(host)
    say("Ctrl-C stops it.")


def warn_of_release(host: str) -> None:
    """Say what the embedded server is for, and who reaches it."""
    from maskserve_tools.embedded.ports import is_loopback, resolve_host
    from maskserve_tools.embedded.triton_wheel import RELEASE

    say(f"This is tritonserver {RELEASE}: an old release with published vulnerabilities,")
    say("for development and trusted networks only.")
    if not is_loopback(resolve_host(host)):
        say(f"WARNING: with --host {host} it can be reached from outside this machine. That is at your own risk.")


def wait_for_end(server: Server, gateway: GatewayProcess | None = None, *, restart: bool) -> NoReturn:
    """Wait until tritonserver ends, which it does not do by itself. A REST service that dies is started again.

    Raises:
        ToolError: it has ended.
    """
    while (code := server.wait(_POLL)) is None:
        if gateway is not None:
            gateway.keep_alive(restart=restart)
    raise ToolError(f"tritonserver ended by itself (exit code {code}):{server.log_tail()}")


def port(text: str) -> int:
    """Return a port on the command line; auto is 0, a free one."""
    if text == "auto":
        return 0
    if text.isascii() and text.isdigit() and int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port: 1 to 65535, or auto for a free one")


def address(text: str) -> tuple[str, int]:
    """Return a port, or a host and a port, on the command line; an IPv6 address in brackets."""
    host, _, number = text.rpartition(":")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise argparse.ArgumentTypeError(f"{text!r} can be read in two ways: write an IPv6 address as [::1]:8080")
    return host.strip("[]") or "127.0.0.1", port(number)


def say(line: str) -> None:
    """Tell the person at the terminal, at once."""
    print(line, file=sys.stdout, flush=True)
