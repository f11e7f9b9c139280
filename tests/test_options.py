"""Options are declared once: checks, files, commands and help all come from the declaration."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
import pytest
from annotated_types import Ge, GroupedMetadata, Gt, Interval, Le, Len, Lt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifelong_rl import agents
from lifelong_rl.analysis.reproduction import command
from lifelong_rl.cli.run import Run
from lifelong_rl.continual import METHODS, ContinualMethod, make
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.options import (
    Count,
    DeclaredOptions,
    Layers,
    Matches,
    NonNegative,
    Option,
    OptionError,
    Positive,
    PositiveShare,
    Scope,
    Share,
    check_options,
    describe,
    options_of,
    read_entries,
    resolve_options,
)
from lifelong_rl.registry import AGENTS, Registry
from lifelong_rl.runs.config import RunConfig, parse_value, read_config
from lifelong_rl.runs.setup import prepare
from lifelong_rl.storage.yaml_file import dump_yaml
from lifelong_rl.vision.continual import ENCODER_METHODS
from lifelong_rl.vision.objectives import OBJECTIVES

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
FACTORIES: dict[str, Any] = {
    f"{registry.kind} {name}": registry.get(name)
    for registry in (AGENTS, METHODS, OBJECTIVES, ENCODER_METHODS)
    for name in registry.names()
    if registry.get(name).__module__.startswith("lifelong_rl.")  # and not a plug-in of a test
}
CASES = [
    (f"{name}.{option}", one)
    for name, f in FACTORIES.items()
    for option, one in options_of(f).items()
]
REPEATED = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def parts(annotation: Any) -> tuple[Any, list[Any]]:
    if get_origin(annotation) is not Annotated:
        return annotation, []
    base, *extras = get_args(annotation)
    return base, [one for e in extras for one in (e if isinstance(e, GroupedMetadata) else [e])]


def bounds(limits: list[Any]) -> tuple[Any, bool, Any, bool]:
    """Least and largest value, and whether each is itself left out."""
    low, high, low_open, high_open = None, None, False, False
    for limit in limits:
        match limit:
            case Ge(ge=value):
                low = value
            case Gt(gt=value):
                low, low_open = value, True
            case Le(le=value):
                high = value
            case Lt(lt=value):
                high, high_open = value, True
    return low, low_open, high, high_open


def allowed(annotation: Any) -> st.SearchStrategy[Any]:
    """Values that an annotation allows, in their plain form."""
    base, limits = parts(annotation)
    if get_origin(base) in (Union, UnionType):
        return st.one_of(*map(allowed, get_args(base)))
    if get_origin(base) is Literal:
        return st.sampled_from(get_args(base))
    if base is bool:
        return st.booleans()
    if base is NoneType:
        return st.none()
    low, low_open, high, high_open = bounds(limits)
    if base is int:
        return st.integers(-(2**63) if low is None else low, 2**63 - 1 if high is None else high)
    if base is float:
        exclude = {"exclude_min": low_open, "exclude_max": high_open}
        return st.floats(low, high, allow_nan=False, allow_infinity=False, **exclude)
    if get_origin(base) is dict:
        return st.dictionaries(st.sampled_from(["weight", "threshold"]), st.integers(0, 9))
    if base is str and not limits:
        return st.sampled_from(["none", "pseudo-label", "fixmatch"])
    if base is str:
        (pattern,) = limits
        return st.from_regex(pattern.pattern, fullmatch=True, alphabet="auto_0123456789.")
    assert get_origin(base) is tuple
    return st.lists(allowed(get_args(base)[0]), min_size=1, max_size=3).map(tuple)


def outside(annotation: Any) -> list[Any]:
    """Values just outside what an annotation allows, and of other kinds."""
    base, limits = parts(annotation)
    if get_origin(base) in (Union, UnionType):
        return [v for member in get_args(base) for v in outside(member) if v not in (None, 17)]
    if get_origin(base) is Literal:
        return ["nonsense", 17]
    if base is bool:
        return ["nonsense", 17]
    if base is str:
        return [17]
    if get_origin(base) is dict:
        return ["text", 3]
    if base is NoneType:
        return []
    low, low_open, high, high_open = bounds(limits)
    if base is int:
        found = [True, 1.5, "1", None, 2**63 if high is None else high + 1]
        return [*found, *([low - 1] if low is not None else [])]
    if base is float:
        found = [True, math.nan, math.inf, "1", None]
        if low is not None:
            found.append(low if low_open else math.nextafter(low, -math.inf))
        if high is not None:
            found.append(high if high_open else math.nextafter(high, math.inf))
        return found
    entries = get_args(base)[0]
    return ["text", 3, [], *([one] for one in outside(entries))]


@pytest.mark.parametrize("name", FACTORIES)
def test_defaults_pass_their_own_checks_and_every_option_is_told(name: str) -> None:
    declared = options_of(FACTORIES[name])
    plain = resolve_options(FACTORIES[name], {}, name)
    assert list(plain) == list(declared)
    again = check_options(FACTORIES[name], plain, name)
    assert again == {option: one.default for option, one in declared.items()}
    for option, one in declared.items():
        assert one.doc and one.allowed, option
        assert type(again[option]) is type(one.default), option


@pytest.mark.parametrize("name", FACTORIES)
def test_all_options_of_our_own_are_declared_not_read_off_a_signature(name: str) -> None:
    for owner in FACTORIES[name].__mro__:
        declared = vars(owner).get("Options")
        assert declared is None or issubclass(declared, DeclaredOptions)
    assert dataclasses.is_dataclass(FACTORIES[name].Options)


@pytest.mark.parametrize(("name", "option"), CASES, ids=[name for name, _ in CASES])
def test_values_just_outside_are_refused_by_name(name: str, option: Option) -> None:
    key, _, wanted = name.partition(".")
    factory, (kind, _, called) = FACTORIES[key], key.partition(" ")
    owner = f"{kind} '{called}'"
    for value in outside(option.annotation):
        with pytest.raises(OptionError) as caught:
            check_options(factory, {wanted: value}, owner)
        line = str(caught.value)
        assert f"the option '{wanted}' of {owner} must be {option.allowed}, not " in line
        assert isinstance(caught.value, UserError) and isinstance(caught.value, ValueError)


def of_kind(kind: str) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    """A name and values of some of its options."""
    names = [key.removeprefix(f"{kind} ") for key in FACTORIES if key.startswith(f"{kind} ")]

    def some(name: str) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
        declared = options_of(FACTORIES[f"{kind} {name}"])
        values = {option: allowed(one.annotation) for option, one in declared.items()}
        return st.tuples(st.just(name), st.fixed_dictionaries({}, optional=values))

    return st.sampled_from(names).flatmap(some)


@pytest.mark.parametrize("kind", ["agent", "method", "objective", "encoder-method"])
@given(st.data())
@REPEATED
def test_every_option_survives_a_file(kind: str, data: st.DataObject) -> None:
    name, chosen = data.draw(of_kind(kind))
    factory = FACTORIES[f"{kind} {name}"]
    resolved = resolve_options(factory, chosen, name)
    read = parse_value(dump_yaml(resolved))
    assert read == resolved
    assert check_options(factory, read, name) == {
        option: chosen.get(option, one.default) for option, one in options_of(factory).items()
    }


NAMES = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=9
).filter(lambda name: not name.startswith("-"))
"""Names and paths as users have them; one that begins with a dash is an option to any command."""


@st.composite
def whole_configs(draw: Any) -> RunConfig:
    """Configurations in which any field may be set but the protocol, which fixes others."""
    fields = {
        name: st.lists(NAMES, min_size=1, max_size=3).map(tuple)
        if get_args(parts(one.annotation)[0])[:1] == (str,)
        else NAMES
        if parts(one.annotation) == (str, [])
        else allowed(one.annotation)
        for name, one in options_of(RunConfig).items()
        if name not in ("agent", "method", "agent_options", "method_options", "protocol")
    }
    chosen = draw(st.fixed_dictionaries({}, optional=fields))
    for kind in ("agent", "method"):
        chosen[kind], options = draw(of_kind(kind))
        factory = FACTORIES[f"{kind} {chosen[kind]}"]
        chosen[f"{kind}_options"] = resolve_options(factory, options, kind)
    return RunConfig(**chosen)


@given(of_kind("agent"), of_kind("method"))
@REPEATED
def test_every_option_survives_the_command_that_a_report_prints(
    agent: tuple[str, dict[str, Any]], method: tuple[str, dict[str, Any]]
) -> None:
    config = RunConfig(
        agent=agent[0],
        method=method[0],
        agent_options=resolve_options(FACTORIES[f"agent {agent[0]}"], agent[1], "agent"),
        method_options=resolve_options(FACTORIES[f"method {method[0]}"], method[1], "method"),
    )
    assert parsed(command(config, [config.seed])) == config


@given(whole_configs())
@REPEATED
def test_every_field_of_a_run_survives_the_command(config: RunConfig) -> None:
    assert parsed(command(config, [config.seed])) == config


def parsed(line: str) -> RunConfig:
    words = shlex.split(line)
    assert words[:2] == ["lifelong-rl", "run"]
    run = Run.parse("run", words[2:])
    return RunConfig(**{f.name: getattr(run, f.name) for f in dataclasses.fields(RunConfig)})


@given(config=whole_configs())
@REPEATED
def test_every_field_of_a_run_survives_its_file(config: RunConfig, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("configs") / "config.yaml"
    path.write_text(dump_yaml(config.as_dict()), encoding="utf-8")
    assert RunConfig(**read_config(path)) == config


class Base(ContinualMethod):
    """A method."""

    @dataclass(frozen=True, kw_only=True)
    class Options(ContinualMethod.Options):
        """Options of Base.

        Attributes:
            strength: How much
                of it.
        """

        strength: NonNegative = 1.0

    options: Options


class Further(Base):
    """A method with one more option, and the only file that knows of it."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Base.Options):
        """Options of Further.

        Attributes:
            rows: How many.
            scope: Where it acts.
        """

        rows: Count = 7
        scope: Scope = "both"

    options: Options


