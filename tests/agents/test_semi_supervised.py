"""The classifier that learns rows without labels too, and the objectives of those rows."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from tiny_learners import NUM_TASKS, OBS_DIM, Labels
from torch import Tensor, nn
from torch.func import grad, vmap

from lifelong_rl import agents, continual
from lifelong_rl.agents.unlabelled import UNLABELLED_OBJECTIVES, Setting, make
from lifelong_rl.agents.unlabelled.base import UnlabelledObjective, one_camera, ramp
from lifelong_rl.agents.unlabelled.co_training import exchange
from lifelong_rl.agents.unlabelled.teacher import Teacher
from lifelong_rl.continual.functional import call_with
from lifelong_rl.envs.labelled import DIGIT_LAYOUT, SPLIT_DIGITS
from lifelong_rl.envs.labelled_data import Layout
from lifelong_rl.errors import ContractError, UserError
from lifelong_rl.learning import Batch
from lifelong_rl.learning.seeding import seed_everything
from lifelong_rl.options import options_of
from lifelong_rl.registry import METHODS
from lifelong_rl.storage.state_tree import decode_tree, encode_tree

FEW = SPLIT_DIGITS.with_labels(2, seed=5)
ON_DIGITS = [n for n in UNLABELLED_OBJECTIVES.names() if n not in ("co-training", "ssl")]
TWO_CAMERAS = Layout(1, 1, 2, cameras=("left", "right"), turns=False, span=(0.0, 1.0))


def build(objective: str, method: str = "finetune", **options: Any) -> agents.SemiSupervised:
    seed_everything(0, 0)
    known = options_of(METHODS.get(method))
    small = {name: value for name, value in {"per_task": 50, "ratio": 1.0}.items() if name in known}
    return agents.SemiSupervised.build(
        FEW.make_env(0, num_envs=4),
        num_tasks=FEW.num_tasks,
        method=continual.make(method, **small),
        seed=0,
        **{"hidden": (16, 16), "batch_size": 8, "objective": objective, **options},
    )


def learn(agent: Any, task_id: int, steps: int = 40, pause: Any = lambda: None) -> None:
    seed_everything(0, 1 + task_id)
    agent.begin_task(task_id, FEW.make_env(task_id, num_envs=4))
    agent.learn_task(steps, lambda done: None, pause)
    agent.end_task()


class Fixed(nn.Module):
    """Logits that are the rows themselves, times a number that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, rows: Tensor, task: Tensor | None = None) -> Tensor:
        return (self.scale * rows).unsqueeze(0)


def say(rows: Tensor, task: Tensor | None) -> Tensor:
    """A network whose logits are its inputs."""
    return rows


def batch_of(unlabelled: list[list[float]]) -> Batch:
    """One labelled row of two entries, and unlabelled ones that go with it."""
    return {
        "observations": torch.zeros(1, len(unlabelled[0])),
        "labels": torch.zeros(1, dtype=torch.int64),
        "unlabelled": torch.tensor([unlabelled]),
    }


@pytest.mark.parametrize("method", ["finetune", "ewc", "replay", "icarl", "gem"])
def test_without_an_objective_it_is_the_classifier_on_the_labelled_rows(method: str) -> None:
    ours = build("none", method)
    seed_everything(0, 0)
    theirs = agents.Classifier.build(
        FEW.make_env(0, num_envs=4),
        num_tasks=FEW.num_tasks,
        method=continual.make(
            method, **({"per_task": 50} if "per_task" in options_of(METHODS.get(method)) else {})
        ),
        seed=0,
        hidden=(16, 16),
        batch_size=8,
    )
    for task_id in range(2):
        learn(ours, task_id)
        learn(theirs, task_id)
    mine, other = ours.policy.state_dict(), theirs.policy.state_dict()
    assert all(torch.equal(mine[name], other[name]) for name in other)


