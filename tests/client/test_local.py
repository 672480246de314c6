"""Pipelines that were told of no server: what answers on this machine, this process, or a server started for them."""

import asyncio
import gc
import sys
import time
from pathlib import Path

import pytest

from maskserve import AsyncPipeline, create_pipeline
from maskserve.errors import InvalidParameter, ModelNotFound, ServerUnavailable, ToolError
from maskserve.transport.base import ServedModel
from maskserve.transport.local import DEFAULT_URL, ENTRY_POINTS, find_opener, find_starter


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


def test_a_file_with_the_names_of_the_classes_goes_along_with_a_folder(opened, folder, tmp_path):
    create_pipeline(folder, labels_file=tmp_path / "labels.txt")
    assert opened == [(str(folder), str(tmp_path / "labels.txt"))]


@pytest.mark.parametrize("arguments", [{"url": "grpc://box:1"}, {"pipeline": "tiny"}])
def test_names_for_what_is_converted_already_are_refused(opened, folder, arguments):
    with pytest.raises(InvalidParameter, match="convert it again, with `maskserve convert --labels FILE`"):
        create_pipeline(**{"pipeline": folder, "labels_file": "labels.txt", **arguments})
    assert opened == []


@pytest.mark.parametrize("file", ["", ["person"], 0, True])
def test_names_that_are_in_no_file_are_refused(opened, folder, file):
    with pytest.raises(InvalidParameter, match=r"labels_file=.* is not the path of a file"):
        create_pipeline(folder, labels_file=file)


def test_a_server_that_was_named_is_neither_asked_nor_replaced(starter, urls, folder, monkeypatch):
    create_pipeline(folder, url="grpc://box:1")
    create_pipeline(config={"Pipeline": {"model": "tiny"}, "url": "grpc://box:2"})
    monkeypatch.setenv("MASKSERVE_URL", "grpc://box:3")
    create_pipeline("tiny", device="gpu:0")
    assert [url for url, _ in urls] == ["grpc://box:1", "grpc://box:2", "grpc://box:3"]
    assert starter.calls == []


def test_a_server_at_the_usual_address_is_taken_when_it_has_the_model(starter, usual, grey):
    usual.answers = True
    with create_pipeline("tiny", device="gpu:0") as pipeline:
        assert len(list(pipeline.predict(grey()))) == 1
    assert [model for model, _ in usual.requests] == ["tiny"]
    assert starter.calls == []


