"""`maskserve annotate`: a model's answers as annotations that people correct, in Label Studio and CVAT."""

from __future__ import annotations

import argparse
import contextlib
import os
from typing import TYPE_CHECKING

from maskserve.errors import InvalidParameter, ServerUnavailable, ToolError
from maskserve_tools.annotate.needs import bundle_first, check_extras, is_to_be_converted
from maskserve_tools.commands.serve import listen_to_signals, port, say
from maskserve_tools.options import pixels, positive, score

if TYPE_CHECKING:
    from maskserve.pipeline import Pipeline

_STUDIO = """\
example:
  maskserve annotate label-studio --pipeline people.maskserve

Then, in Label Studio, a project's settings, Model, Connect Model: the address that this prints. Where it is of this
machine or of a private network, start Label Studio with USE_DEFAULT_BANNED_SUBNETS=false. The project needs a
<BrushLabels> or <PolygonLabels> tag whose labels are called like the model's.

The environment may have: LABEL_STUDIO_API_KEY, a key for Label Studio's API, which is sent to the address of
--label-studio alone; MASKSERVE_BASIC_AUTH, USER:PASSWORD that requests need.
"""
_CVAT = """\
examples:
  maskserve annotate cvat 137 --pipeline people.maskserve --server https://app.cvat.ai
  cvat-cli task auto-annotate 137 --function-module maskserve_tools.annotate.cvat -p model=str:people.maskserve

The environment has CVAT_ACCESS_TOKEN, a personal access token, or CVAT_AUTH, USER:PASSWORD. The task's labels are to be
called like the model's; --unmatched-labels leaves out those that it has not.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command, and one for each tool."""
    parser = subparsers.add_parser(
        "annotate",
        help="let a model annotate in Label Studio or CVAT",
        description="Let a model annotate in Label Studio or CVAT, for people to correct.",
    )
    tools = parser.add_subparsers(title="tools", metavar="TOOL", required=True)
    _add_label_studio(tools)
    _add_cvat(tools)


