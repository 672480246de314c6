"""Everything that a gateway can be told, and how it reaches the worker processes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maskserve.errors import InvalidParameter

API_KEY_VARIABLE = "MASKSERVE_API_KEY"
_SETTINGS_VARIABLE = "MASKSERVE_GATEWAY_SETTINGS"


@dataclass(frozen=True, slots=True)
class Settings:
    """How a gateway behaves.

    Attributes:
        urls: the Tritons, such as ``grpc://localhost:8001``; each has the model.
        model: its name there; "instance_segmentation" for the only one.
        ca_file: certificate authorities to trust for grpcs and https; None for the system's.
        visualize: whether a request that does not say gets the picture with its instances.
        strict_paddlex: answer what is wrong with a picture or the server as PaddleX does, with 500.
        max_body_bytes: of a request.
        max_pixels: of a picture.
        max_concurrent: requests that are with the servers at the same time, of each worker process.
        max_waiting: requests that are being read, or wait for their turn, of each worker process.
        wait_seconds: how long one waits for its turn.
        timeout: seconds that a request may take from its turn to its answer, and its body to arrive.
        health_seconds: how old the proof may be that the model answers.
        image_hosts: whose images are fetched where a request has a URL; none switches URLs off. "*.example.org" is
            every host below example.org, "*" every public one.
        api_key_file: keys that are let in, one a line; None for what the environment's MASKSERVE_API_KEY says.
        page: whether the page is at ``/``.
    """

    urls: tuple[str, ...]
    model: str
    ca_file: str | None = None
    visualize: bool = True
    strict_paddlex: bool = False
    max_body_bytes: int = 64 << 20
    max_pixels: int = 100_000_000
    max_concurrent: int = 16
    max_waiting: int = 64
    wait_seconds: float = 10.0
    timeout: float = 60.0
    health_seconds: float = 10.0
    image_hosts: tuple[str, ...] = ()
    api_key_file: str | None = None
    page: bool = True

    def __post_init__(self) -> None:
        if not self.urls:
            raise InvalidParameter("a gateway needs a server: name it with --url grpc://host:8001")
        for name in ("max_body_bytes", "max_pixels", "max_concurrent", "wait_seconds", "timeout", "health_seconds"):
            if not getattr(self, name) > 0:
                raise InvalidParameter(f"{name} must be more than 0, not {getattr(self, name)!r}")
        if self.max_waiting < 0:
            raise InvalidParameter(f"max_waiting must not be negative, not {self.max_waiting!r}")


def api_keys(settings: Settings, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The keys that are let in; empty when everybody is.

    Raises:
        InvalidParameter: the file cannot be read, or holds no key.
    """
    if settings.api_key_file is None:
        key = environment.get(API_KEY_VARIABLE, "").strip()
        return (key,) if key else ()
    try:
        lines = Path(settings.api_key_file).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise InvalidParameter(f"the file of API keys {settings.api_key_file} cannot be read: {reason}") from None
    keys = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not keys:
        raise InvalidParameter(f"the file of API keys {settings.api_key_file} holds none: write one a line")
    return keys


def hand_down(settings: Settings) -> None:
    """Leave the settings where worker processes, which are started anew, find them."""
    os.environ[_SETTINGS_VARIABLE] = json.dumps(asdict(settings))


def handed_down() -> Settings:
    """The settings that the parent process left."""
    values: dict[str, Any] = json.loads(os.environ[_SETTINGS_VARIABLE])
    return Settings(**{**values, "urls": tuple(values["urls"]), "image_hosts": tuple(values["image_hosts"])})
