"""`lifelong_rl.run` and `lifelong_rl.load_runs`: the numbers of the command line, from Python."""

from __future__ import annotations

import dataclasses
import doctest
import inspect
import json
import random
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_plugin
from toy_runs import TOY, results

sys.path.append(str(Path(__file__).with_name("analysis")))

from made_runs import make_results, write_run

import lifelong_rl
from lifelong_rl import api, continual
from lifelong_rl.cli import main
from lifelong_rl.continual import METHODS, ContinualMethod
from lifelong_rl.continual.chain import Chain
from lifelong_rl.continual.ewc import EWC
from lifelong_rl.continual.replay import Replay
from lifelong_rl.envs.sequences import ARM3
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.learning.protocols import Component
from lifelong_rl.registry import AGENTS, SEQUENCES
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.endings import RunFailed, RunStopped

ROOT = Path(__file__).parents[1]
SMALL: dict[str, Any] = {
    "sequence": "toy3",
    "agent": "toy",
    "steps_per_task": 120,
    "num_envs": 4,
    "eval_episodes": 6,
    "eval_points": 1,
    "diagnostics": False,
    "track": (),
}


@pytest.fixture(autouse=True)
def in_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_registries: None
) -> Iterator[None]:
    """What a run writes without a run_dir must be gone, also from the temporary folder."""
    (tmp_path / "here").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    yield
    assert not list((tmp_path / "temporary").glob("lifelong-rl-*"))  # torch has its cache there


def learn(**options: Any) -> lifelong_rl.RunResult:
    return lifelong_rl.run(**{**SMALL, **options})


def matrix_of(**options: Any) -> list[list[float]]:
    found: list[list[float]] = learn(**options).matrix.tolist()
    return found