def _add_label_studio(tools: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = tools.add_parser(
        "label-studio",
        help="run an ML backend for Label Studio",
        description="Run an ML backend for Label Studio: predictions as brush masks or polygons.",
        epilog=_STUDIO,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    _add_model(parser)
    form = "of the regions (default: that of the project's first BrushLabels or PolygonLabels tag)"
    add("--form", choices=("brush", "polygon"), help=form)
    add("--host", default="127.0.0.1", metavar="H", help="address to listen on (default 127.0.0.1)")
    add("--port", type=port, default=9090, metavar="N", help="port, or auto for a free one (default 9090)")
    studio = "its address, where images come from (default: what it says itself)"
    add("--label-studio", metavar="URL", help=studio)
    version = "Label Studio asks for predictions anew when this changes (default: the model's name)"
    add("--model-version", metavar="TEXT", help=version)
    parser.set_defaults(run=run_label_studio)


def _add_cvat(tools: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = tools.add_parser(
        "cvat",
        help="annotate the images of CVAT tasks",
        description="Annotate the images of CVAT tasks with masks or polygons.",
        epilog=_CVAT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("tasks", type=positive, nargs="+", metavar="TASK", help="the number of a task")
    _add_model(parser)
    add("--server", default="https://app.cvat.ai", metavar="URL", help="CVAT (default https://app.cvat.ai)")
    add("--shape", choices=("mask", "polygon"), default="mask", help="of the annotations (default mask)")
    add("--replace", action="store_true", help="remove the annotations that are there")
    add("--unmatched-labels", action="store_true", help="leave out labels of the model that a task has not")
    parser.set_defaults(run=run_cvat)


def _add_model(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    name = "a model's name, folder, bundle, entry, or pipeline file"
    add("--pipeline", "--model", dest="pipeline", required=True, metavar="NAME", help=name)
    add("--url", metavar="URL", help="the server (default: as for `maskserve predict`)")
    add("--device", metavar="D", help="what to run the model on, such as cpu, where it runs here")
    add("--threshold", type=score, metavar="T", help="minimum score, from 0 to 1 (default: the model's own)")
    parts = "of polygons: one with all parts and holes (join), one for each part (split), the largest part (largest)"
    add("--parts", choices=("join", "split", "largest"), default="join", help=f"{parts}; default join")
    tolerance = "how far polygons may be from a mask's edge: fewer corners; with split or largest parts (default 0)"
    add("--tolerance", type=pixels, default=0.0, metavar="PIXELS", help=tolerance)


def run_label_studio(args: argparse.Namespace) -> int:
    """Answer Label Studio until a signal asks to stop.

    Raises:
        MaskserveError: the extra is missing, the model cannot be used, or an option makes no sense.
    """
    _check_parts(args)
    what = "maskserve annotate label-studio"
    check_extras(what, "label-studio", args.pipeline, args.url)
    from maskserve_tools.annotate.label_studio import Backend, Fetcher, Options
    from maskserve_tools.annotate.label_studio_app import create_app
    from maskserve_tools.annotate.serving import serve
    from maskserve_tools.reporting import say as warn

    auth = _user_and_password("MASKSERVE_BASIC_AUTH")
    options = Options(args.form, args.parts, args.tolerance, args.threshold, args.model_version)
    fetcher = Fetcher(args.label_studio, os.environ.get("LABEL_STUDIO_API_KEY"))
    listen_to_signals()
    with contextlib.suppress(KeyboardInterrupt), _open(args, what, "label-studio") as pipeline:
        backend = Backend(pipeline, fetcher, options, warn)
        say(f"maskserve: {backend.version} finds {len(pipeline.labels)} classes")
        serve(create_app(backend, fetcher, auth), args.host.strip("[]"), args.port, _announce)
    say("maskserve: the backend has stopped")
    return 0


def run_cvat(args: argparse.Namespace) -> int:
    """Segment the images of the tasks, one after the other.

    Raises:
        MaskserveError: the extra is missing, the model or CVAT cannot be used, or an option makes no sense.
    """
    _check_parts(args)
    what = "maskserve annotate cvat"
    check_extras(what, "cvat", args.pipeline, args.url)
    from maskserve_tools.annotate.cvat import CvatFunction
    from maskserve_tools.annotate.cvat_tasks import annotate_tasks, connect

    token = os.environ.get("CVAT_ACCESS_TOKEN") or None
    credentials = None if token else _user_and_password("CVAT_AUTH")
    if token is None and credentials is None:
        raise InvalidParameter("CVAT wants to know who you are: set CVAT_ACCESS_TOKEN, or CVAT_AUTH to USER:PASSWORD")
    with connect(args.server, token, credentials) as client, _open(args, what, "cvat") as pipeline:
        function = CvatFunction(pipeline, shape=args.shape, parts=args.parts, tolerance=args.tolerance)
        chosen = {"clear_existing": args.replace, "allow_unmatched_labels": args.unmatched_labels}
        for task, count in annotate_tasks(client, args.tasks, function, **chosen):
            say(f"maskserve: task {task} is annotated; the model found {count} shapes")
    return 0


def _check_parts(args: argparse.Namespace) -> None:
    if args.tolerance and args.parts == "join":
        raise InvalidParameter("--tolerance needs polygons of single parts: --parts split or --parts largest")


def _open(args: argparse.Namespace, what: str, extra: str) -> Pipeline:
    from maskserve import create_pipeline

    try:
        return create_pipeline(args.pipeline, url=args.url, device=args.device, threshold=args.threshold)
    except ServerUnavailable as error:
        if not is_to_be_converted(args.pipeline):
            raise
        raise ToolError(f"no server has {args.pipeline}, and {bundle_first(what, args.pipeline, extra)}") from error


def _user_and_password(variable: str) -> tuple[str, str] | None:
    text = os.environ.get(variable)
    if not text:
        return None
    user, colon, password = text.partition(":")
    if not colon or not user or not text.isascii():
        raise InvalidParameter(f"{variable} is not USER:PASSWORD, of ASCII characters")
    return user, password


def _announce(url: str) -> None:
    say(f"maskserve: the backend for Label Studio listens on {url}")
