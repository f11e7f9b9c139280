"""YAML is read to plain values; what is something else is one line, soon and without harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifelong_rl.errors import UserError
from lifelong_rl.storage.json_file import DEEPEST
from lifelong_rl.storage.yaml_file import LONGEST, MOST, dump_yaml, parse_yaml, read_yaml

BOMB = "a0: &a0 [x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 60)
)


@pytest.mark.parametrize(
    "text, value",
    [
        ("", None),
        ("1e-3", 0.001),
        ("2026-11-28", "2026-11-28"),
        ("2026-99-99", "2026-99-99"),
        ("!!int '3'", 3),
        ("=", "="),
        ("{on: off}", {True: False}),
        ("a: &x [1]\nb: *x\n", {"a": [1], "b": [1]}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}\n", {"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}}),
        (  # y is merged into d before it is built where it stands, deeper
            "a: {b: {x: &x {c: 1}, y: &y {<<: *x, c: 2}}}\nd: {<<: *y}\n",
            {"a": {"b": {"x": {"c": 1}, "y": {"c": 2}}}, "d": {"c": 2}},
        ),
    ],
)
def test_plain_values_are_read(text, value):
    found = parse_yaml(text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "text, problem",
    [
        ("a: 1\na: 2", "it sets 'a' twice"),
        ("b: [{a: 1, a: 1}]", "it sets 'a' twice"),
        ("b: {c: &x {a: 1, a: 1}}\nd: {<<: *x}", "it sets 'a' twice"),
        ("1: a\n1.0: b", "it sets 1.0 twice"),
        ("? [a]\n: 1", "cannot be a key"),
        ("? {a: b}\n: 1", "cannot be a key"),
        ("!!python/name:os.system", "the tag !!python/name:os.system is not allowed"),
        ("!!timestamp 2026-99-99", "the tag !!timestamp is not allowed"),
        ("!!set {a}", "the tag !!set is not allowed"),
        ("!!binary =", "the tag !!binary is not allowed"),
        ("!mine x", "the tag !mine is not allowed"),
        ("!!int x", "'x' is no int"),
        ("!!int ''", "'' is no int"),
        ("!!float ''", "'' is no float"),
        ("!!bool maybe", "'maybe' is no bool"),
        ("0x_", "'0x_' is no int"),
        ("9" * 5000, "'9*[.]{3} is no int"),
        ("!!map [a]", "expected a mapping"),
        ("&a [*a]", "an alias in it contains itself"),
        ("&a {b: {c: *a}}", "an alias in it contains itself"),
        ("*a", "undefined alias"),
        (BOMB, f"it holds more than {MOST} values"),
        ("[" * 5000 + "]" * 5000, f"more than {DEEPEST} levels deep"),
        ("[" * 300 + "]" * 300, f"more than {DEEPEST} levels deep"),
        pytest.param("#" * (LONGEST + 1), f"more than {LONGEST} characters", id="long"),
        ("a: b\n---\nc: d", "expected a single document"),
        ("a: \x07", "special characters are not allowed"),
    ],
)
def test_anything_else_is_one_line(tmp_path, text, problem):
    path = tmp_path / "f.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=problem) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path} is not YAML: ")
    assert len(str(caught.value).splitlines()) == 1


def test_other_encodings_and_devices_are_refused(tmp_path):
    (tmp_path / "f.yaml").write_bytes("a: ü".encode("latin-1"))
    with pytest.raises(UserError, match=r"f.yaml is not YAML: 'utf-8' codec"):
        read_yaml(tmp_path / "f.yaml")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"cannot read .*zeros: it is not a regular file"):
        read_yaml(tmp_path / "zeros")


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(["1e4", "null", "2026-11-28", "yes", "=", "<<", "1:30", "*a", "!!set"]),
    lambda child: st.lists(child) | st.dictionaries(st.text() | st.sampled_from(["<<"]), child),
    max_leaves=12,
)


@given(PLAIN)
def test_what_is_written_is_read_back(value):
    assert parse_yaml(dump_yaml(value)) == value