def test_each_labelled_row_takes_unlabelled_ones_of_the_task_with_it() -> None:
    agent = build("pseudo-label", per_row=3)
    seen = []
    component = agent.components["classifier"]
    loss = component.loss
    component.loss = lambda batch: seen.append(batch) or loss(batch)  # type: ignore[method-assign]
    learn(agent, 2, steps=6)
    all_rows = {
        row.tobytes() for row in FEW.make_env(2, num_envs=1).unlabelled_data()["observations"]
    }
    labelled = FEW.make_env(2, num_envs=1).labelled_data()["observations"]
    assert len(labelled) == 4 and len(seen) >= 3
    one_hot = np.eye(5, dtype=np.float32)[2]
    for batch in seen[:3]:
        assert batch["unlabelled"].shape == (8, 3, 64)
        assert batch["unlabelled_task"].eq(2).all() and batch["unlabelled_task"].shape == (8, 3)
        for row in batch["unlabelled"].flatten(0, 1).numpy():
            assert np.concatenate([row, one_hot]).tobytes() in all_rows
        known = {row.tobytes() for row in labelled[:, :64]}
        assert {row.tobytes() for row in batch["observations"].numpy()} <= known


def test_task_data_has_every_unlabelled_row_once_and_labelled_ones_as_often_as_it_takes() -> None:
    agent = build("pseudo-label", per_row=7)
    agent.begin_task(0, FEW.make_env(0, num_envs=1))
    stream = list(agent.task_data(batch_size=10))
    rows = {name: torch.cat([batch[name] for batch in stream]) for name in stream[0]}
    total = len(agent._unlabelled["observations"])
    assert len(rows["labels"]) == math.ceil(total / 7) and total % 7
    shown = rows["unlabelled"].flatten(0, 1)
    assert torch.equal(shown[:total], agent._unlabelled["observations"])
    assert torch.equal(shown[total:], agent._unlabelled["observations"][: len(shown) - total])
    assert torch.equal(rows["observations"][:4], rows["observations"][4:8])
    # and where nothing is drawn, the labelled rows alone
    plain = build("none")
    plain.begin_task(0, FEW.make_env(0, num_envs=1))
    assert [len(batch["labels"]) for batch in plain.task_data()] == [4]


def test_a_memory_keeps_rows_with_their_unlabelled_ones_and_learns_them_again() -> None:
    agent = build("fixmatch", "replay")
    learn(agent, 0)
    kept = agent.method.memory._rows
    assert kept["unlabelled"].shape == (42, 7, 64) and kept["unlabelled_task"].eq(0).all()
    agent.begin_task(1, FEW.make_env(1, num_envs=1))
    batch = agent._augment(agent._take(torch.arange(4)))
    extended = agent.method.extend_batch(agent.components["classifier"], batch)
    assert extended["unlabelled_task"].unique(return_counts=True)[1].tolist() == [28, 28]
    assert set(extended) == set(batch)


def test_rows_of_other_tasks_take_their_unlabelled_ones_along() -> None:
    component = build("pseudo-label").components["classifier"]
    batch = {
        "observations": torch.zeros(2, 64),
        "labels": torch.zeros(2, dtype=torch.int64),
        "task": torch.zeros(2, dtype=torch.int64),
        "unlabelled": torch.zeros(2, 3, 64),
        "unlabelled_task": torch.zeros(2, 3, dtype=torch.int64),
    }
    changed = component.with_task(batch, torch.tensor([1, 4]))
    assert changed["unlabelled_task"].tolist() == [[1] * 3, [4] * 3]
    assert batch["unlabelled_task"].eq(0).all()