class Fixed(Further):
    """One that has no rows to choose."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Further.Options):
        """Options of Fixed."""

        rows: Count = field(default=1, init=False)


def test_one_more_option_is_one_declaration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METHODS, "_registered", {})
    METHODS.register("further")(Further)
    assert [(o.name, o.default, o.doc) for o in options_of(Further).values()] == [
        ("rows", 7, "How many."),
        ("scope", "both", "Where it acts."),
        ("strength", 1.0, "How much of it."),
    ]
    resolved = prepare(RunConfig(method="further", method_options={"rows": 3})).config
    assert resolved.method_options == {"rows": 3, "scope": "both", "strength": 1.0}
    assert "rows=3" in command(resolved, [0])
    method = make("further", rows=np.int64(5))
    assert isinstance(method, Further) and method.options.rows == 5
    with pytest.raises(UserError, match="'rows' of method 'further' must be a whole number of at"):
        prepare(RunConfig(method="further", method_options={"rows": 0}))
    with pytest.raises(UnknownNameError, match="unknown further option 'row'; did you mean 'rows'"):
        prepare(RunConfig(method="further", method_options={"row": 0}))


def test_direct_construction_is_checked_by_the_same_declaration() -> None:
    assert Further(strength=2).options == Further.Options(strength=2.0)
    assert Further(Further.Options(rows=2), strength=3).options.as_dict() == {
        "rows": 2,
        "scope": "both",
        "strength": 3.0,
    }
    for error in (UserError, ValueError):
        with pytest.raises(error, match="the option 'strength' of Further must be a number of at"):
            Further(strength=-1)
        with pytest.raises(error, match="unknown Further option 'strenght'; did you mean"):
            Further(strenght=1)
        with pytest.raises(error, match="or 'both', not 'polcy'; did you mean 'policy'"):
            Further(scope="polcy")


def test_a_fixed_option_is_none() -> None:
    assert list(options_of(Fixed)) == ["scope", "strength"] and Fixed().options.rows == 1
    with pytest.raises(UnknownNameError, match="unknown Fixed option 'rows'"):
        Fixed(rows=2)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Positive, "a number above 0"),
        (Share | None, "a number in [0, 1] or null"),
        (PositiveShare, "a number in (0, 1]"),
        (Annotated[float, Interval(ge=0, lt=10)], "a number in [0, 10)"),
        (Annotated[int, Le(3)], "a whole number of at most 3"),
        (Layers, "a list of one or more whole numbers of at least 1"),
        (Annotated[tuple[str, ...], Len(2)], "a list of 2 or more texts"),
        (Scope, "'policy', 'value' or 'both'"),
        (Annotated[str, Matches("a+", "some a")] | bool, "some a or true or false"),
        (dict[str, int], "'name: value' lines"),
    ],
)
def test_what_is_allowed_in_words(annotation: Any, words: str) -> None:
    assert describe(annotation) == words


@pytest.mark.parametrize(
    ("annotation", "value", "plain"),
    [
        (float, 1, 1.0),
        (float, np.float32(0.5), 0.5),
        (int, np.int64(3), 3),
        (bool, np.bool_(True), True),
        (float | int, 1, 1),
        (float | str, 1, 1.0),
        (Layers, [8, np.int32(4)], (8, 4)),
        (Layers, np.array([8, 4]), (8, 4)),
    ],
)
def test_values_are_made_plain(annotation: Any, value: Any, plain: Any) -> None:
    holder = dataclasses.make_dataclass("Holder", [("held", annotation)])
    found = check_options(holder, {"held": value}, "")["held"]
    assert found == plain and type(found) is type(plain)


class Old:
    """From before there were declarations.

    Args:
        rows: How many.
    """

    def __init__(self, *, rows: Count = 3, sizes: tuple[int, ...] = (3, 4), other: Any = len):
        pass


class OldOnTop(Base):
    """Adds an option to a method that declares its own."""

    def __init__(self, *, more: int = 1, **given: Any) -> None:
        super().__init__(**given)


def test_a_plug_in_without_declarations_has_its_parameters() -> None:
    assert options_of(Old)["rows"] == Option("rows", Count, 3, "How many.")
    assert resolve_options(Old, {"rows": 2}, "method 'old'") == {"rows": 2, "sizes": [3, 4]}
    with pytest.raises(OptionError, match="'rows' of method 'old' must be a whole number of at"):
        check_options(Old, {"rows": 0}, "method 'old'")
    assert list(options_of(OldOnTop)) == ["more", "strength", "scope"]
    assert OldOnTop(more=2, strength=3).options.strength == 3.0


@pytest.mark.parametrize(
    ("file", "registry", "name", "options"),
    [
        ("stay_close", METHODS, "stay-close", {"strength": 1.0}),
        ("reinforce", AGENTS, "reinforce", {"hidden": [64, 64], "learning_rate": 1e-3}),
    ],
)
def test_the_plug_ins_of_the_documentation_have_theirs(
    file: str,
    registry: Registry,
    name: str,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    spec = importlib.util.spec_from_file_location(file, EXAMPLES / f"{file}.py")
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert resolve_options(registry.get(name), {}, f"{registry.kind} '{name}'") == options
    with pytest.raises(OptionError, match=f"of {registry.kind} '{name}' must be"):
        check_options(
            registry.get(name), {next(iter(options)): "much"}, f"{registry.kind} '{name}'"
        )


def test_entries_of_a_docstring() -> None:
    text = """First.

    Args:
        one: Of it,
            and more.
        **two: Others.

    Raises:
        three: Not this.
    """
    assert read_entries(text, "Args") == {"one": "Of it, and more.", "two": "Others."}
    assert read_entries(text, "Attributes") == read_entries(None, "Args") == {}


def test_who_sees_is_declared() -> None:
    seeing = {name for name in agents.__all__ if getattr(agents, name).sees}
    assert seeing == {"SAC", "BC", "BCStream"}
