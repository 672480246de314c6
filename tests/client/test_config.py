import pytest
import yaml

from maskserve import create_pipeline
from maskserve.errors import InvalidParameter
from maskserve.paddlex.config import Settings, read_settings

FIRST = """
Global:
  pipeline_name: instance_segmentation
  input: https://example.org/demo.png
Pipeline:
  model: Mask-RT-DETR-L
  batch_size: 8
  device: "gpu"
"""
LATER = """
pipeline_name: instance_segmentation
url: http://box:8000
SubModules:
  InstanceSegmentation:
    module_name: instance_segmentation
    model_name: Mask-RT-DETR-S
    model_dir: null
    batch_size: 1
    threshold: 0.25
"""


@pytest.fixture
def written(tmp_path):
    def write(text, name="pipeline.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_the_file_of_the_first_generation(written):
    assert read_settings(written(FIRST)) == Settings("Mask-RT-DETR-L", batch_size=8, device="gpu")


def test_the_file_of_the_later_generation(written):
    path = str(written(LATER, "P.YML"))
    assert read_settings(path) == Settings("Mask-RT-DETR-S", url="http://box:8000", threshold=0.25, batch_size=1)
    assert read_settings(yaml.safe_load(LATER)) == read_settings(path)


def test_what_a_file_says_reaches_the_server(written, transport, grey, monkeypatch):
    urls = []

    def opened(endpoint):
        urls.append(endpoint.url)
        return transport

    monkeypatch.setattr("maskserve._create.open_transport", opened)
    (result,) = create_pipeline(written(LATER)).predict(grey())
    ((model, request),) = transport.requests
    assert (urls, model, request.threshold) == (["http://box:8000"], "Mask-RT-DETR-S", 0.25)
    assert result["boxes"][0]["label"] == "car"


def test_arguments_beat_the_environment_and_that_the_file(written, monkeypatch):
    path = written(LATER)
    assert create_pipeline(path).url == "http://box:8000"
    assert create_pipeline(config=yaml.safe_load(LATER)).url == "http://box:8000"
    monkeypatch.setenv("MASKSERVE_URL", "http://elsewhere:1")
    assert create_pipeline(path).url == "http://elsewhere:1"
    assert create_pipeline(path, url="grpc://here:2").url == "grpc://here:2"


def test_a_folder_has_the_name_of_its_model(written):
    folder = written("Global: {model_name: PP-YOLOE_seg-S}", "best/inference.yml").parent
    expected = Settings("PP-YOLOE_seg-S", folder=str(folder))
    assert read_settings(folder) == expected
    assert read_settings(written(f"Pipeline: {{model: {folder}}}")) == expected
    later = "SubModules: {InstanceSegmentation: {%s}}"
    assert read_settings(written(later % f"model_dir: {folder}")) == expected
    assert read_settings(written(later % f"model_name: ours, model_dir: {folder}")) == Settings("ours", str(folder))


def test_a_name_is_a_name():
    assert read_settings("Mask-RT-DETR-S") == Settings("Mask-RT-DETR-S")


BAD = {
    "not yaml": ("a: [", "is not YAML"),
    "a list": ("- a", "holds no settings"),
    "empty": ("", "holds no settings"),
    "other pipeline": ("pipeline_name: OCR", "of the pipeline 'OCR'"),
    "other pipeline, first generation": ("Global: {pipeline_name: OCR}", "of the pipeline 'OCR'"),
    "no model": ("Pipeline: {batch_size: 1}", "names no model"),
    "no module": ("SubModules: {Other: {}}", "names no model"),
    "a section that is none": ("Pipeline: 3", "Pipeline holds no settings"),
    "threshold": ("Pipeline: {model: m, threshold: high}", "threshold='high'"),
    "batch size": ("Pipeline: {model: m, batch_size: many}", "batch_size='many'"),
    "device": ("Pipeline: {model: m, device: tpu}", "device='tpu'"),
    "url": ("Pipeline: {model: m, url: nowhere}", "'nowhere' is not the URL"),
    "url that is no text": ("{url: true, Pipeline: {model: m}}", "url=True in .* is not the URL"),
    "url as a list": ("{url: [null], Pipeline: {model: m}}", "is not the URL"),
    "a day that there is not": ("Pipeline: {model: 2001-99-99}", "is not YAML"),
    "a type that is none": ("Pipeline: {model: !!bool perhaps}", "is not YAML"),
    "nested deeply": ("[" * 3000, "is not YAML"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_files_without_sense(written, text, message):
    with pytest.raises(InvalidParameter, match=message):
        create_pipeline(written(text))


def test_a_file_that_is_not_there(written):
    with pytest.raises(InvalidParameter, match=r"nowhere\.yaml cannot be read: No such file"):
        create_pipeline("nowhere.yaml")
    with pytest.raises(InvalidParameter, match=r"inference\.yml holds no settings"):
        create_pipeline(written("", "x/inference.yml").parent)


def test_a_folder_whose_settings_have_no_name_goes_by_its_own(written):
    assert read_settings(written("mode: paddle", "cars/inference.yml").parent).model == "cars"


@pytest.mark.parametrize("device", ["cpu", "gpu", "GPU:0", "gpu:0,1", "npu:3", "xpu", "mlu:0", "dcu:0"])
def test_devices(device):
    create_pipeline("m", url="grpc://box", device=device, use_hpip=True)


@pytest.mark.parametrize("device", ["tpu", " cpu", "gpu:", "gpu:a", "gpu:-1", "gpu:0:1", "cpu:0", 3])
def test_devices_that_are_none(device):
    with pytest.raises(InvalidParameter, match="device="):
        create_pipeline("m", url="grpc://box", device=device)