@pytest.mark.parametrize("pipeline", ["tiny", "instance_segmentation"])
def test_a_server_that_nobody_named_is_said(pipeline, opened, usual, caplog):
    usual.answers = True
    assert create_pipeline(pipeline).url == usual.url
    (message,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert message.startswith(f"the server at {DEFAULT_URL} has a model tiny and answers for it: name that server")
    assert all(remedy in message for remedy in ("url=", "MASKSERVE_URL", "server=False", "MASKSERVE_LOCAL=process"))
    assert opened == []


@pytest.mark.parametrize("named", [True, False])
def test_nothing_is_said_where_the_server_was_named_or_has_not_the_model(named, opened, usual, caplog):
    usual.answers = True
    create_pipeline("tiny", url=DEFAULT_URL) if named else create_pipeline("other")
    assert caplog.records == []
    assert [model for model, _, _ in opened] == ([] if named else ["other"])


@pytest.mark.parametrize("variable", [None, "process", "server"])
def test_whoever_wants_this_process_gets_it_whatever_server_runs(variable, opened, usual, urls, monkeypatch):
    """The argument, and where it says nothing the environment, mean what they say."""
    usual.answers = True
    if variable is not None:
        monkeypatch.setenv("MASKSERVE_LOCAL", variable)
    create_pipeline("tiny", server=None if variable == "process" else False)
    assert opened == [("tiny", None, 60)]
    assert urls == []


def test_why_it_cannot_run_here_tells_of_no_server_that_was_not_asked(opened, usual):
    with pytest.raises(ServerUnavailable, match=r"^it cannot run in this process: the core is damaged"):
        create_pipeline("broken", server=False)


def test_looking_there_takes_no_longer_than_it_should(starter, usual, urls):
    usual.answers = True
    create_pipeline("tiny", timeout=600)
    assert urls == [(DEFAULT_URL, 5.0), (DEFAULT_URL, 600)]


@pytest.mark.parametrize(
    ("pipeline", "served", "started"),
    [
        ("other", ["tiny"], "other"),
        ("instance_segmentation", ["tiny", "second"], "Mask-RT-DETR-S"),
        ("instance_segmentation", [], "Mask-RT-DETR-S"),
    ],
)
def test_a_server_without_the_model_is_not_taken(pipeline, served, started, starter, usual):
    usual.answers = True
    usual.served = [ServedModel(name, "READY") for name in served]
    create_pipeline(pipeline)
    assert starter.calls == [(started, None)]


def test_the_only_model_of_the_usual_server_is_the_pipelines(starter, usual):
    usual.answers = True
    assert create_pipeline("instance_segmentation").model == "tiny"
    assert starter.calls == []


def test_a_folder_is_served_even_where_a_server_has_a_model_of_that_name(starter, usual, folder, grey, transport):
    usual.answers = True
    with create_pipeline(folder, device="cpu") as pipeline:
        (result,) = pipeline.predict(grey())
    assert starter.calls == [(str(folder), "cpu")]
    assert result["boxes"][0]["label"] == "car"
    assert (len(usual.requests), len(transport.requests)) == (0, 1)


def test_what_a_pipeline_file_says_reaches_the_starter(starter, tmp_path, folder):
    path = tmp_path / "p.yaml"
    path.write_text(f"Pipeline: {{model: {folder}, device: 'npu:0'}}")
    create_pipeline(path)
    create_pipeline(path, device="cpu")
    create_pipeline(config={"SubModules": {"InstanceSegmentation": {"model_name": "a", "model_dir": "nowhere"}}})
    assert starter.calls == [(str(folder), "npu:0"), (str(folder), "cpu"), ("nowhere", None)]


def test_closing_the_pipeline_stops_the_server_once_and_for_all(starter, grey):
    pipeline = create_pipeline("tiny", retries=0)
    (server,) = starter.servers
    assert len(list(pipeline.predict(grey()))) == 1
    assert server.stops == 0
    pipeline.close()
    pipeline.close()
    assert server.stops == 1
    with pytest.raises(ServerUnavailable, match="the pipeline was closed"):
        next(iter(pipeline.predict(grey())))


def test_an_exception_stops_the_server(starter):
    with pytest.raises(ZeroDivisionError), create_pipeline("tiny"):
        raise ZeroDivisionError
    assert starter.servers[0].stops == 1


def test_a_pipeline_that_is_not_used_any_more_has_its_server_stopped(starter, grey):
    results = create_pipeline("tiny").predict([grey(1), grey(2)])
    next(iter(results))
    gc.collect()
    assert starter.servers[0].stops == 0
    results.close()
    del results
    _collect_until(lambda: starter.servers[0].stops)
    assert starter.servers[0].stops == 1


def _collect_until(done, seconds=30.0):
    """Collect garbage until `done`: a request that was under way when the results were closed keeps the pipeline."""
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)


def test_an_asynchronous_pipeline_stops_its_server(starter, grey):
    async def run():
        async with AsyncPipeline(create_pipeline("tiny")) as pipeline:
            return [result async for result in pipeline.predict(grey())]

    assert len(asyncio.run(run())) == 1
    assert starter.servers[0].stops == 1


def test_arguments_are_checked_before_anything_is_started(starter):
    for wrong in ({"timeout": 0}, {"concurrency": 0}, {"retries": -1}, {"threshold": "x"}, {"generation": "x"}):
        with pytest.raises(InvalidParameter):
            create_pipeline("tiny", **wrong)
    assert starter.calls == []


def test_why_no_server_could_be_started(starter, folder):
    starter.error = ToolError("there is no room")
    with pytest.raises(ServerUnavailable, match=r"no server at \S+ has tiny, .*there is no room.*url="):
        create_pipeline("tiny")
    with pytest.raises(ServerUnavailable, match=r"^none can be started here: there is no room"):
        create_pipeline(folder)


