"""What may answer on this machine: a server at the usual address, one that is started, this process."""

import pytest

from maskserve.errors import ModelNotFound, ServerUnavailable, ToolError
from maskserve.transport.local import DEFAULT_URL


class FakeServer:
    """Stands for a server; it remembers how often it was stopped."""

    url = "grpc://127.0.0.1:4711"

    def __init__(self, model):
        self.model = model
        self.stops = 0

    def stop(self):
        self.stops += 1


class FakeStarter:
    """Starts fake servers, and remembers for what."""

    def __init__(self):
        self.calls = []
        self.servers = []
        self.error = None

    def __call__(self, model, *, device, labels):
        self.calls.append((model, device) if labels is None else (model, labels))
        if self.error:
            raise self.error
        self.servers.append(FakeServer("tiny"))
        return self.servers[-1]


@pytest.fixture
def usual(transport):
    """What the usual address of a server answers: nothing, until a test says otherwise."""

    class Usual(type(transport)):  # type: ignore[misc]
        answers = False

        def model_config(self, model):
            if not self.answers:
                raise ServerUnavailable("nobody here")
            if model not in {entry.name for entry in self.served}:
                raise ModelNotFound("not here")
            return super().model_config(model)

        def models(self):
            if not self.answers:
                raise ServerUnavailable("nobody here")
            return super().models()

    return Usual()


@pytest.fixture
def urls(transport, usual, monkeypatch):
    """The addresses that were gone to; the fake server answers at all but the usual one."""
    gone_to = []

    def open_transport(endpoint):
        gone_to.append((endpoint.url, endpoint.timeout))
        return usual if endpoint.url == DEFAULT_URL else transport

    monkeypatch.setattr("maskserve._create.open_transport", open_transport)
    monkeypatch.delenv("MASKSERVE_URL", raising=False)
    return gone_to


@pytest.fixture
def starter(urls, monkeypatch):
    fake = FakeStarter()
    monkeypatch.setattr("maskserve.transport.local.find_starter", lambda: fake)
    monkeypatch.setenv("MASKSERVE_LOCAL", "server")
    return fake


@pytest.fixture
def opened(urls, transport, monkeypatch):
    """What was opened in this process."""
    calls = []

    def open_here(model, *, device, timeout, labels):
        calls.append((model, device, timeout) if labels is None else (model, labels))
        if model == "broken":
            raise ToolError("the core is damaged")
        return "tiny", transport

    monkeypatch.setattr("maskserve.transport.local.find_opener", lambda: open_here)
    monkeypatch.setattr("maskserve.transport.local.find_starter", lambda: pytest.fail("no server was asked for"))
    monkeypatch.delenv("MASKSERVE_LOCAL", raising=False)
    return calls


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "inference.yml").write_text("Global: {model_name: tiny}")
    return tmp_path / "best"
