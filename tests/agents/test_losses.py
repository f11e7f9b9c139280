"""Losses of labelled rows, weights of rows and tasks, and what the classifier does with them."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from tiny_learners import CLASSES, NUM_TASKS, OBS_DIM, Labels
from torch import Tensor
from torch.func import grad, vmap
from torch.nn import functional as F

from lifelong_rl import agents, continual
from lifelong_rl.agents.losses import (
    LabelledLoss,
    anchor_loss,
    balancing_weights,
    class_weights,
    uncertain_losses,
)
from lifelong_rl.continual.functional import call_with
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Batch
from lifelong_rl.learning.adam import FusedAdam
from lifelong_rl.learning.parameters import loss_gradient
from lifelong_rl.learning.rows import take_rows
from lifelong_rl.learning.seeding import seed_everything
from lifelong_rl.storage.state_tree import decode_tree, encode_tree

ALL = {"loss": "anchor", "balance": "both", "task_weights": "uncertainty"}


def logits_of(*rows: tuple[float, ...]) -> Tensor:
    """Logits whose sigmoids are these."""
    return torch.tensor(rows, dtype=torch.float64).logit()


def build(method: str = "replay", agent: Any = agents.Classifier, **options: Any) -> Any:
    seed_everything(0, 0)
    small = {"per_task": 8} if method == "replay" else {}
    return agent.build(
        Both(0) if method == "joint" else Rows(0),
        num_tasks=NUM_TASKS,
        method=continual.make(method, **small),
        seed=0,
        **{"hidden": (8, 8), "batch_size": 16, **options},
    )


class Rows(Labels):
    """Three rows in four of the first class; the second task has twice as many rows."""

    def labelled_data(self) -> dict[str, np.ndarray]:
        found = super().labelled_data()
        common = np.arange(len(found["labels"])) % 4 > 0
        return {**found, "labels": np.where(common, 0, 1 + found["labels"] % 2)}


class Both(Labels):
    """Both tasks at once."""

    def labelled_data(self) -> dict[str, np.ndarray]:
        parts = [Rows(k).labelled_data() for k in range(NUM_TASKS)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def learn(agent: Any, task_id: int, steps: int = 40, pause: Any = lambda: None) -> None:
    seed_everything(0, 1 + task_id)
    agent.begin_task(task_id, Rows(task_id))
    agent.learn_task(steps, lambda done: None, pause)
    agent.end_task()


def test_the_anchor_loss_by_hand() -> None:
    """Ryou et al. 2019: γ = 0.5 and δ = 0.05, the right class first."""
    logits = logits_of((0.8, 0.7, 0.1), (0.02, 0.5, 0.9))
    found = anchor_loss(logits, torch.tensor([0, 0]), gamma=0.5, slack=0.05)
    first = -math.log(0.8) - math.sqrt(0.95) * math.log(0.3) - math.sqrt(0.35) * math.log(0.9)
    # the anchor of the second is 0, as 0.02 is less than the slack
    second = -math.log(0.02) - math.sqrt(1.5) * math.log(0.5) - math.sqrt(1.9) * math.log(0.1)
    assert found.tolist() == pytest.approx([first, second], rel=1e-9)


def test_no_gradient_goes_through_the_anchor_and_one_through_the_scale() -> None:
    logits = logits_of((0.8, 0.7, 0.1)).requires_grad_()
    anchor_loss(logits, torch.tensor([0]), gamma=0.5, slack=0.05).sum().backward()
    assert logits.grad is not None
    right, wrong = logits.grad[0, 0].item(), logits.grad[0, 1].item()
    assert right == pytest.approx(0.8 - 1, rel=1e-9)  # of -log q alone
    scale = math.sqrt(0.95)
    of_scale = 0.5 / scale * 0.7 * 0.3 * -math.log(0.3)
    assert wrong == pytest.approx(scale * 0.7 + of_scale, rel=1e-9)


def test_an_anchor_loss_without_gamma_is_binary_cross_entropy() -> None:
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 1, 1])
    expected = F.binary_cross_entropy_with_logits(
        logits, F.one_hot(labels, 4).float(), reduction="none"
    ).sum(dim=1)
    for slack in (0.05, 1.0):
        found = anchor_loss(logits, labels, gamma=0.0, slack=slack)
        torch.testing.assert_close(found, expected)


def test_the_anchor_loss_of_saturated_outputs_has_a_gradient() -> None:
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    found = anchor_loss(logits, torch.tensor([0, 0]), gamma=0.5, slack=0.05)
    found.sum().backward()
    assert found.isfinite().all() and logits.grad is not None and logits.grad.isfinite().all()
    # both wrong: 200 of the right class, and 200 of the other, √2 times
    assert found[1].item() == pytest.approx(200 * (1 + math.sqrt(2)), rel=1e-5)


def test_weights_that_balance_groups() -> None:
    found = balancing_weights(torch.tensor([0, 0, 2, 0]), 5)
    assert found.tolist() == pytest.approx([2 / 3, 2 / 3, 2.0, 2 / 3])  # 4 / (2 · 3), 4 / (2 · 1)
    assert balancing_weights(torch.tensor([3]), 5).tolist() == [1.0]
    assert balancing_weights(torch.tensor([1, 1]), 5).tolist() == [1.0, 1.0]


def test_classes_are_balanced_within_each_task() -> None:
    labels, task = torch.tensor([0, 1, 0, 1, 1, 0, 1]), torch.tensor([0, 1, 0, 0, 1, 1, 1])
    found = class_weights(labels, task, 3)
    # task 0 has two rows of class 0 and one of class 1; task 1 one of class 0 and three of class 1
    assert found.tolist() == pytest.approx([3 / 4, 4 / 6, 3 / 4, 3 / 2, 4 / 6, 2.0, 4 / 6])
    alone = class_weights(labels[task == 1], None, 3)
    torch.testing.assert_close(alone, found[task == 1])


@pytest.mark.parametrize("mean", [0.05, 0.5, 3.0])
def test_the_least_uncertain_loss_is_where_its_weight_is_one_over_twice_the_loss(
    mean: float,
) -> None:
    best = torch.tensor([math.log(2 * mean)], dtype=torch.float64, requires_grad=True)
    loss = uncertain_losses(torch.tensor([mean], dtype=torch.float64), best)
    loss.sum().backward()
    assert loss.item() == pytest.approx(0.5 + math.log(2 * mean) / 2, rel=1e-9)
    assert best.grad is not None and best.grad.item() == pytest.approx(0.0, abs=1e-12)
    assert math.exp(-best.item()) == pytest.approx(1 / (2 * mean), rel=1e-9)


@pytest.mark.parametrize("balances_tasks", [False, True])
def test_scales_of_tasks_are_learned_and_come_to_rest_there(balances_tasks: bool) -> None:
    """Balancing tasks does not move where: it counts the whole of a task's loss."""
    scales = torch.nn.Parameter(torch.zeros(3))
    loss = LabelledLoss(lambda logits, labels: logits[:, 0], 3, balances_tasks, scales)
    batch = {"task": torch.tensor([0, 0, 0, 2]), "labels": torch.zeros(4, dtype=torch.int64)}
    fixed = torch.tensor([[0.1], [0.3], [0.2], [2.0]])
    optimizer = FusedAdam([scales], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        loss(fixed, batch).backward()
        optimizer.step()
    weights = (-scales.detach()).exp().tolist()
    assert weights == pytest.approx([1 / 0.4, 1.0, 1 / 4.0], rel=1e-3)


def test_the_weighted_anchor_loss_by_hand() -> None:
    """Three rows of two tasks: everything at once."""
    logits = logits_of((0.8, 0.7, 0.1), (0.8, 0.7, 0.1), (0.02, 0.5, 0.9))
    batch = {
        "labels": torch.tensor([0, 0, 0]),
        "task": torch.tensor([0, 0, 1]),
        "weight": torch.tensor([0.5, 2.0, 1.5]),
    }
    of_rows = partial(anchor_loss, gamma=0.5, slack=0.05)
    first, _, last = of_rows(logits, batch["labels"]).tolist()
    scales = torch.tensor([0.4, -1.0])
    found = LabelledLoss(of_rows, 2, True, scales)(logits, batch).item()
    of_first, of_last = math.exp(-0.4) * first + 0.2, math.exp(1.0) * last - 0.5
    expected = (0.75 * 0.5 * of_first + 0.75 * 2.0 * of_first + 1.5 * 1.5 * of_last) / 3
    assert found == pytest.approx(expected, rel=1e-6)
    plain = LabelledLoss(of_rows)(logits, {"labels": batch["labels"]}).item()
    assert plain == pytest.approx((2 * first + last) / 3, rel=1e-6)


def test_the_classifier_learns_what_its_options_say() -> None:
    agent = build(anchor_gamma=2.0, anchor_slack=0.2, **ALL)
    learn(agent, 0)
    agent.begin_task(1, Rows(1))
    component = agent.components["classifier"]
    batch = agent.method.extend_batch(component, agent._take(torch.arange(6)))
    assert batch["task"].tolist() == [1] * 6 + [0] * 6
    # three rows in four of class 0, the others of classes 1 and 2
    labels = torch.from_numpy(Rows(1).labelled_data()["labels"])
    counts = [(labels == k).sum().item() for k in range(CLASSES)]
    expected = [120 / (3 * counts[label]) for label in batch["labels"][:6].tolist()]
    assert batch["weight"][:6].tolist() == pytest.approx(expected)
    with torch.no_grad():
        agent._log_variances.copy_(torch.tensor([0.5, -0.5]))
        rows = anchor_loss(component.logits(batch), batch["labels"], gamma=2.0, slack=0.2)
        s = agent._log_variances[batch["task"]]
        expected_loss = (batch["weight"] * ((-s).exp() * rows + s / 2)).mean()
        torch.testing.assert_close(component.loss(batch), expected_loss)
        fewer = take_rows(batch, torch.tensor([0, 6, 7, 8]))
        rows = (fewer["weight"] * ((-s).exp() * rows + s / 2)[[0, 6, 7, 8]]).tolist()
        balanced = (2.0 * rows[0] + 2 / 3 * sum(rows[1:])) / 4
        assert component.loss(fewer).item() == pytest.approx(balanced, rel=1e-5)


def test_all_tasks_at_once_are_balanced_in_each_batch() -> None:
    agent = build("joint", balance="tasks")
    agent.begin_task(0, Both(0))
    batch = agent._take(torch.arange(58, 64))  # two rows of the first task, four of the second
    assert batch["task"].tolist() == [0, 0, 1, 1, 1, 1] and "weight" not in batch
    rows = F.cross_entropy(
        agent.components["classifier"].logits(batch), batch["labels"], reduction="none"
    )
    expected = (rows[:2].mean() + rows[2:].mean()) / 2
    torch.testing.assert_close(agent.components["classifier"].loss(batch), expected)


@pytest.mark.parametrize("agent_class", [agents.Classifier, agents.SemiSupervised])
def test_the_loss_of_a_row_depends_on_no_other_row_of_its_task(agent_class: Any) -> None:
    more = {"objective": "none"} if agent_class is agents.SemiSupervised else {}
    agent = build(agent=agent_class, **ALL, **more)
    learn(agent, 0)
    component: Any = agent.components["classifier"]
    batch = next(agent.task_data(6))
    rows = [{name: value[k : k + 1] for name, value in batch.items()} for k in range(6)]
    mean = torch.stack([component.loss(row) for row in rows]).mean()
    torch.testing.assert_close(component.loss(batch), mean)

    # and all gradients of rows can be taken at once, as methods take them
    def of_row(values: Any, row: Batch) -> Tensor:
        one_row = {name: value.unsqueeze(0) for name, value in row.items()}
        return call_with(component, values, component.loss, one_row)

    parameters = {n: p.detach() for n, p in component.module.named_parameters()}
    found = vmap(grad(of_row), in_dims=(None, 0))(parameters, batch)
    expected = loss_gradient(component, batch)
    assert all(expected[name].abs().max() > 0 for name in ("hidden.0.weight", "heads.weight"))
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name].mean(dim=0), gradient)


