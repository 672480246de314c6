"""Everything that a gateway can be told, and how it reaches the worker processes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maskserve.errors import InvalidParameter
from maskserve.paddlex.config import PIPELINE

ALL = "*"
API_KEY_VARIABLE = "MASKSERVE_API_KEY"
_POSITIVE = (
    *("max_body_bytes", "max_pixels", "max_drawn_pixels", "max_memory_bytes", "max_concurrent", "max_connections"),
    *("wait_seconds", "timeout", "head_seconds", "health_seconds"),
)
_LISTS = ("urls", "models", "image_hosts", "allow_hosts", "allow_origins", "trusted_proxies")
_SETTINGS_VARIABLE = "MASKSERVE_GATEWAY_SETTINGS"


@dataclass(frozen=True, slots=True)
class Settings:
    """How a gateway behaves.

    Attributes:
        urls: the Tritons, such as ``grpc://localhost:8001``; they need not have the same models.
        model: the name there of the default model; "instance_segmentation" for Mask-RT-DETR-S, or else the only one.
        models: further ones that are served; "*" is every model that the servers have, and so is a `model` without a
            name of its own.
        ca_file: certificate authorities to trust for grpcs and https; None for the system's.
        visualize: whether a request that does not say gets the image with its instances.
        strict_paddlex: answer what is wrong with an image or the server as PaddleX does, with 500.
        max_body_bytes: of a request.
        max_pixels: of an image.
        max_drawn_pixels: of the image in an answer; a larger one is drawn smaller, and its scale is in the answer.
        max_memory_bytes: that the requests under way may take together, of each worker process.
        max_concurrent: requests that are with the servers at the same time, of each worker process.
        max_waiting: requests that are being read, or wait for their turn, of each worker process.
        max_connections: of each worker process; fewer where its limit of file descriptors is lower.
        wait_seconds: how long one waits for its turn.
        timeout: seconds that a request may take to be answered, and its body to arrive before that.
        head_seconds: how long the head of a request may take, and how long its body may come in very slowly.
        health_seconds: how old the proof may be that the model answers.
        image_hosts: whose images are fetched where a request has a URL; none switches URLs off. "*.example.org" is
            every host below example.org, "*" every public one.
        api_key_file: keys that are let in, one a line; None for what the environment's MASKSERVE_API_KEY says.
        page: whether the page is at ``/``.
        listen: the address that it listens on. On loopback it answers for the names of this machine only; elsewhere
            for every address, and for names that are not public, too.
        allow_hosts: further names that requests may have in `Host`; "*.example.org" is every host below example.org.
        allow_origins: pages of other hosts that may use it, such as "https://example.org"; "*" is every page.
        trusted_proxies: addresses and networks of proxies whose `X-Forwarded-For` goes into the log.
    """

    urls: tuple[str, ...]
    model: str = PIPELINE
    models: tuple[str, ...] = ()
    ca_file: str | None = None
    visualize: bool = True
    strict_paddlex: bool = False
    max_body_bytes: int = 64 << 20
    max_pixels: int = 100_000_000
    max_drawn_pixels: int = 16_000_000
    max_memory_bytes: int = 1280 << 20
    max_concurrent: int = 16
    max_waiting: int = 64
    max_connections: int = 1024
    wait_seconds: float = 10.0
    timeout: float = 60.0
    head_seconds: float = 10.0
    health_seconds: float = 10.0
    image_hosts: tuple[str, ...] = ()
    api_key_file: str | None = None
    page: bool = True
    listen: str = "127.0.0.1"
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128")

    def __post_init__(self) -> None:
        for name in _LISTS:  # one of them is one, not its letters
            value: Any = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        if not self.urls:
            raise InvalidParameter("a gateway needs a server: name it with --url grpc://host:8001")
        for name in _POSITIVE:
            value = getattr(self, name)
            if not isinstance(value, int | float) or not value > 0:
                raise InvalidParameter(f"{name} must be more than 0, not {value!r}")
        if not isinstance(self.max_waiting, int) or self.max_waiting < 0:
            raise InvalidParameter(f"max_waiting must not be negative, not {self.max_waiting!r}")

    @property
    def serves_all(self) -> bool:
        """Whether every model of the servers is served, as they are loaded and unloaded."""
        return ALL in self.models or self.model == PIPELINE

    @property
    def names(self) -> tuple[str, ...]:
        """The models that are served, where they were named."""
        return tuple(dict.fromkeys((self.model, *self.models)))


def api_keys(settings: Settings, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the keys that are let in; empty when everybody is.

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
    """Return the settings that the parent process left."""
    values: dict[str, Any] = json.loads(os.environ[_SETTINGS_VARIABLE])
    return Settings(**values)
