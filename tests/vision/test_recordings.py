"""Frames of one's own: what is read of folders of pictures and films, and what is refused."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lifelong_rl.cli.main import main
from lifelong_rl.storage.clip import encode_gif, encode_mp4
from lifelong_rl.vision.frames import load_frames

SIZE = 16


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def picture(seed: int, height: int = SIZE, width: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write_episodes(folder: Path, lengths: list[int]) -> list[np.ndarray]:
    """Episodes of random pictures, the pictures of each, (n, 16, 16, 3)."""
    made = []
    for k, length in enumerate(lengths):
        shown = [picture(100 * k + t) for t in range(length)]
        for t, array in enumerate(shown):
            write(folder / f"episode {k}" / f"{t}.png", array)
        made.append(np.stack(shown))
    return made


def read(*arguments: object) -> int:
    return main(["frames", *map(str, arguments), "--size", str(SIZE)])


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The line on stderr, after checking that nothing was written."""
    capsys.readouterr()
    assert read(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "Traceback" not in line and not Path("frames").exists()
    return line


def images(array: np.ndarray) -> np.ndarray:
    """Pictures (n, h, w, 3) as frames have them, (n, 3, h, w)."""
    return array.transpose(0, 3, 1, 2)


def test_a_folder_an_episode_in_the_order_of_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    made = write_episodes(Path("kitchen"), [3, 12, 2])
    Path("kitchen/episode 10").mkdir()
    for t in (0, 1):
        write(Path(f"kitchen/episode 10/{t}.PNG"), picture(7 + t))
    made.append(np.stack([picture(7), picture(8)]))
    assert read("--from", "kitchen") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("19 frames of 4 episodes  frames/kitchen.npz  ")
    assert out[1] == "too few for pretrain and probe, which need 5 episodes"
    found = load_frames(Path("frames/kitchen.npz"))
    np.testing.assert_array_equal(found.images[:, 0], images(np.concatenate(made)))
    np.testing.assert_array_equal(found.episodes, np.repeat([0, 1, 2, 3], [3, 12, 2, 2]))
    np.testing.assert_array_equal(found.steps, np.concatenate([*map(np.arange, (3, 12, 2, 2))]))
    np.testing.assert_allclose(found.labels["progress"][:3, 0], [0, 0.5, 1])
    told = found.metadata
    assert (told["tasks"], told["policies"]) == (["kitchen"], ["recorded"])
    assert (told["cameras"], told["size"]) == (["camera"], SIZE)


def test_what_was_read_is_not_read_again_and_not_replaced(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_episodes(Path("kitchen"), [2] * 5)
    assert read("--from", "kitchen", "--out", "k.npz") == 0
    content = Path("k.npz").read_bytes()
    capsys.readouterr()
    assert read("--from", "kitchen", "--out", "k.npz") == 0
    assert capsys.readouterr().out == "k.npz holds these 10 frames already\n"
    write(Path("kitchen/episode 1/0.png"), picture(999))
    line = refused(capsys, "--from", "kitchen", "--out", "k.npz")
    assert "k.npz holds other frames (recordings: " in line and "--overwrite" in line
    assert Path("k.npz").read_bytes() == content
    assert read("--from", "kitchen", "--out", "k.npz", "--overwrite") == 0
    assert Path("k.npz").read_bytes() != content


def test_one_folder_of_pictures_is_one_episode(capsys: pytest.CaptureFixture[str]) -> None:
    for t in range(3):
        write(Path(f"walk/{t}.jpg"), np.full((20, 30, 3), 80 * t, np.uint8))
    assert read("--from", "walk", "--cameras", "head") == 0
    found = load_frames(Path("frames/walk.npz"))
    assert found.metadata["cameras"] == ["head"] and found.episodes.tolist() == [0, 0, 0]
    np.testing.assert_allclose(found.images.mean(axis=(1, 2, 3, 4)), [0, 80, 160], atol=1)


def test_cameras_have_folders_or_films_called_after_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = {name: np.stack([picture(k + t) for t in range(2)]) for k, name in ((0, "a"), (9, "b"))}
    for episode in ("one", "two"):
        for name, pictures in shown.items():
            for t, each in enumerate(pictures):
                write(Path("desk", episode, name, f"{t}.png"), each)
    assert read("--from", "desk") == 0
    both = load_frames(Path("frames/desk.npz"))
    assert both.metadata["cameras"] == ["a", "b"] and both.images.shape == (4, 2, 3, SIZE, SIZE)
    np.testing.assert_array_equal(both.images[2:, 1], images(shown["b"]))
    assert read("--from", "desk", "--cameras", "b", "--out", "b.npz") == 0
    np.testing.assert_array_equal(load_frames(Path("b.npz")).images[:, 0], both.images[:, 1])
    Path("frames/desk.npz").unlink()
    Path("frames").rmdir()
    line = refused(capsys, "--from", "desk", "--cameras", "c")
    assert "unknown camera 'c'; known: a, b" in line
    write(Path("desk/two/a/2.png"), picture(1))
    line = refused(capsys, "--from", "desk")
    assert "desk/two: the cameras have different numbers of pictures (a 3, b 2)" in line
    write(Path("desk/two/c/0.png"), picture(1))
    assert "'one' is of other cameras (a, b) than 'two' (a, b, c)" in refused(
        capsys, "--from", "desk"
    )


@pytest.mark.parametrize("ending", ["gif", "mp4"])
def test_a_film_is_an_episode(ending: str) -> None:
    pytest.importorskip("av")
    grey = np.linspace(0, 250, 6).round().astype(np.uint8)
    pictures = [np.full((48, 64, 3), value, np.uint8) for value in grey]
    encode = encode_gif if ending == "gif" else encode_mp4
    Path("films").mkdir()
    for name in ("1", "2"):
        Path(f"films/{name}.{ending}").write_bytes(encode(pictures, 10))
    assert read("--from", "films") == 0
    found = load_frames(Path("frames/films.npz"))
    assert found.steps.tolist() == 2 * [*range(6)]
    for episode in (0, 1):
        own = found.images[found.episodes == episode].mean(axis=(1, 2, 3, 4))
        np.testing.assert_allclose(own, grey, atol=3)


def test_the_square_in_the_middle_is_kept_and_made_small_without_aliasing() -> None:
    """Of stripes a pixel wide the mean is left; what is beside the square is not seen."""
    stripes = np.zeros((64, 100, 3), np.uint8)
    stripes[:, ::2] = 200
    stripes[:, :18] = stripes[:, 82:] = (255, 0, 0)
    for t in range(2):
        write(Path(f"stripes/{t}.png"), stripes)
    assert read("--from", "stripes") == 0
    shown = load_frames(Path("frames/stripes.npz")).images[0, 0].astype(float)
    np.testing.assert_allclose(shown[:, :, 1:-1], 100, atol=8)


def test_pictures_are_turned_as_their_camera_held_them() -> None:
    upright = picture(3)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Path("phone").mkdir()
    for t in range(2):
        Image.fromarray(np.rot90(upright)).save(f"phone/{t}.png", exif=exif)
    assert read("--from", "phone") == 0
    np.testing.assert_array_equal(
        load_frames(Path("frames/phone.npz")).images[0, 0], upright.transpose(2, 0, 1)
    )


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 4), min_size=1, max_size=3),
    margin=st.integers(0, 5),
    upright=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_is_written_is_read_back(
    lengths: list[int], margin: int, upright: bool, seed: int
) -> None:
    """Pictures of the right size come back as they were, whatever lies beside their square."""
    rng = np.random.default_rng(seed)
    wide = (SIZE, SIZE + 2 * margin) if not upright else (SIZE + 2 * margin, SIZE)
    made = [rng.integers(0, 256, (length, *wide, 3), np.uint8) for length in lengths]
    with TemporaryDirectory() as name:
        for k, episode in enumerate(made):
            for t, each in enumerate(episode):
                write(Path(name, "own", str(k), f"{8 + t}.png"), each)  # 8, 9, 10, 11
        out = Path(name, "own.npz")
        assert read("--from", Path(name, "own"), "--out", out) == 0
        found = load_frames(out)
    row, column = (margin, 0) if upright else (0, margin)
    square = np.concatenate(made)[:, row : row + SIZE, column : column + SIZE]
    np.testing.assert_array_equal(found.images[:, 0], images(square))
    assert found.episodes.tolist() == [k for k, n in enumerate(lengths) for _ in range(n)]
    assert found.steps.tolist() == [t for n in lengths for t in range(n)]