@pytest.fixture
def on_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Lets something be called after each step of the toy agent."""
    return lambda call: monkeypatch.setattr(toy_plugin, "on_step", lambda task, step: call())


def test_the_examples_of_the_docstrings_run(tmp_path: Path) -> None:
    found = doctest.testmod(api)
    assert found.attempted >= 8 and found.failed == 0


def test_a_run_has_the_numbers_of_the_command_line() -> None:
    words = [*TOY, "--steps-per-task", "120", "--num-envs", "4", "--eval-episodes", "6"]
    words += ["--eval-points", "1", "--no-diagnostics", "--track", "--seed", "3"]
    words += ["--method", "ewc", "--quiet"]
    assert main(["run", *words, "--run-dir", "shell"]) == 0
    before = sorted(Path().rglob("*"))
    found = learn(seed=3, method="ewc", plugin=("toy_plugin",))
    assert sorted(Path().rglob("*")) == before
    (read,) = lifelong_rl.load_runs("shell")
    assert found.run_dir is None and read.run_dir == Path("shell")
    assert found.matrix.shape == (4, 3) and 0 < found.matrix.mean() < 1
    for one in (found, read):
        assert one.matrix.tolist() == results(Path("shell"))["performance_matrix"]
        assert one.metrics == results(Path("shell"))["metrics"]
        assert one.config == read.config and one.tasks == ("left", "right", "up")
    assert found.frame().equals(read.frame())
    kept = learn(seed=3, method="ewc", plugin=("toy_plugin",), run_dir="python")
    assert kept.run_dir == Path("python") and kept.matrix.tolist() == found.matrix.tolist()
    config = Path("python/config.yaml").read_text()
    assert config == Path("shell/config.yaml").read_text()
    with pytest.raises(UserError, match="python holds this run, finished"):
        learn(seed=3, method="ewc", plugin=("toy_plugin",), run_dir="python")


def test_a_run_works_in_another_thread_and_leaves_its_folder_whole() -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(learn(run_dir="run")))
    thread.start()
    thread.join()
    assert found[0].matrix.tolist() == matrix_of()
    assert results(Path("run"))["performance_matrix"] == found[0].matrix.tolist()
    assert json.loads(Path("run/status.json").read_text())["status"] == "finished"


def test_runs_of_several_threads_take_turns(on_step: Any) -> None:
    found: list[Any] = []
    begun, other = threading.Event(), threading.Thread(target=lambda: found.append(matrix_of()))
    main_thread = threading.get_ident()

    def watch() -> None:
        if threading.get_ident() != main_thread:
            begun.set()
        elif not other.ident:
            other.start()
            assert not begun.wait(0.2)

    on_step(watch)
    found.append(matrix_of())
    other.join()
    on_step(lambda: None)
    assert found == [matrix_of()] * 2


def test_random_generators_and_threads_are_afterwards_as_they_were() -> None:
    torch.set_num_threads(2)
    try:
        expected = []
        for between in (lambda: None, learn):
            random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
            between()
            drawn = random.random(), np.random.random(), float(torch.rand(()))  # noqa: NPY002
            expected.append(drawn)
        assert expected[0] == expected[1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_numbers_may_be_numpys() -> None:
    plain: dict[str, Any] = {
        "seed": 3,
        "num_envs": 4,
        "checkpoint_minutes": 0.5,
        "diagnostics": False,
        "method_options": {"strength": 2.0, "samples": 64},
        "agent_options": {"hidden": 4, "lr": 0.5},
    }

    def to_numpy(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: to_numpy(each) for name, each in value.items()}
        return {int: np.int64, float: np.float64, bool: np.bool_}[type(value)](value)

    learn(method="ewc", run_dir="plain", **plain)
    learn(method="ewc", run_dir="numpy", **to_numpy(plain))
    assert Path("plain/config.yaml").read_text() == Path("numpy/config.yaml").read_text()


class Pull(ContinualMethod):
    """A method that nobody has registered: pulls all parameters towards 0."""

    def __init__(self, *, strength: float = 0.1) -> None:
        super().__init__(scope="policy")
        self.strength = strength

    def penalty(self, component: Component, batch: Any) -> torch.Tensor:
        return self.strength * sum(p.square().sum() for p in component.module.parameters())


@pytest.mark.parametrize(
    ("given", "name", "options"),
    [
        (lambda: EWC(strength=3.0), "ewc", {"strength": 3.0}),
        (lambda: continual.make("ewc", strength=3.0), "ewc", {"strength": 3.0}),
        (
            lambda: Chain({"first": Replay(per_task=50), "second": EWC(strength=3.0)}),
            "replay+ewc",
            {"replay.per_task": 50, "ewc.strength": 3.0},
        ),
        (lambda: Pull(strength=0.3), "Pull", {"strength": 0.3}),
    ],
)
def test_a_method_may_be_an_object(
    given: Callable[[], ContinualMethod], name: str, options: dict[str, Any]
) -> None:
    method = given()
    found = learn(method=method, run_dir="object")
    learn(method=name, method_options=options, run_dir="name")
    assert found.matrix.tolist() == results(Path("name"))["performance_matrix"]
    assert found.matrix.tolist() != matrix_of()
    assert Path("object/config.yaml").read_text() == Path("name/config.yaml").read_text()
    assert found.config.method == name
    assert {**found.config.method_options, **options} == found.config.method_options
    with pytest.raises(UserError, match=f"this {type(method).__name__} has been used before"):
        learn(method=method, run_dir="again")
    assert not Path("again").exists()


def test_the_object_itself_learns_and_a_class_makes_a_new_one_each_time() -> None:
    method = EWC()
    learn(method=method)
    assert method.state_dict()
    runs = [learn(method=EWC, method_options={"strength": 3.0}) for _ in range(2)]
    assert runs[0].matrix.tolist() == runs[1].matrix.tolist()
    assert runs[0].config.method == "ewc" and runs[0].config.method_options["strength"] == 3.0


def test_a_method_that_a_learner_has_begun_with_is_refused() -> None:
    from lifelong_rl import agents

    method, env = EWC(), ARM3.make_env(0, num_envs=1)
    agent = agents.SAC.build(env, num_tasks=3, method=method, seed=0, hidden=(8,))
    assert not method.begun
    agent.begin_task(0, env)
    env.close()
    with pytest.raises(UserError, match="this EWC has been used before"):
        learn(method=method)


def test_a_method_object_has_its_own_options() -> None:
    with pytest.raises(UserError, match="method_options go with a method's name"):
        learn(method=EWC(), method_options={"strength": 3.0})

    with pytest.raises(UserError, match=r"the chain 'ewc\+ewc' names a method twice"):
        learn(method=Chain({"one": EWC(), "two": EWC()}))

    class Secret(ContinualMethod):
        """Keeps an option to itself."""

        def __init__(self, *, amount: float = 0.1) -> None:
            super().__init__(scope="policy")

    with pytest.raises(UserError, match="Secret does not tell its option 'amount'"):
        learn(method=Secret())


def test_an_agent_may_be_a_class_or_another_factory() -> None:
    class Mine(toy_plugin.ToyAgent):
        """A toy of one's own."""

    class Maker:
        """Builds toys with few units."""

        def build(self, env: Any, *, hidden: int = 2, **more: Any) -> Any:
            return toy_plugin.ToyAgent.build(env, hidden=hidden, **more)

    assert learn(agent=toy_plugin.ToyAgent).config.agent == "toy"
    assert matrix_of(agent=Mine) == matrix_of(agent="Mine") == matrix_of()
    made = learn(agent=Maker(), agent_options={"hidden": 3})
    assert made.config.agent == "Maker"
    assert made.matrix.tolist() == matrix_of(agent_options={"hidden": 3})