@pytest.mark.parametrize("objective", ON_DIGITS)
def test_the_loss_of_a_row_depends_on_no_other_row(objective: str) -> None:
    """Without what is drawn: the views are the rows themselves."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("fixmatch", "mean_teacher", "noisy_student"):
            patch.setattr(
                f"lifelong_rl.agents.unlabelled.{module}.view", lambda rows, layout, strong: rows
            )
        options = {"noise": 0.0} if objective == "mean-teacher" else {}
        options |= {"threshold": 0.0} if objective in ("fixmatch", "noisy-student") else {}
        agent = build(objective, objective_options=options)
        learn(agent, 0)
        agent.objective.share = 1.0
        component: Any = agent.components["classifier"]
        batch = next(agent.task_data(4))
        rows = [{name: value[k : k + 1] for name, value in batch.items()} for k in range(4)]
        mean = torch.stack([component.loss(row) for row in rows]).mean()
        torch.testing.assert_close(component.loss(batch), mean)


@pytest.mark.parametrize("objective", ON_DIGITS)
def test_gradients_of_single_rows_can_be_taken_at_once(objective: str) -> None:
    agent = build(objective)
    learn(agent, 0)
    component: Any = agent.components["classifier"]
    batch = next(agent.task_data(4))
    parameters = {n: p.detach() for n, p in component.module.named_parameters()}

    def of_row(values: Any, row: Batch) -> Tensor:
        one_row = {name: value.unsqueeze(0) for name, value in row.items()}
        return call_with(component, values, component.loss, one_row)

    found = vmap(grad(of_row), in_dims=(None, 0), randomness="different")(parameters, batch)
    assert all(found[n].shape == (4, *p.shape) for n, p in parameters.items())
    assert all(found[n].isfinite().all() for n in parameters)


@pytest.mark.parametrize("method", ["finetune", "replay"])
@pytest.mark.parametrize("objective", ON_DIGITS)
def test_it_goes_on_within_a_task_to_the_last_bit(objective: str, method: str) -> None:
    through = build(objective, method)
    learn(through, 0)
    saved: list[Any] = []

    def pause() -> None:
        if through._done == 12 and not saved:
            state = encode_tree({"agent": through.task_state()})
            saved.append((state, torch.get_rng_state()))

    learn(through, 1, pause=pause)
    resumed = build(objective, method)
    (state, generator), *_ = saved
    env = FEW.make_env(1, num_envs=4)
    resumed.load_task_state(decode_tree(*state)["agent"], env)
    torch.set_rng_state(generator)
    resumed.learn_task(40, lambda done: None)
    resumed.end_task()
    assert encode_tree(resumed.state_dict()) == encode_tree(through.state_dict())


def test_fixmatch_learns_strong_views_as_what_weak_ones_are_sure_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sohn et al. 2020, eq. 4, by hand."""
    monkeypatch.setattr(
        "lifelong_rl.agents.unlabelled.fixmatch.view",
        lambda rows, layout, strong: rows.flip(1) / 2 if strong else rows,
    )
    sure, unsure = math.log(0.96 / 0.04), math.log(0.94 / 0.06)
    batch = batch_of([[sure, 0.0], [0.0, unsure], [0.0, sure], [unsure, 0.0]])
    objective = make("fixmatch", Setting(2, DIGIT_LAYOUT), {"weight": 2.0})
    # of four rows two pass; each is wrong on its strong view, whose logits are (0, s/2)
    of_one = math.log(1 + math.exp(sure / 2))
    assert objective.loss(say, batch).item() == pytest.approx(2.0 * 2 * of_one / 4, rel=1e-5)
    lenient = make("fixmatch", Setting(2, DIGIT_LAYOUT), {"threshold": 0.9})
    others = math.log(1 + math.exp(unsure / 2))
    assert lenient.loss(say, batch).item() == pytest.approx((2 * of_one + 2 * others) / 4, rel=1e-5)
    # the weak view gives no gradient, and labelled rows are shown in weak views
    network = Fixed()
    objective.loss(lambda rows, task: network(rows, task)[0], batch).backward()
    slope = 1 / (1 + math.exp(-sure / 2))
    expected = 2.0 * 2 * (sure / 2) * slope / 4
    assert network.scale.grad is not None
    assert network.scale.grad.item() == pytest.approx(expected, rel=1e-5)
    late = make("fixmatch", Setting(2, DIGIT_LAYOUT), {"start": 0.5})
    assert late.loss(say, batch).item() == 0.0
    late.share = 0.5
    assert late.loss(say, batch).item() > 0.0