def test_labelled_rows_beside_unlabelled_ones_are_weighed_alike() -> None:
    """Without an objective it is the classifier, to the last bit."""
    pair = [build(**ALL), build(agent=agents.SemiSupervised, objective="none", **ALL)]
    for agent in pair:
        learn(agent, 0)
        learn(agent, 1)
    mine, other = ({**agent.state_dict()} for agent in pair)
    other.pop("objective")
    assert encode_tree(mine) == encode_tree(other)


def test_no_method_sees_the_scales_and_a_run_keeps_them() -> None:
    agent = build("reset+ewc", task_weights="uncertainty")
    learn(agent, 0)
    first, second = agent._log_variances.tolist()
    assert first != 0.0 and second == 0.0
    component = agent.components["classifier"]
    assert all(p is not agent._log_variances for p in component.module.parameters())
    agent.begin_task(1, Rows(1))  # the network is reset, and its old weights have importance
    assert agent._log_variances.tolist() == [first, 0.0]
    agent._update()
    assert agent._log_variances[1].item() != 0.0
    found = agent.diagnostics()
    assert found["classifier_weight_of_task_1"] != 1.0
    copied = build("reset+ewc", task_weights="uncertainty")
    copied.load_state_dict(decode_tree(*encode_tree(agent.state_dict())))
    assert torch.equal(copied._log_variances, agent._log_variances)
    assert encode_tree(copied.state_dict()) == encode_tree(agent.state_dict())


