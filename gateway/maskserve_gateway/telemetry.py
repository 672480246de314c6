"""Spans of the gateway, sent to a collector: with the extra `otel`, where the environment names one."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_SERVICE = "maskserve-gateway"
_TRACED = "/instance-segmentation"
_log = logging.getLogger("maskserve.gateway")


class Telemetry:
    """The spans of one process; nothing happens where none are wanted.

    Args:
        environment: OpenTelemetry's own variables say where spans go, and how many.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._provider: Any = None
        if not any(environment.get(name) for name in _ENDPOINTS) or environment.get("OTEL_SDK_DISABLED") == "true":
            return
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import SERVICE_NAME, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            _log.warning('traces are not sent (%s): pip install "maskserve[gateway,otel]"', error)
            return
        name = environment.get("OTEL_SERVICE_NAME") or _SERVICE
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(self._provider)  # the client's spans are below ours

    @contextmanager
    def request(self, method: str, path: str, headers: Mapping[str, str]) -> Iterator[Any]:
        """Open a span for a segmentation, which ends with the body; yield it, or None where none is recorded."""
        if self._provider is None or not path.endswith(_TRACED):
            yield None
            return
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        current = trace.get_current_span()
        if current.is_recording():  # newer releases of FastAPI record every request themselves
            yield current
            return
        parent = TraceContextTextMapPropagator().extract(dict(headers))
        tracer = self._provider.get_tracer("maskserve.gateway")
        with tracer.start_as_current_span(f"{method} {_TRACED}", context=parent, kind=trace.SpanKind.SERVER) as span:
            yield span

    def close(self) -> None:
        """Send what has not been sent."""
        if self._provider is not None:
            self._provider.shutdown()


def current_headers() -> dict[str, str]:
    """Return the context of the span that is being recorded, as headers; nothing where there is none."""
    import sys

    if "opentelemetry.trace" not in sys.modules:
        return {}
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    found: dict[str, str] = {}
    if trace.get_current_span().is_recording():
        TraceContextTextMapPropagator().inject(found)
    return found
