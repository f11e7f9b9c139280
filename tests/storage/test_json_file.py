"""JSON of the wrong kind is one line that says where, and never a traceback."""

import json
import os

import pytest

from lifelong_rl.errors import UserError
from lifelong_rl.storage.json_file import DEEPEST, Name, check_shape, parse_json, read_json

SHAPE = {"name": str, "title": Name, "rows": [[float]], "sizes": {str: int}, "note": str | None}
GOOD = {
    "name": "x\ny",
    "title": "x y",
    "rows": [[1, 2.5], []],
    "sizes": {"a": 3},
    "note": None,
    "more": [{}],
}


def changed(**values):
    return json.dumps(GOOD | values)


def test_what_has_the_shape_is_read(tmp_path):
    (tmp_path / "f").write_text(json.dumps(GOOD))
    assert read_json(tmp_path / "f", SHAPE) == GOOD


@pytest.mark.parametrize(
    "text, problem",
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[]1", "Extra data"),
        ("null", "it is None, not an object"),
        ("[1]", r"it is \[1\], not an object"),
        ("{}", "it lacks 'name'"),
        (changed(name=3), "name is 3, not a text"),
        (changed(note=False), "note is False, not a text or null"),
        (changed(rows=[[1], 2]), r"rows\[1\] is 2, not an array"),
        (changed(rows=[[1, "2"]]), r"rows\[0\]\[1\] is '2', not a number"),
        (changed(rows=[[True]]), "not a number"),
        (changed(rows=[[10**400]]), "not a number"),
        (changed(rows=[[float("nan")]]), "NaN is not JSON"),
        (changed(rows=[[float("-inf")]]), "-Infinity is not JSON"),
        (changed().replace("2.5", "1e999"), "1e999 is too large a number"),
        (changed().replace("2.5", "9" * 5000), "4300"),
        (changed(sizes={"a": 1.0}), r"sizes.a is 1.0, not a whole number"),
        (changed(sizes={"a": True}), r"sizes.a is True, not a whole number"),
        (changed(name="\ud800"), "surrogates not allowed"),
        (changed(more=json.loads("[" * DEEPEST + "]" * DEEPEST)), "more than 200 levels"),
        ("[" * 100_000, "more than 200 levels"),
        ('{"a":' * 100_000, "more than 200 levels"),
        ("\ufeff{}", "BOM"),
        (changed(sizes={"a": 2**63}), "sizes.a is 9223372036854775808, not a whole number"),
        (changed()[:-1] + ', "name": "y"}', "it sets 'name' twice"),
        (changed(more=[]).replace("[]", '{"a": 1, "b": 2, "a": 1}'), "it sets 'a' twice"),
        (changed(title="a\nb"), "title is 'a.*b', not a text in one line"),
        (changed(title="\x1b[2J"), "not a text in one line"),
    ],
)
def test_anything_else_is_one_line(tmp_path, text, problem):
    path = tmp_path / "f"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=problem) as caught:
        read_json(path, SHAPE)
    assert str(caught.value).startswith(f"cannot read {path}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_other_encodings_are_refused():
    with pytest.raises(ValueError, match="utf-8"):
        parse_json(json.dumps(GOOD).encode("utf-16"), SHAPE)


def test_a_folder_a_pipe_and_a_device_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    for name, problem in (("pipe", "regular"), ("zeros", "regular"), ("", "directory")):
        with pytest.raises(UserError, match=f"cannot read {tmp_path / name}: .*{problem}"):
            read_json(tmp_path / name, SHAPE)


def test_a_missing_file_is_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "f", SHAPE)


def test_a_long_value_is_shortened():
    with pytest.raises(ValueError) as caught:
        check_shape({"a": "x" * 1000}, {"a": int})
    assert len(str(caught.value)) < 80