def test_a_sequence_may_be_an_object() -> None:
    class Again(toy_plugin.ToySequence):
        """The three tasks by other names."""

        name, tasks = "again", ("one", "two", "three")

    found = learn(sequence=Again())
    assert found.config.sequence == "again" and found.tasks == Again.tasks
    assert learn(sequence="again").matrix.tolist() == found.matrix.tolist()
    assert learn(sequence=Again()).matrix.tolist() == found.matrix.tolist()  # a cell run twice
    shorter = dataclasses.replace(ARM3, tasks=("reach",))
    with pytest.raises(UserError, match="the sequence name 'arm3' is that of another, of life"):
        learn(sequence=shorter, agent="bc")
    assert SEQUENCES.get("arm3") is ARM3
    with pytest.raises(UserError, match="under its name, a text without spaces"):
        learn(sequence=dataclasses.replace(ARM3, name="my arm"), agent="bc")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sed": 3}, "unknown option 'sed'; did you mean 'seed'?"),
        ({"seed": -1}, "seed must be a whole number in"),
        ({"method": "ecw"}, "unknown method 'ecw'; did you mean 'ewc'?"),
        ({"agent": object}, "the agent 'object' of lifelong_rl.api: .* is not a class with"),
        ({"method": 3}, "a method is registered under its name"),
        ({"method": dict}, "the method 'dict' of lifelong_rl.api: .* is not a subclass of"),
        ({"sequence": 3}, "a sequence is registered under its name"),
    ],
)
def test_bad_input_is_told_before_there_is_a_folder(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        learn(**options, run_dir="run")
    assert not list(Path().iterdir())


def test_a_run_that_cannot_go_on_says_what_is_kept(on_step: Any) -> None:
    def fail() -> None:
        raise OSError(28, "No space left on device")

    on_step(fail)
    with pytest.raises(RunFailed, match=r"stopped in task 1 of 3 .*; nothing is kept, as it has"):
        learn()
    with pytest.raises(RunFailed, match=r"the last checkpoint run/checkpoints/task-000 is intact"):
        learn(run_dir="run")

    def stop() -> None:
        raise KeyboardInterrupt

    on_step(stop)
    with pytest.raises(RunStopped, match=r"^stopped; nothing is kept, as it has no run_dir$") as it:
        learn()
    assert it.value.exit_code == 130
    with pytest.raises(RunStopped, match="go on with: lifelong-rl resume other"):
        learn(run_dir="other")


def test_what_should_be_known_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy_plugin.ToySequence, "notes", ("it is a toy",), raising=False)
    with pytest.warns(UserWarning, match="^it is a toy$"):
        learn()


def test_a_reporter_is_told_how_it_goes() -> None:
    class Rows(lifelong_rl.runs.reporters.Reporter):  # type: ignore[attr-defined]
        def __init__(self) -> None:
            self.seen: list[list[float]] = []

        def row(self, tasks_done: int, success: list[float]) -> None:
            self.seen.append(success)

    rows = Rows()
    assert learn(reporter=rows).matrix.tolist() == rows.seen


MATRIX = [[0.0, 0.1], [0.9, 0.2], [0.5, 1.0]]


@pytest.fixture
def made() -> lifelong_rl.RunResult:
    """A run whose matrix is known."""
    told = make_results(MATRIX, tasks=("reach", "push"), sequence="two", seed=4)
    write_run(Path("runs/one"), told)
    (found,) = lifelong_rl.load_runs(["runs/one", Path("runs")])
    return found


def test_metrics_are_those_of_the_matrix(made: lifelong_rl.RunResult) -> None:
    assert made.metrics["average_performance"] == pytest.approx((0.5 + 1.0) / 2)
    assert made.metrics["learned_performance"] == pytest.approx((0.9 + 1.0) / 2)
    assert made.metrics["forgetting"] == pytest.approx((0.9 - 0.5 + 0.0) / 2)
    assert repr(made).endswith(" average_performance=0.750 forgetting=0.200>")


