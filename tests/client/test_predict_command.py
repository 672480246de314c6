import json

import cv2
import numpy as np
import pytest

from maskserve_tools.cli import main


@pytest.fixture
def run(transport, monkeypatch, capsys):
    """The command on a fake server: exit status, standard output, standard error."""
    monkeypatch.setattr("maskserve._create.open_transport", lambda _: transport)

    def run(*arguments):
        status = main(["predict", "--pipeline", "tiny", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def photo(tmp_path):
    cv2.imwrite(str(tmp_path / "photo.png"), np.full((4, 6, 3), 255, np.uint8))
    return tmp_path / "photo.png"


def test_results_are_printed_as_paddlex_prints_them(run, photo, transport):
    status, out, err = run("--input", photo, "--threshold", "0.25")
    assert (status, err) == (0, "")
    assert out == (
        f"{{'input_path': '{photo}', 'boxes': "
        "[{'cls_id': 2, 'label': 'car', 'score': 1.0, 'coordinate': [0, 0, 6, 4]}], 'masks': '...'}\n"
    )
    assert transport.requests[0][1].threshold == 0.25
    assert transport.closed


def test_results_are_saved_on_request(run, photo, tmp_path):
    assert run("--input", photo, "--save_path", tmp_path / "out")[0] == 0
    assert json.loads((tmp_path / "out" / "photo.json").read_text())["boxes"][0]["label"] == "car"
    assert cv2.imread(str(tmp_path / "out" / "photo.png")).shape == (4, 6, 3)


def test_a_bad_picture_does_not_stop_the_others(run, photo, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"text")
    status, out, err = run("--input", bad, "nowhere.jpg", photo)
    assert status == 1
    assert out.count("\n") == 1
    assert err == f"maskserve: {bad}: not an image\nmaskserve: no such file or directory: 'nowhere.jpg'\n"


def test_a_server_that_is_not_there(capsys, photo):
    assert main(["predict", "--pipeline", "tiny", "--input", str(photo), "--url", "http://127.0.0.1:9"]) == 1
    assert capsys.readouterr().err.startswith("maskserve: no server answers at http://127.0.0.1:9")


def test_a_url_without_sense(capsys, photo):
    assert main(["predict", "--pipeline", "tiny", "--input", str(photo), "--url", "localhost"]) == 1
    assert "maskserve: 'localhost' is not the URL of a server" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--input"], ["--input", "a", "--threshold", "high"]])
def test_a_command_line_without_sense(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["predict", "--pipeline", "tiny", *arguments])
    assert caught.value.code == 2
    assert "--input" in capsys.readouterr().err
