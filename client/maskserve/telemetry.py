"""A span of OpenTelemetry for each image, in programs that use it; its context goes to the server as `traceparent`."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_API = "opentelemetry.trace"


def current_context() -> Any:
    """Return the context of the caller, for a thread that works for it; None without OpenTelemetry."""
    if _API not in sys.modules:  # a program that records spans has imported it
        return None
    from opentelemetry import context

    return context.get_current()


@contextmanager
def request_span(model: str, url: str, context: Any, headers: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Open a span for the request of one image; it ends with the body.

    A `traceparent` in the headers is the parent of the span, or else what `context` holds.

    Args:
        model: the model that is asked.
        url: the server.
        context: what `current_context` returned.
        headers: of the request.

    Yields:
        The headers to send: those, with the context of the span where it is recorded.
    """
    if context is None:
        yield headers
        return
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    propagator = TraceContextTextMapPropagator()
    parent = propagator.extract(dict(headers), context)
    tracer = trace.get_tracer("maskserve")
    attributes = {"maskserve.model": model, "server.address": url}
    with tracer.start_as_current_span(
        "maskserve.segment", context=parent, kind=trace.SpanKind.CLIENT, attributes=attributes
    ) as span:
        carried = dict(headers)
        if span.is_recording():
            for name in ("traceparent", "tracestate"):
                carried.pop(name, None)
            propagator.inject(carried, trace.set_span_in_context(span))
        yield carried