def test_a_frame_has_a_row_for_each_entry(made: lifelong_rl.RunResult) -> None:
    pytest.importorskip("pandas")
    frame = made.frame()
    assert [*frame.columns] == [
        *("sequence", "order", "agent", "method", "seed"),
        *("phase", "after", "step", "task", "measure", "value"),
    ]
    assert frame.pivot(index="phase", columns="task", values="value")[
        ["reach", "push"]
    ].to_numpy().tolist() == (MATRIX)
    assert [*frame["after"]] == ["before"] * 2 + ["reach"] * 2 + ["push"] * 2
    assert [*frame["step"]] == [0, 0, 1000, 1000, 2000, 2000]
    assert {*frame["measure"]} == {"success"} and {*frame["seed"]} == {4}
    assert {*frame["sequence"]} == {"two"} and {*frame["method"]} == {"finetune"}


def test_without_pandas_the_extra_is_named(
    made: lifelong_rl.RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match=r"pip install 'lifelong-rl\[pandas\]'"):
        made.frame()


def test_a_plot_shows_the_run(made: lifelong_rl.RunResult) -> None:
    figure = made.plot()
    assert figure.axes[0].images[0].get_array().tolist() == np.transpose(MATRIX).tolist()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["1 reach", "2 push"]
    lines = {line.get_label(): line for line in made.plot("success").axes[0].lines}
    assert lines["1 reach"].get_xydata().tolist() == [
        *([0, 0.0], [500, 0.9], [1000, 0.9], [2000, 0.5])
    ]
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    with pytest.raises(UnknownNameError, match="unknown figure 'matrx'; did you mean"):
        made.plot("matrx")  # type: ignore[arg-type]


def test_returns_are_drawn_between_the_lowest_and_the_highest() -> None:
    told = make_results([[-4.0], [6.0]], tasks=("walk",), curves=[[-4.0, 1.0, 6.0]])
    write_run(Path("runs/one"), {**told, "measures": ["return"]})
    (found,) = lifelong_rl.load_runs("runs")
    assert found.plot().axes[0].images[0].get_array().tolist() == [[0.0, 1.0]]
    assert [*found.plot("success").axes[0].lines[0].get_ydata()] == [0.0, 0.5, 1.0]
    assert found.matrix.tolist() == [[-4.0], [6.0]] and found.metrics["retention"] is None


def test_what_is_left_out_is_a_warning(made: lifelong_rl.RunResult) -> None:
    Path("runs/begun").mkdir()
    Path("runs/begun/config.yaml").write_text("seed: 3\n")
    with pytest.warns(UserWarning, match="^runs/begun is left out: not finished: still running"):
        assert len(lifelong_rl.load_runs("runs")) == 1
    with pytest.raises(UserError, match="there is no folder nowhere"):
        lifelong_rl.load_runs("nowhere")


def test_the_signature_has_every_field_of_a_configuration() -> None:
    told = inspect.signature(lifelong_rl.run).parameters
    fields = {field.name: field for field in dataclasses.fields(RunConfig)}
    assert {*told} == {*fields, "run_dir", "reporter"}
    for name, field in fields.items():
        if field.default is not dataclasses.MISSING:
            assert told[name].default == field.default
    assert told["seed"].annotation == "Seed"


def test_names_are_found_and_no_others() -> None:
    assert {"run", "load_runs", "RunResult"} <= {*dir(lifelong_rl)}
    with pytest.raises(AttributeError, match="module 'lifelong_rl' has no attribute 'rum'"):
        _ = lifelong_rl.rum


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
        (tmp_path / name).mkdir()
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    book = nbformat.read(ROOT / "docs/examples/python_api.ipynb", as_version=4)
    for cell in book.cells:
        cell.pop("outputs", None)
        cell |= {"outputs": []} if cell.cell_type == "code" else {}
    nbclient.NotebookClient(book, kernel_name="python3", timeout=600).execute()
    shown = [output["data"] for cell in book.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in data for data in shown) == 2
    assert shown[0]["text/plain"].startswith("<RunResult reach+drawer-open-bc-finetune-seed0 ")
    assert shown[1]["text/plain"].startswith("array([[") and "text/html" in shown[5]
    assert [*Path().iterdir()] == []


def test_registered_objects_are_known_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert METHODS.name_of(EWC) == "ewc" and METHODS.name_of(Pull) is None
    assert SEQUENCES.name_of(ARM3) == "arm3" and SEQUENCES.name_of(None) is None
    assert AGENTS.name_of(toy_plugin.ToyAgent) == "toy" and AGENTS.owner("toy") == "toy_plugin"
    assert AGENTS.owner("nobody") is None
    with monkeypatch.context() as patch:
        patch.delitem(METHODS._registered, "ewc")  # as an entry point that nobody has asked for
        assert METHODS.name_of(EWC) == "ewc"