def bomb(side: int) -> bytes:
    """A small PNG of many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(100))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def whole() -> bytes:
    write(Path("whole.png"), picture(0))
    return Path("whole.png").read_bytes()


def deep() -> bytes:
    Image.fromarray(np.zeros((SIZE, SIZE), np.uint16)).save("deep.png")
    return Path("deep.png").read_bytes()


BROKEN = {
    "truncated": (lambda: whole()[:-200], "e/1.png is truncated or damaged"),
    "bomb": (lambda: bomb(40_000), "e/1.png has more than 89478485 pixels"),
    "small bomb": (lambda: bomb(10_000), "e/1.png has more than 89478485 pixels"),
    "text": (lambda: b"no picture", "e/1.png is no PNG"),
    "jpeg": (lambda: b"\xff\xd8\xff\xe0 no jpeg", "e/1.png is no PNG"),
    "empty": (lambda: b"", "e/1.png is no PNG"),
    "depths": (deep, "e/1.png has values of more than 8 bits (I;16)"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_picture_is_named_in_one_line(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make, expected = BROKEN[kind]
    write(Path("own/e/0.png"), picture(0))
    Path("own/e/1.png").write_bytes(make())
    assert f"lifelong-rl: own/{expected}" in refused(capsys, "--from", "own")


@pytest.mark.parametrize("ending", ["gif", "mp4"])
@pytest.mark.parametrize("damage", ["truncated", "between pictures", "text", "empty", "playlist"])
def test_a_broken_film_is_named_in_one_line(
    ending: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    av = pytest.importorskip("av")
    pictures = [picture(k, 32, 32) for k in range(8)]
    film = (encode_gif if ending == "gif" else encode_mp4)(pictures, 10)
    Path("secret.mp4").write_bytes(encode_mp4(pictures, 10))
    with av.open("secret.mp4") as container:
        ends = [packet.pos + packet.size for packet in container.demux(video=0) if packet.size]
    broken = {
        "between pictures": film[: ends[3] if ending == "mp4" else -1],
        "truncated": film[: len(film) * 2 // 3],
        "text": b"no film at all",
        "empty": b"",
        "playlist": b"ffconcat version 1.0\nfile secret.mp4\n",
    }
    Path("own").mkdir()
    Path(f"own/film.{ending}").write_bytes(broken[damage])
    line = refused(capsys, "--from", "own")
    assert line.startswith(f"lifelong-rl: own/film.{ending} is ")


def test_without_pyav_a_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lifelong_rl.storage.picture_file.find_spec", lambda name: None)
    Path("own").mkdir()
    Path("own/film.mp4").write_bytes(b"film")
    assert "own/film.mp4 needs PyAV: pip install 'lifelong-rl[video]'" in refused(
        capsys, "--from", "own"
    )


def test_pictures_of_two_sizes_are_not_one_episode(capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("own/e/0.png"), picture(0, 20, 30))
    write(Path("own/e/1.png"), picture(0, 30, 20))
    line = refused(capsys, "--from", "own")
    assert "own/e/1.png has 20×30 pixels, and 0.png of the same episode 30×20" in line


def test_links_stay_in_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    write_episodes(Path("own"), [2, 2])
    write(Path("private/0.png"), picture(5))
    link = Path("own/episode 1/2.png")
    link.symlink_to(Path("private/0.png").absolute())
    line = refused(capsys, "--from", "own")
    assert "own/episode 1/2.png is a link that leads out of own; put a copy in its place" in line
    link.unlink()
    link.symlink_to("1.png")
    Path("own/again").symlink_to("episode 0")
    assert read("--from", "own") == 0
    found = load_frames(Path("frames/own.npz"))
    assert np.bincount(found.episodes).tolist() == [2, 2, 3]
    np.testing.assert_array_equal(found.images[0], found.images[2])


def test_what_is_left_out_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    write_episodes(Path("own"), [2, 1])
    Path("own/notes.txt").write_text("about them")
    Path("own/episode 0/thumbs.db").write_bytes(b"")
    Path("own/none").mkdir()
    assert read("--from", "own") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[:4] == [
        "skipped own/notes.txt: it is neither a picture nor a film",
        "skipped own/episode 0/thumbs.db: it is neither a picture nor a film",
        "skipped own/none: it holds no pictures",
        "skipped own/episode 1: one picture is no episode",
    ]
    assert out[4].startswith("2 frames of 1 episodes")


def test_folders_that_make_no_sense_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere is no folder of pictures or films" in refused(capsys, "--from", "nowhere")
    Path("own").mkdir()
    assert "own holds no episode: a folder of pictures" in refused(capsys, "--from", "own")
    write(Path("own/0.png"), picture(0))
    assert "own holds no episode of two pictures or more" in refused(capsys, "--from", "own")
    write(Path("own/e/0.png"), picture(0))
    assert "own holds pictures beside e; put the pictures of" in refused(capsys, "--from", "own")
    Path("own/0.png").unlink()
    assert "own is of one camera, and 2 are named" in refused(
        capsys, "--from", "own", "--cameras", "a", "b"
    )
    write(Path("own/e/deep/0.png"), picture(0))
    assert "own/e holds pictures beside deep" in refused(capsys, "--from", "own")
    Path("own/e/0.png").unlink()
    write(Path("own/e/deep/deeper/0.png"), picture(0))
    assert "own/e/deep/deeper lies too deep" in refused(capsys, "--from", "own")
    for option in (["--policy", "random"], ["--count", "7"], ["--sequence", "arm3"]):
        line = refused(capsys, "--from", "own", *option)
        assert f"--from reads what is there; leave out {option[0]}" in line
    assert "it must end in .npz" in refused(capsys, "--from", "own", "--out", "own.txt")


def test_encoders_learn_from_recordings_and_are_probed_without_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A spot that wanders from left to right: how far the episode has got can be read off."""
    for k in range(20):
        rng = np.random.default_rng(k)
        for t in range(12):
            shown = rng.integers(0, 40, (32, 32, 3), np.uint8)
            shown[8:16, 2 * t : 2 * t + 10] = 220
            write(Path(f"spots/{k}/{t}.png"), shown)
    assert main(["frames", "--from", "spots", "--size", "32"]) == 0
    learn = ["--frames", "frames/spots.npz", "--threads", "1", "--batch-size", "16"]
    short = [*learn, "--shift", "1", "--relative-shift", "1", "--cutout", "0", "--steps", "3"]
    for objective in ("atc", "simclr"):
        assert main(["pretrain", *short, "--objective", objective, "--out", objective]) == 0
    between = ["--objective", "tcn", "--options", "between=cameras"]
    assert main(["pretrain", *short, *between, "--out", "tcn"]) == 2
    assert "2 cameras are needed, and the frames are of 1" in capsys.readouterr().err
    probe = ["probe", "atc", "--frames", "frames/spots.npz", "--threads", "1", "--json", "p.json"]
    assert main([*probe, "--supervised-steps", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == [
        *("features", "progress", "R²", "error", "NN", "progress"),
        *("alignment", "uniformity", "rank"),
    ]
    assert lines[-1].startswith("these frames are recordings without labels: hand, object and joi")
    results = json.loads(Path("p.json").read_text())["results"]
    assert list(results) == [
        *("mean", "this encoder", "random encoder", "pixel PCA", "supervised from pixels"),
    ]
    assert results["mean"]["probe"]["progress"]["r2"] == pytest.approx(0, abs=0.01)
    pca = results["pixel PCA"]
    assert pca["probe"]["progress"]["r2"] > 0.9 and pca["retrieval"]["progress"]["error"] < 0.05
    assert set(pca["probe"]) == {"progress"}
