import json

import cv2
import numpy as np
import pytest

from maskserve_tools.cli import main


@pytest.fixture
def image(tmp_path):
    cv2.imwrite(str(tmp_path / "photo.png"), np.full((4, 6, 3), 255, np.uint8))
    return tmp_path / "photo.png"


def test_results_are_printed_as_paddlex_prints_them(run, image, transport):
    status, out, err = run("--input", image, "--threshold", "0.25")
    assert (status, err) == (0, "")
    assert out == (
        f"{{'input_path': '{image}', 'boxes': "
        "[{'cls_id': 2, 'label': 'car', 'score': 1.0, 'coordinate': [0, 0, 6, 4]}], 'masks': '...'}\n"
    )
    assert transport.requests[0][1].threshold == 0.25
    assert transport.closed


def test_results_are_saved_on_request(run, image, tmp_path):
    assert run("--input", image, "--save_path", tmp_path / "out")[0] == 0
    assert json.loads((tmp_path / "out" / "photo.json").read_text())["boxes"][0]["label"] == "car"
    assert cv2.imread(str(tmp_path / "out" / "photo.png")).shape == (4, 6, 3)


def test_a_bad_picture_does_not_stop_the_others(run, image, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"text")
    status, out, err = run("--input", bad, "nowhere.jpg", image)
    assert status == 1
    assert out.count("\n") == 1
    assert err == (
        f"maskserve: {bad}: not an image\nmaskserve: no such file or directory: 'nowhere.jpg'\n"
        "maskserve: 1 of 3 images are done, 2 could not be segmented\n"
    )


def test_a_server_that_is_not_there(capsys, image):
    assert main(["predict", "--pipeline", "tiny", "--input", str(image), "--url", "http://127.0.0.1:9"]) == 1
    assert capsys.readouterr().err.startswith("maskserve: no server answers at http://127.0.0.1:9")


def test_a_url_without_sense(capsys, image):
    assert main(["predict", "--pipeline", "tiny", "--input", str(image), "--url", "localhost"]) == 1
    assert "maskserve: 'localhost' is not the URL of a server" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--input"], ["--input", "a", "--threshold", "high"]])
def test_a_command_line_without_sense(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["predict", "--pipeline", "tiny", *arguments])
    assert caught.value.code == 2
    assert "--input" in capsys.readouterr().err


@pytest.fixture
def album(tmp_path):
    for name in ("a.png", "summer/a.png", "summer/b.png"):
        path = tmp_path / "album" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        cv2.imwrite(str(path), np.full((4, 6, 3), 255, np.uint8))
    return tmp_path / "album"


def files_under(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_subfolders_keep_their_files_apart(run, album, tmp_path):
    assert run("--input", album, "--save_path", tmp_path / "out")[0] == 0
    assert files_under(tmp_path / "out") == [
        *("a.json", "a.png"),
        *("summer/a.json", "summer/a.png", "summer/b.json", "summer/b.png"),
    ]


def test_resuming_leaves_out_what_is_there(run, album, tmp_path, transport):
    out = tmp_path / "out"
    run("--input", album, "--save_path", out)
    (out / "summer" / "a.json").unlink()
    transport.requests.clear()
    status, text, _ = run("--input", album, "--save_path", out, "--resume")
    assert (status, len(transport.requests)) == (0, 1)
    assert str(album / "summer" / "a.png") in text
    status, text, _ = run("--input", album, "--save_path", out, "--resume", "--generation", "3.x")
    assert text.count("\n") == 3
    assert "summer/b_res.json" in files_under(out)


def test_resuming_needs_a_place(run, image):
    status, _, err = run("--input", image, "--resume")
    assert status == 1
    assert "--save_path" in err


def test_json_lines(run, album):
    status, out, _ = run("--input", album, "--ndjson")
    documents = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [document["input_path"][-5:] for document in documents] == ["a.png", "a.png", "b.png"]
    assert documents[0]["masks"][0]["size"] == [4, 6]


def test_a_filter(run, image, transport):
    assert run("--input", image, "--label", "car", "--device", "cpu")[0] == 0
    assert transport.requests[0][1].class_ids == (2,)
    status, _, err = run("--input", image, "--label", "dragon")
    assert (status, "no class 'dragon'" in err) == (1, True)


def test_ctrl_c_says_what_was_done(run, image, transport, monkeypatch):
    class Interrupted:
        def __init__(self):
            self.results = 0

        def __call__(self, *_, **__):
            self.results += 1
            if self.results == 3:
                raise KeyboardInterrupt
            return False

    monkeypatch.setattr("maskserve_tools.commands.predict._deliver", Interrupted())
    status, _, err = run("--input", image, image, image, image)
    assert (status, err) == (130, "maskserve: stopped after 2 of 4 images\n")
    assert transport.closed