def test_the_weight_of_pseudo_labels_grows() -> None:
    """Lee 2013, eq. 16, and the threshold."""
    batch = batch_of([[2.0, 0.0], [0.0, 4.0]])
    both = (math.log(1 + math.exp(-2.0)) + math.log(1 + math.exp(-4.0))) / 2
    objective = make("pseudo-label", Setting(2), {"threshold": 0.0})
    for share, alpha in ((0.0, 0.0), (0.1, 0.0), (0.35, 1.5), (0.6, 3.0), (1.0, 3.0)):
        objective.share = share
        assert objective.loss(say, batch).item() == pytest.approx(alpha * both, rel=1e-5, abs=1e-7)
    strict = make("pseudo-label", Setting(2))  # softmax(2) is 0.88, softmax(4) is 0.98
    strict.share = 1.0
    assert strict.loss(say, batch).item() == pytest.approx(
        3.0 * math.log(1 + math.exp(-4.0)) / 2, rel=1e-5
    )
    with pytest.raises(UserError, match=r"let full be at least start"):
        make("pseudo-label", Setting(2), {"start": 0.5, "full": 0.4})
    assert [ramp(s, 0.2, 0.2) for s in (0.1, 0.2)] == [0.0, 1.0]


def test_the_mean_teacher_is_the_average_of_what_the_student_was() -> None:
    """After n updates: θ' = Σ_i w_i θ_i, by hand; first the plain mean, then with the decay."""
    network = Fixed()
    objective: Any = make("mean-teacher", Setting(2), {"decay": 0.75})
    objective.begin_task(network)
    values = [1.0, 3.0, 5.0, -2.0, 7.0, 0.5]
    for value in values:
        network.scale.data.fill_(value)
        objective.after_update(network, {})
    # a is 0, 1/2, 2/3, 3/4 (a plain mean of four), and 3/4 from then on
    expected = sum(values[:4]) / 4
    for value in values[4:]:
        expected = 0.75 * expected + 0.25 * value
    assert objective.teacher.module.scale.item() == pytest.approx(expected, rel=1e-6)
    assert network.scale.requires_grad and not objective.teacher.module.scale.requires_grad
    assert objective.followers == (objective.teacher.module,)


def test_the_mean_teacher_asks_for_agreement() -> None:
    network = Fixed()
    objective: Any = make("mean-teacher", Setting(2), {"noise": 0.0, "weight": 4.0})
    objective.begin_task(network)
    network.scale.data.fill_(3.0)
    batch = batch_of([[1.0, 0.0]])
    first, other = (1 / (1 + math.exp(-s)) for s in (3.0, 1.0))
    for share, weight in (
        (1.0, 4.0),
        (0.4, 4.0),
        (0.2, 4.0 * math.exp(-1.25)),
        (0.0, 4 * math.exp(-5)),
    ):
        objective.share = share
        loss = objective.loss(lambda rows, task: network(rows, task)[0], batch)
        assert loss.item() == pytest.approx(weight * (first - other) ** 2, rel=1e-4)


def test_a_teacher_follows_a_network_that_grows() -> None:
    teacher, small, large = Teacher(), nn.Linear(2, 2), nn.Linear(2, 5)
    teacher.become(small)
    teacher.average(large, 0.9)
    assert teacher.module is not None
    assert torch.equal(dict(teacher.module.named_parameters())["weight"], large.weight)
    copied = Teacher()
    copied.load_state_dict(teacher.state_dict(), nn.Linear(2, 5))
    assert torch.equal(copied.state_dict()["weight"], large.weight)
    teacher.load_state_dict({}, small)
    assert teacher.modules == ()