def test_a_device_that_cannot_be_had(starter):
    starter.error = InvalidParameter("device='npu:0': cannot")
    with pytest.raises(InvalidParameter, match="device='npu:0': cannot"):
        create_pipeline("tiny", device="npu:0")


def test_a_model_is_loaded_into_this_process(opened, folder, grey):
    with create_pipeline(folder, timeout=7) as pipeline:
        assert pipeline.model == "tiny"
        assert len(list(pipeline.predict(grey()))) == 1
    create_pipeline("tiny", device="cpu")
    create_pipeline("instance_segmentation")
    assert opened == [(str(folder), None, 7), ("tiny", "cpu", 60), ("Mask-RT-DETR-S", None, 60)]


def test_a_converted_model_is_opened_by_its_path(opened, usual, tmp_path):
    usual.answers = True
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "config.pbtxt").touch()
    create_pipeline(tmp_path / "people")
    create_pipeline(tmp_path / "people.maskserve")
    create_pipeline(config={"Pipeline": {"model": str(tmp_path / "people.maskserve")}})
    bundle = str(tmp_path / "people.maskserve")
    assert [model for model, _, _ in opened] == [str(tmp_path / "people"), bundle, bundle]


def test_the_argument_beats_the_environment(opened, starter, monkeypatch):
    monkeypatch.setattr("maskserve.transport.local.find_starter", lambda: starter)
    create_pipeline("tiny")
    assert (len(starter.calls), len(opened)) == (1, 0)
    create_pipeline("tiny", server=False)
    assert (len(starter.calls), len(opened)) == (1, 1)
    monkeypatch.delenv("MASKSERVE_LOCAL")
    create_pipeline("tiny", server=True)
    assert (len(starter.calls), len(opened)) == (2, 1)


def test_a_place_that_is_none_is_refused(opened, monkeypatch):
    for wrong in ("yes", 1):
        with pytest.raises(InvalidParameter, match="server="):
            create_pipeline("tiny", server=wrong)  # type: ignore[arg-type]
    monkeypatch.setenv("MASKSERVE_LOCAL", "thread")
    with pytest.raises(InvalidParameter, match="MASKSERVE_LOCAL='thread': process and server"):
        create_pipeline("tiny")
    assert opened == []


def test_why_a_model_cannot_run_in_this_process(opened):
    with pytest.raises(ServerUnavailable, match=r"it cannot run in this process: the core is damaged.*url="):
        create_pipeline("broken")


@pytest.mark.parametrize(("place", "extra"), [("server", "embedded,convert"), ("process", "local")])
def test_without_the_tools_the_extra_and_the_url_are_named(place, extra, urls, monkeypatch):
    monkeypatch.setattr("maskserve.transport.local.ENTRY_POINTS", "maskserve.none")
    monkeypatch.setenv("MASKSERVE_LOCAL", place)
    with pytest.raises(ServerUnavailable, match=rf'pip install "maskserve\[{extra}\]"\. .* url= or MASKSERVE_URL'):
        create_pipeline("tiny")


@pytest.mark.parametrize(("name", "find"), [("server", find_starter), ("process", find_opener)])
def test_the_starter_is_an_entry_point(name, find, tmp_path, monkeypatch):
    information = tmp_path / "starter_of_a_test-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Name: starter-of-a-test\nVersion: 1\n")
    (information / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\n{name} = starter_of_a_test:start\n")
    (tmp_path / "starter_of_a_test.py").write_text("def start(model, *, device): ...")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    found = find()
    assert (found.__module__, found.__name__) == ("starter_of_a_test", "start")


def test_the_project_declares_its_starters():
    from maskserve_tools.local import open_here, start

    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    process = f'process = "{open_here.__module__}:{open_here.__name__}"'
    server = f'server = "{start.__module__}:{start.__name__}"'
    assert f'[project.entry-points."{ENTRY_POINTS}"]\n{process}\n{server}\n' in text