def test_it_goes_on_within_a_task_to_the_last_bit() -> None:
    through = build(**ALL)
    learn(through, 0)
    saved: list[Any] = []

    def pause() -> None:
        if through._done == 9 and not saved:
            state = encode_tree({"agent": through.task_state()})
            saved.append((state, torch.get_rng_state()))

    learn(through, 1, pause=pause)
    resumed = build(**ALL)
    (state, generator), *_ = saved
    resumed.load_task_state(decode_tree(*state)["agent"], Rows(1))
    torch.set_rng_state(generator)
    resumed.learn_task(40, lambda done: None)
    resumed.end_task()
    assert encode_tree(resumed.state_dict()) == encode_tree(through.state_dict())


def test_what_a_loss_says_is_learned() -> None:
    """Rare classes are missed by the plain loss, and found by the balanced one."""
    shares = {}
    for balance in ("none", "classes"):
        agent = build("finetune", balance=balance, learning_rate=3e-3)
        learn(agent, 0, steps=60)
        found = Rows(0).labelled_data()
        said = agent.act(found["observations"].astype(np.float32))
        shares[balance] = float((said > 0).mean())
    assert shares["none"] < 0.1 < 0.25 < shares["classes"]


class Even(Labels):
    """As many rows of each class."""

    def labelled_data(self) -> dict[str, np.ndarray]:
        found = super().labelled_data()
        return {**found, "labels": np.arange(len(found["labels"])) % CLASSES}