def test_co_training_passes_on_what_the_other_camera_is_sure_of() -> None:
    sure, unsure = math.log(0.97 / 0.03), math.log(0.6 / 0.4)
    first = torch.tensor([[sure, 0.0], [unsure, 0.0]])
    second = torch.tensor([[0.0, unsure], [0.0, sure]])
    # the first camera teaches row 0 as class 0, the second row 1 as class 1; each disagrees
    of_second, of_first = math.log(1 / 0.4), math.log(1 / 0.4)
    expected = 0.5 * (of_second / 2 + of_first / 2)
    assert exchange(first, second, 0.95).item() == pytest.approx(expected, rel=1e-5)
    assert exchange(first, second, 0.99).item() == 0.0
    # no gradient goes through what teaches
    first.requires_grad_(), second.requires_grad_()
    exchange(first, second, 0.95).backward()
    assert first.grad is not None and first.grad[0].abs().sum() == 0 < first.grad[1].abs().sum()
    assert second.grad is not None and second.grad[1].abs().sum() == 0 < second.grad[0].abs().sum()


def test_co_training_shows_one_camera_at_a_time() -> None:
    rows = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert one_camera(rows, TWO_CAMERAS, 0).tolist() == [[1.0, 2.0, 0.0, 0.0]]
    assert one_camera(rows, TWO_CAMERAS, 1).tolist() == [[0.0, 0.0, 3.0, 4.0]]
    shown = []

    def watch(rows: Tensor, task: Tensor | None) -> Tensor:
        shown.append(rows)
        return rows[:, :2] + rows[:, 2:]

    objective = make("co-training", Setting(2, TWO_CAMERAS), {"threshold": 0.0})
    batch = {
        "observations": torch.tensor([[0.0, 0.0, 0.0, 0.0]]),
        "labels": torch.tensor([0]),
        "unlabelled": torch.tensor([[[1.0, 0.0, 0.0, 3.0]]]),
    }
    objective.share = 0.1  # of the 0.2 in which the weight of the exchange grows
    # camera 0 says class 0 by one, camera 1 says class 1 by three; labels cost log 2 each
    exchanged = 0.5 * (math.log(1 + math.exp(3.0)) + math.log(1 + math.exp(1.0)))
    loss = objective.loss(watch, batch).item()
    assert loss == pytest.approx(math.log(2) + 0.5 * exchanged, rel=1e-5)
    assert [rows.tolist() for rows in shown[2:]] == [[[1, 0, 0, 0]], [[0, 0, 0, 3]]]
    with pytest.raises(UserError, match=r"two cameras, and these tasks have 1 \(scan\)"):
        make("co-training", Setting(2, DIGIT_LAYOUT))


def test_a_noisy_student_learns_from_copies_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lifelong_rl.agents.unlabelled.noisy_student.view", lambda rows, layout, strong: rows
    )
    network = Fixed()
    objective: Any = make(
        "noisy-student", Setting(2, DIGIT_LAYOUT), {"rounds": 2, "threshold": 0.5}
    )
    objective.begin_task(network)
    batch = batch_of([[1.0, 0.0]])
    copies = []
    for update in range(9):
        objective.share = update / 9
        loss = objective.loss(lambda rows, task: network(rows, task)[0], batch)
        assert (loss.item() == 0.0) == (objective.teacher.module is None)
        network.scale.data.fill_(float(update))
        objective.after_update(network, {})
        teacher = objective.teacher.module
        copies.append(None if teacher is None else teacher.scale.item())
    assert copies == [None, None, None, 3.0, 3.0, 3.0, 6.0, 6.0, 6.0]
    objective.begin_task(network)
    assert objective.teacher.module is None


