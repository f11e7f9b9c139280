"""A film of many clips at once: every pixel of a clip and of its frame is where it belongs."""

from __future__ import annotations

import numpy as np
import pytest

from lifelong_rl.storage import film
from lifelong_rl.storage.film import FRAME, GAP, LINE, PAPER, SOLVED, Cell, make_film

WIDTH, HEIGHT = 20, 12
STEP = WIDTH + 2 * FRAME + GAP, HEIGHT + 2 * FRAME + GAP


def shades(*values: int) -> list[np.ndarray]:
    """Pictures of one shade each."""
    return [np.full((HEIGHT, WIDTH, 3), value, np.uint8) for value in values]


def make(cells: list[list[Cell]], notes: tuple[str, ...] = ()) -> tuple[list[np.ndarray], int]:
    rows = ["down", "up"][: len(cells)]
    return make_film(cells, rows, ["one", "two"][: len(cells[0])], notes, (WIDTH, HEIGHT))


def cut(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    """A clip's picture in its frame."""
    left, top = round(film._length("down", film.FONT)) + 3 * GAP, film.FONT + 2 * GAP
    y, x = top + row * STEP[1] + GAP // 2, left + column * STEP[0] + GAP // 2
    return picture[y : y + STEP[1] - GAP, x : x + STEP[0] - GAP]


def inside(cell: np.ndarray) -> np.ndarray:
    return cell[FRAME:-FRAME, FRAME:-FRAME]


def test_each_clip_is_in_its_place_and_stays_at_its_end() -> None:
    cells = [
        [Cell(shades(10, 20, 30), 25, None), Cell(shades(40), 25, None)],
        [Cell(shades(50, 60), 25, None), Cell(shades(70, 80, 90), 25, None)],
    ]
    pictures, fps = make(cells)
    shown = [
        [[int(inside(cut(p, i, j)).mean()) for j in range(2)] for i in range(2)] for p in pictures
    ]
    assert fps == 25
    assert shown == [[[10, 40], [50, 70]], [[20, 40], [60, 80]], [[30, 40], [60, 90]]]
    assert pictures[0].shape[0] % 2 == pictures[0].shape[1] % 2 == 0


def test_a_frame_tells_from_when_on_it_is_solved() -> None:
    pictures, _ = make([[Cell(shades(10, 20, 30), 25, 1)]])
    frames = [cut(picture, 0, 0) for picture in pictures]
    assert (frames[0][0] == PAPER).all() and (frames[0][FRAME - 1, FRAME - 1] == LINE).all()
    for frame in frames[1:]:
        edge = np.ones(frame.shape[:2], bool)
        edge[FRAME:-FRAME, FRAME:-FRAME] = False
        assert (frame[edge] == SOLVED).all()
    assert [int(inside(frame).mean()) for frame in frames] == [10, 20, 30]


def test_a_clip_of_another_speed_keeps_its_time() -> None:
    fast, slow = Cell(shades(0, 1, 2, 3, 4), 20, None), Cell(shades(10, 20, 30), 10, None)
    pictures, fps = make([[fast, slow]])
    assert fps == 20 and len(pictures) == 5
    assert [inside(cut(p, 0, 0)).max() for p in pictures] == [0, 1, 2, 3, 4]
    assert [inside(cut(p, 0, 1)).max() for p in pictures] == [10, 10, 20, 20, 30]


def test_what_is_faded_is_paper_in_part() -> None:
    (picture,), _ = make([[Cell(shades(100), 25, None, faded=True)]])
    pale = round(100 + film.FADED * (255 - 100))
    assert abs(int(inside(cut(picture, 0, 0)).max()) - pale) <= 1


def test_a_picture_of_another_size_is_made_to_fit_whole() -> None:
    tall = np.full((4 * HEIGHT, WIDTH, 3), 100, np.uint8)
    (picture,), _ = make([[Cell([tall], 25, None)]])
    found = inside(cut(picture, 0, 0))
    assert (found == 100).all(axis=2).sum() == HEIGHT * round(WIDTH / 4)  # a quarter of the size
    assert ((found == 100) | (found == 255)).all()


def test_text_is_made_small_or_cut_off_where_there_is_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = []

    class Draw:
        def text(self, place: object, text: str, *, font_size: int, **more: object) -> None:
            written.append((text, font_size))

    def write(text: str, room: float) -> tuple[str, int]:
        film._write(Draw(), (0, 0), text, "mm", room)  # type: ignore[arg-type]
        return written[-1]

    text = "after drawer-open"
    lengths = {font: film._length(text, font) for font in (film.FONT, 12, film.LEAST_FONT)}
    assert write(text, lengths[film.FONT]) == (text, film.FONT)
    assert write(text, lengths[12]) == (text, 12)
    shown, font = write(text, lengths[film.LEAST_FONT] - 5)
    assert font == film.LEAST_FONT and shown.endswith("…") and text.startswith(shown[:-1])
    assert film._length(shown, font) <= lengths[film.LEAST_FONT] - 5


def test_names_and_notes_are_written_beside_the_clips() -> None:
    def ink(notes: tuple[str, ...]) -> np.ndarray:
        (picture,), _ = make([[Cell(shades(255), 25, None)]], notes)
        return (picture.max(axis=2) < 100).nonzero()

    plain, noted = ink(()), ink(("a note",))
    top = film.FONT + 2 * GAP
    assert (plain[0] < top).any() and (plain[0] > top).any()  # a column's name, and a row's
    assert noted[0].max() > plain[0].max()
