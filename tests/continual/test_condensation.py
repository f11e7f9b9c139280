"""Gradient matching by hand, and memories of rows that were learned."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import nn

from lifelong_rl.cli import main
from lifelong_rl.continual.condensation import condense, gradient_distance
from lifelong_rl.continual.functional import call_with
from lifelong_rl.continual.icarl import ICaRL
from lifelong_rl.continual.initial import redraw
from lifelong_rl.continual.replay import Replay
from lifelong_rl.errors import UserError
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.storage.state_tree import tensor_bytes

DISTILLED = {"keep": "distilled", "distill_updates": 12}


def stacked(*rows):
    """Weights of one copy of a layer, as `StackedLinear` has them."""
    return torch.tensor([rows], dtype=torch.float64)


def distance(ours, theirs):
    return gradient_distance({"weight": ours}, {"weight": theirs}).item()


# ------------------------------------------------------------------ the distance


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (stacked([1, 0], [3, 4]), stacked([0, 1], [3, 4]), 1.0),  # at a right angle, and equal
        (stacked([3, 4], [1, 1]), stacked([4, 3], [2, 2]), 1 - 24 / 25),  # lengths do not matter
        (stacked([3, 4], [1, 0]), stacked([-3, -4], [2, 0]), 2.0),  # opposite
        (stacked([1, 0], [1, 2]), stacked([0, 0], [1, 2]), 0.0),  # nothing to match in the first
        (stacked([0, 0], [1, 2]), stacked([1, 0], [1, 2]), 1.0),  # and nothing that matches it
    ],
)
def test_distance_by_hand(ours, theirs, expected):
    assert distance(ours, theirs) == pytest.approx(expected, abs=1e-12)


def test_nodes_of_each_kind_of_layer():
    """Rows of a linear layer, and whole filters of a convolution, 3, 4 against 4, 3."""
    linear = torch.tensor([[1.0, 0], [0, 1]]), torch.tensor([[1.0, 0], [1, 0]])
    filters = torch.tensor([[3.0, 4], [0, 2]]), torch.tensor([[4.0, 3], [0, 1]])
    assert distance(*linear) == 1.0
    assert distance(*(part.view(2, 1, 1, 2) for part in filters)) == pytest.approx(1 / 25)
    sideways = (part.view(2, 1, 2, 1) for part in filters)
    assert distance(*sideways) == pytest.approx(1 / 25)


def test_biases_and_scales_of_norms_do_not_count():
    ours = {"layer.bias": torch.ones(2, 3), "norm.weight": torch.ones(1, 1, 3)}
    theirs = {name: -values for name, values in ours.items()}
    assert gradient_distance(ours, theirs) == 0
    added = {"weight": stacked([1, 0], [0, 1])}
    assert gradient_distance(ours | added, theirs | {"weight": -added["weight"]}) == 4


def double(classifier, **options):
    learner = classifier(None, **options)
    (component,) = learner.components.values()
    component.module.double()
    for task in learner.tasks:
        task["inputs"] = task["inputs"].double()
    return learner, component


def gradient(component, rows, parameters=None):
    named = parameters or dict(component.module.named_parameters())
    loss = call_with(component, named, component.loss, rows)
    found = torch.autograd.grad(loss, list(named.values()), materialize_grads=True)
    return dict(zip(named, found, strict=True))


def test_equal_sets_are_at_distance_zero_and_others_are_not(classifier):
    """In any order, and whatever the heads of other tasks do not learn."""
    learner, component = double(classifier)
    rows = learner.tasks[1]
    order = torch.randperm(256)
    turned = {key: values[order] for key, values in rows.items()}
    wanted = gradient(component, rows)
    assert gradient_distance(gradient(component, turned), wanted) == pytest.approx(0, abs=1e-9)
    few = {key: values[:10] for key, values in rows.items()}
    assert gradient_distance(gradient(component, few), wanted) > 1


def test_it_agrees_with_the_paper_written_out(classifier):
    learner, component = double(classifier)
    halves = [{k: v[part::2] for k, v in learner.tasks[0].items()} for part in range(2)]
    ours, theirs = (gradient(component, rows) for rows in halves)
    expected = 0.0
    for name in ("hidden.0.weight", "hidden.1.weight", "heads.weight"):
        for a, b in zip(ours[name][0], theirs[name][0], strict=True):  # of each output node
            if b.norm() > 0:
                expected += 1 - float(a @ b / (a.norm() * b.norm()))
    assert gradient_distance(ours, theirs).item() == pytest.approx(expected, rel=1e-12)


# ------------------------------------------------------------------ the rows


def condensed(component, rows, per_class=2, updates=30, seed=3, **more):
    torch.manual_seed(seed)
    return condense(component, rows, per_class, updates=updates, learning_rate=0.1, **more)


def test_without_updates_the_rows_are_drawn_from_each_class(classifier):
    learner, component = double(classifier)
    rows = learner.tasks[0]
    drawn = condensed(component, rows, per_class=5, updates=0)
    assert drawn["labels"].tolist() == [0] * 5 + [1] * 5
    for row, label in zip(drawn["inputs"], drawn["labels"], strict=True):
        (source,) = (rows["inputs"] == row).all(dim=1).nonzero().flatten()
        assert rows["labels"][source] == label
    assert len(drawn["inputs"].unique(dim=0)) == 10, "without replacement"


def test_learned_rows_come_nearer_to_what_all_rows_do(classifier):
    """On random networks that they have not been learned with."""
    learner, component = double(classifier)
    rows = learner.tasks[0]
    apart = []
    for updates in (0, 30):
        found = condensed(component, rows, updates=updates)
        torch.manual_seed(99)
        total = 0.0
        for _ in range(5):
            named = {n: redraw(p.detach()) for n, p in component.module.named_parameters()}
            named = {n: p.requires_grad_() for n, p in named.items()}
            for label in (0, 1):
                few, many = (
                    {k: v[each["labels"] == label] for k, v in each.items()}
                    for each in (found, rows)
                )
                compared = gradient(component, few, named), gradient(component, many, named)
                total += float(gradient_distance(*compared))
        apart.append(total)
    assert apart[1] < 0.8 * apart[0]


def test_they_depend_on_the_seed_alone_and_leave_the_network_as_it_is(classifier):
    learner, component = double(classifier)
    component.module.eval()
    before = {name: value.clone() for name, value in component.module.state_dict().items()}
    first, again = (condensed(component, learner.tasks[0]) for _ in range(2))
    other = condensed(component, learner.tasks[0], seed=4)
    assert torch.equal(first["inputs"], again["inputs"])
    assert not torch.equal(first["inputs"], other["inputs"])
    assert not component.module.training
    for name, value in component.module.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.grad is None for parameter in component.module.parameters())
    assert not first["inputs"].requires_grad and first["inputs"].dtype == torch.float64


def test_a_class_of_few_rows_keeps_them(classifier):
    learner, component = double(classifier)
    rows = learner.tasks[0]
    few = (rows["labels"] == 1).nonzero().flatten()[:3]
    index = torch.cat([(rows["labels"] == 0).nonzero().flatten(), few])
    rows = {key: values[index] for key, values in rows.items()}
    found = condensed(component, rows, per_class=3)
    assert found["labels"].tolist() == [0] * 3 + [1] * 3
    kept = {tuple(row) for row in found["inputs"][3:].tolist()}
    assert kept == {tuple(row) for row in rows["inputs"][-3:].tolist()}
    for row in found["inputs"][:3]:
        assert not (rows["inputs"] == row).all(dim=1).any()


def test_classes_of_two_tasks_are_apart(classifier):
    """Of a phase that learns both: a label means another class under another head."""
    learner, component = double(classifier)
    both = {k: torch.cat([learner.tasks[0][k], learner.tasks[2][k]]) for k in learner.tasks[0]}
    found = condensed(component, both, per_class=1, updates=1)
    assert found["task"].tolist() == [0, 0, 2, 2] and found["labels"].tolist() == [0, 1, 0, 1]


# ------------------------------------------------------------------ replay


def test_replay_keeps_learned_rows_in_as_many_bytes(classifier):
    found = {}
    for options in ({}, DISTILLED):
        method = Replay(per_task=8, **options)
        learner = classifier(method)
        for task_id in range(2):
            learner.learn_task(task_id, method, steps=2)
        found[len(options)] = method.state_dict()["memory"]
    assert tensor_bytes(found[0]) == tensor_bytes(found[2])
    rows = found[2]["rows"]
    assert found[2]["sizes"].tolist() == [8, 8]
    assert rows["labels"].tolist() == [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4
    assert rows["task"].tolist() == [0] * 8 + [1] * 8
    for task_id, row in zip(rows["task"], rows["inputs"], strict=True):
        assert not (learner.tasks[int(task_id)]["inputs"] == row).all(dim=1).any()
    (component,) = learner.components.values()
    batch = {key: values[:16] for key, values in learner.tasks[2].items()}
    replayed = method.extend_batch(component, batch)["inputs"][16:]
    assert all((rows["inputs"] == row).all(dim=1).any() for row in replayed)


def test_a_small_distilled_memory_keeps_what_fine_tuning_forgets(classifier):
    kept = {}
    for options in ({}, {"per_task": 10, **DISTILLED}):
        method = Replay(**options) if options else None
        learner = classifier(method, num_tasks=2)
        for task_id in range(2):
            learner.learn_task(task_id, method, steps=150)
        kept[bool(options)] = learner.accuracy(0)
    assert kept[True] > kept[False] + 0.1


def test_a_resumed_run_learns_the_same_rows_and_results(tmp_path, monkeypatch):
    monkeypatch.setenv("LIFELONG_RL_CACHE", str(tmp_path / "cache"))
    for method, size in (("replay", "per_task=4"), ("icarl", "memory_size=12")):
        path, again = tmp_path / method, tmp_path / f"{method}-again"
        options = ["keep=distilled", "distill_updates=3", size]
        command = ["run", "--sequence", "split-digits", "--agent", "classifier", "--run-dir"]
        short = ["--steps-per-task", "10", "--num-envs", "1", "--eval-episodes", "20"]
        quiet = ["--eval-points", "1", "--quiet", "--no-diagnostics", "--agent-options"]
        small = ["hidden=[16]", "--method", method, "--method-options", *options]
        assert main([*command, str(path), *short, *quiet, *small]) == 0
        shutil.copytree(path, again)
        (again / "results.json").unlink()
        for name in ("task-003", "task-004", "task-005"):
            shutil.rmtree(again / "checkpoints" / name)
        assert main(["resume", str(again), "--quiet"]) == 0
        last = "checkpoints/task-005/state.safetensors"
        assert (again / last).read_bytes() == (path / last).read_bytes()
        matrices = [RunFolder.open(p).results()["performance_matrix"] for p in (path, again)]
        assert matrices[0] == matrices[1]


# ------------------------------------------------------------------ icarl


def test_exemplars_are_learned_rows_in_the_order_of_herding(classifier):
    method = ICaRL(memory_size=12, **DISTILLED)
    learner = classifier(method)
    (component,) = learner.components.values()
    kept = []
    for task_id in range(2):
        learner.learn_task(task_id, method, steps=3)
        kept.append(method.state_dict()["exemplars"]["predictor"])
    assert [len(each["rows"]["labels"]) for each in kept[0]] == [6, 6]
    assert [len(each["rows"]["labels"]) for each in kept[1]] == [3] * 4
    for first, last in zip(kept[0], kept[1], strict=False):
        assert torch.equal(last["rows"]["inputs"], first["rows"]["inputs"][:3])
    for each in kept[1]:
        real = learner.tasks[each["task_id"]]["inputs"]
        assert not any((real == row).all(dim=1).any() for row in each["rows"]["inputs"])
    # the first is the one of the three whose features are nearest to the mean of the class's rows
    data, newest = learner.tasks[1], kept[1][2]
    own = {key: values[data["labels"] == 0] for key, values in data.items()}
    network = component.module
    mean = nn.functional.normalize(network.features(own["inputs"]).mean(dim=0), dim=0)
    apart = (network.features(newest["rows"]["inputs"]) - mean).square().sum(dim=1)
    assert int(apart.argmin()) == 0


# ------------------------------------------------------------------ who it is for


def test_what_has_no_classes_is_refused_before_anything_is_written(tmp_path, capsys):
    for agent, method in (("bc", "replay"), ("sac", "ewc+replay")):
        option = "keep=distilled" if method == "replay" else "replay.keep=distilled"
        command = ["run", "--agent", agent, "--method", method, "--method-options", option]
        assert main([*command, "--run-dir", str(tmp_path / "run")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line == (
            "lifelong-rl: the method 'replay' with keep=distilled needs classes to predict, and "
            f"their labels when a task begins, which the agent '{agent}' does not offer"
        )
        assert not (tmp_path / "run").exists()


def test_a_learner_that_declares_nothing_is_refused_when_a_task_begins(
    predictor, stream_learner, distributions
):
    tasks = [{"inputs": torch.randn(8, 2), "labels": torch.randn(8, 2)}]
    gaussian = predictor(nn.Linear(2, 2), distributions["unit_normal"])
    with pytest.raises(UserError, match="needs one network that predicts classes"):
        Replay(**DISTILLED).begin_task(stream_learner(gaussian, tasks=tasks), 0)
    labelled = [{"inputs": torch.randn(8, 2), "labels": torch.arange(8) % 2}]
    network = predictor(nn.Linear(2, 2), distributions["categorical"])
    learner = stream_learner(network, tasks=labelled)
    with pytest.raises(UserError, match="per_task=1 with keep=distilled is not a row for each"):
        Replay(per_task=1, **DISTILLED).begin_task(learner, 0)
    Replay(per_task=2, **DISTILLED).begin_task(learner, 0)
    labelled[0]["unlabelled"] = torch.randn(8, 3, 2)
    with pytest.raises(UserError, match="rows here hold unlabelled too; take keep=real"):
        Replay(**DISTILLED).begin_task(learner, 0)


@pytest.mark.parametrize("kind", [Replay, ICaRL])
@pytest.mark.parametrize(
    "options", [{"keep": "all"}, {"distill_updates": -1}, {"distill_rate": 0.0}]
)
def test_options_out_of_range(kind, options):
    (option,) = options
    with pytest.raises(ValueError, match=f"'{option}' of {kind.__name__} must be"):
        kind(**options)