def test_gradual_leaves_out_what_it_is_least_sure_of() -> None:
    logits = torch.tensor([[3.0, 0.0], [0.0, 0.1], [0.0, 2.0], [1.0, 0.0], [5.0, 0.0]])
    rows, classes = make("gradual", Setting(2), {"drop": 0.4}).choose(logits)
    assert rows.tolist() == [0, 2, 4] and classes.tolist() == [0, 1, 0]
    rows, _ = make("gradual", Setting(2), {"drop": 0.9}).choose(logits)
    assert rows.tolist() == [4]


class Unlabelled(Labels):
    """The second task has no labels."""

    def labelled_data(self) -> dict[str, np.ndarray]:
        found = super().labelled_data()
        return {n: rows[:0] for n, rows in found.items()} if self.task_id else found

    def unlabelled_data(self) -> dict[str, np.ndarray]:
        return {"observations": super().labelled_data()["observations"]}


def test_a_task_without_labels_is_learned_by_those_of_the_network() -> None:
    def begun(objective: str) -> agents.SemiSupervised:
        agent = agents.SemiSupervised.build(
            Unlabelled(0), num_tasks=NUM_TASKS, method=None, seed=0, objective=objective
        )
        agent.begin_task(1, Unlabelled(1))
        return agent

    agent = begun("gradual")
    (rows,) = agent.task_data()
    shown = torch.from_numpy(Unlabelled(1).unlabelled_data()["observations"]).float()
    agent.policy.eval()
    with torch.no_grad():
        said = agent.policy(shown[:, :OBS_DIM], shown[:, OBS_DIM:].argmax(dim=1))[0].softmax(dim=1)
    sure = said.max(dim=1).values
    kept = sure >= sure.quantile(0.1)
    assert len(rows["labels"]) == 108 and torch.equal(rows["labels"], said.argmax(dim=1)[kept])
    # a checkpoint within the task keeps the classes of its beginning
    for parameter in agent.policy.parameters():
        parameter.data.neg_()  # as if it had learned since
    state = encode_tree(agent.task_state())
    agent.load_task_state(decode_tree(*state), Unlabelled(1))
    (again,) = agent.task_data()
    assert all(torch.equal(again[name], rows[name]) for name in rows)
    with pytest.raises(UserError, match=r"no labels, and the objective 'none'.*objective=gradual"):
        begun("none")


def test_objectives_that_change_pictures_are_refused_where_there_are_none() -> None:
    for name in ("fixmatch", "noisy-student", "co-training", "ssl"):
        with pytest.raises(UserError, match="the rows of these tasks are none"):
            make(name, Setting(2))
    with pytest.raises(UserError, match="no strong views"):
        make("none", Setting(2), {"view": "strong"})
    make("mean-teacher", Setting(2))
    with pytest.raises(UserError, match=r"'threshold' of unlabelled-objective 'fixmatch'"):
        make("fixmatch", Setting(2, DIGIT_LAYOUT), {"threshold": 2})


def test_objectives_of_others_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Smallest(UnlabelledObjective):
        def loss(self, logits: Any, batch: Batch) -> Tensor:
            return batch["unlabelled"].square().mean()

    monkeypatch.setitem(UNLABELLED_OBJECTIVES._registered, "smallest", Smallest)
    assert make("smallest", Setting(2)).loss(say, batch_of([[2.0, 0.0]])).item() == 2.0
    monkeypatch.setitem(UNLABELLED_OBJECTIVES._registered, "wrong", METHODS.get("replay"))
    with pytest.raises(ContractError, match="wrong"):
        make("wrong", Setting(2))


def test_copies_share_nothing() -> None:
    agent = build("mean-teacher")
    learn(agent, 0)
    before = copy.deepcopy(agent.objective.state_dict())
    learn(agent, 1)
    after = agent.objective.state_dict()
    assert before["updates"] == after["updates"] == 20
    assert not all(
        torch.equal(before["teacher"][n], after["teacher"][n]) for n in before["teacher"]
    )