class OneTask(Labels):
    """Rows that tell no task."""

    def labelled_data(self) -> dict[str, np.ndarray]:
        found = super().labelled_data()
        return {**found, "observations": found["observations"][:, :OBS_DIM]}


@pytest.mark.parametrize(
    ("env", "method", "options", "told"),
    [
        (Rows(0), "finetune", {"anchor_gamma": 1.0}, "anchor_gamma is of the anchor loss"),
        (Rows(0), "finetune", {"anchor_slack": 0.1}, "anchor_slack is of the anchor loss"),
        (Rows(0), "ewc", {"balance": "tasks"}, "the method brings no rows of other tasks"),
        (Rows(0), "agem+ewc", {"balance": "both"}, "balance=both weighs the tasks of a batch"),
        (Even(0), "replay", {"balance": "classes"}, "equally many labelled rows .* leave it out"),
        (Even(0), "replay", {"balance": "both"}, "equally many labelled rows .* balance=tasks"),
        (OneTask(0), "replay", {"balance": "tasks"}, "balance=tasks weighs tasks against each"),
        (OneTask(0), "replay", {"task_weights": "uncertainty"}, "task_weights=uncertainty weighs"),
    ],
)
def test_what_would_do_nothing_is_refused(
    env: Any, method: str, options: dict[str, Any], told: str
) -> None:
    for agent_class in (agents.Classifier, agents.SemiSupervised):
        with pytest.raises(UserError, match=told):
            agent_class.build(
                env,
                num_tasks=1 if isinstance(env, OneTask) else NUM_TASKS,
                method=continual.make(method),
                seed=0,
                hidden=(8, 8),
                **options,
            ).begin_task(0, env)


def test_a_slack_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'anchor_slack' of .* must be"):
        build(loss="anchor", anchor_slack=0.0)
