"""Tasks whose actions differ in size: nothing that is padded counts anywhere."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from sized_tasks import (
    ACTION_DIM,
    ACTION_DIMS,
    NUM_TASKS,
    OBS_DIM,
    SizedTasks,
    Untold,
    counts,
)
from stable_baselines3.common.distributions import (
    DiagGaussianDistribution,
    SquashedDiagGaussianDistribution,
)
from tiny_learners import SMALL_AGENT, SMALL_METHOD
from torch import Tensor, nn
from torch.distributions import kl_divergence

from lifelong_rl import agents, continual
from lifelong_rl.agents.action_mask import ActionMask, action_dims_of, mean_squared_error
from lifelong_rl.agents.actor_critic import Actor, Critic, DeterministicActor
from lifelong_rl.agents.imitation import ImitationPolicy
from lifelong_rl.agents.offline_rl import OfflineActor
from lifelong_rl.agents.ppo_policy import ContinualPPOPolicy
from lifelong_rl.agents.sac_components import (
    EntropyCoefficient,
    FixedEntropyCoefficient,
    SACActor,
    SACCritic,
)
from lifelong_rl.agents.td3 import TD3Actor, TD3Critic
from lifelong_rl.continual.importance import fisher_diagonal, mas_importance
from lifelong_rl.errors import ContractError, UserError
from lifelong_rl.learning.adam import FusedAdam
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.networks.spec import rows_of_task
from lifelong_rl.options import options_of
from lifelong_rl.registry import AGENTS, METHODS

LEARNERS = ("sac", "td3", "ppo", "bc", "bc-stream", "offline-rl")
STEPS = 48
SHOWN = np.hstack(
    [np.random.default_rng(0).normal(size=(9, OBS_DIM)), np.eye(NUM_TASKS)[np.arange(9) % 3]]
).astype(np.float32)
"""Rows of all tasks, as environments show them."""


def build(learner: str, method: Any = None, env: Any = None, **options: Any) -> Any:
    given = SMALL_AGENT[learner] | {"hidden": (8, 8)} | options
    return AGENTS.get(learner).build(
        SizedTasks([0, 0]) if env is None else env,
        num_tasks=NUM_TASKS,
        method=method,
        seed=0,
        **given,
    )


def learn(agent: Any, task_id: int, env: Any = None, *, end: bool = True) -> Any:
    """Learn a task; returns the environments."""
    torch.manual_seed(task_id)
    np.random.seed(task_id)  # noqa: NPY002 (the generator that SB3's buffer draws from)
    env = SizedTasks([task_id] * 2) if env is None else env
    env.seed(task_id)
    agent.begin_task(task_id, env)
    agent.learn_task(STEPS, lambda done: None)
    if end:
        agent.end_task()
    return env


def padded_parameters(agent: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Parameters, and where they are of nothing but padding."""
    padded = torch.from_numpy(~counts(range(NUM_TASKS)))
    for part in agent.policy.modules():
        if not isinstance(part, MultiHeadMLP):
            continue
        spec = part.spec
        if spec.outputs[0] == ACTION_DIM:
            rows = padded.repeat(1, len(spec.outputs)).flatten()
            yield part.heads.bias, rows.expand_as(part.heads.bias)
            yield part.heads.weight, rows[:, None].expand_as(part.heads.weight)
        elif spec.input_dim == OBS_DIM + ACTION_DIM:
            weight = part.hidden[0].weight
            yield weight, (torch.arange(spec.input_dim) == spec.input_dim - 1).expand_as(weight)
    if isinstance(agent, agents.PPO):
        yield agent.policy.log_std, padded


@torch.no_grad()
def fill_padding(agent: Any) -> None:
    """Put noise where nothing is to come from; targets follow networks with the same."""
    generator = torch.Generator().manual_seed(0)
    for parameter, padded in padded_parameters(agent):
        noise = torch.randn(parameter.shape, generator=generator)
        parameter += torch.where(padded, noise, 0.0)
    for name in ("actor", "critic"):
        target = getattr(agent.policy, f"{name}_target", None)
        if target is not None:
            target.load_state_dict(getattr(agent.policy, name).state_dict())


def method(name: str, **options: Any) -> Any:
    known = options_of(METHODS.get(name))
    small = {option: value for option, value in SMALL_METHOD.items() if option in known}
    return continual.make(name, **(small | options))


BOTH = {"scope": "both"}
PAIRS: list[tuple[str, str, dict[str, Any]]] = [
    *((learner, "finetune", {}) for learner in LEARNERS),
    ("sac", "clone", BOTH),
    ("sac", "ewc", BOTH),
    ("sac", "mas", BOTH),
    ("sac", "packnet", {}),  # it prunes by magnitude: what is in a critic's padding may be kept
    ("sac", "replay", {}),
    ("sac", "lwf", BOTH),
    ("sac", "agem", {}),
    ("sac", "generative-replay", BOTH),
    ("td3", "ewc", {}),
    ("td3", "replay", {}),
    ("ppo", "ewc", {}),
    ("ppo", "clone", {}),
    ("ppo", "packnet", {}),
    ("bc", "mas", {}),
    ("bc-stream", "lwf", {}),
    ("offline-rl", "clone", BOTH),
]


@pytest.mark.parametrize(("learner", "name", "options"), PAIRS)
def test_whatever_stands_in_the_padding_nothing_changes(
    learner: str, name: str, options: dict[str, Any]
) -> None:
    """Two agents that differ there alone learn the same, and stay different there alone."""
    plain, other = (build(learner, method(name, **options)) for _ in range(2))
    fill_padding(other)
    before = [
        [parameter.detach().clone() for parameter, _ in padded_parameters(agent)]
        for agent in (plain, other)
    ]
    for task_id in range(NUM_TASKS):
        for agent in (plain, other):
            learn(agent, task_id)
    assert np.array_equal(plain.act(SHOWN), other.act(SHOWN))
    learned = plain.policy.state_dict()
    differ = {
        name for name, value in other.policy.state_dict().items() if (value != learned[name]).any()
    }
    known = {id(parameter) for parameter, _ in padded_parameters(other)}
    named = dict(other.policy.named_parameters())
    assert differ and {id(named[name]) for name in differ} <= known
    found = [list(padded_parameters(agent)) for agent in (plain, other)]
    for (ours, padded), (theirs, _), *old in zip(*found, *before, strict=True):
        assert torch.equal(ours[~padded], theirs[~padded])
        for now, then in zip((ours, theirs), old, strict=True):
            assert torch.equal(now[padded], then[padded]), "a gradient has come here"
            assert not torch.equal(now[~padded], then[~padded])


@pytest.mark.parametrize("learner", LEARNERS)
def test_what_is_padded_is_nothing_wherever_actions_are(learner: str) -> None:
    """Random, noisy and learned actions alike, in what is acted, stored and remembered."""
    agent = build(learner)
    for task_id in range(NUM_TASKS):
        env = learn(agent, task_id)
        counted = counts(task_id)
        for batch in agent.task_data():
            assert (batch["actions"][:, ~counted] == 0).all()
            assert (batch["actions"][:, counted] != 0).all()
        if learner in ("bc", "offline-rl"):
            continue
        driven = 10 if learner == "bc-stream" else 0  # the expert's are what it says
        taken = env.taken[driven:]
        assert len(taken) >= STEPS // 2 - driven
        assert (taken[..., ~counted] == 0).all() and (taken[..., counted] != 0).all()
    acted = agent.act(SHOWN)
    assert np.array_equal(acted != 0, counts(SHOWN[:, -NUM_TASKS:].argmax(axis=1)))


@pytest.mark.parametrize("learner", LEARNERS)
def test_rows_of_several_tasks_are_masked_each_by_its_own(learner: str) -> None:
    tasks = [0, 1, 2, 2]
    env = SizedTasks(tasks)
    agent = build(learner, env=env)
    learn(agent, 0, env)
    for batch in agent.task_data():
        assert np.array_equal(batch["actions"] != 0, counts(batch["task"]))
        assert set(batch["task"].tolist()) == {0, 1, 2}
    if learner in ("sac", "td3", "ppo"):
        assert np.array_equal(env.taken != 0, np.broadcast_to(counts(tasks), env.taken.shape))


@pytest.mark.parametrize("learner", ["sac", "td3", "ppo"])
def test_without_padding_there_is_no_mask(learner: str) -> None:
    class Equal(SizedTasks):
        action_dims = (ACTION_DIM,) * NUM_TASKS

    plain, equal = (build(learner, env=kind([0, 0])) for kind in (Untold, Equal))
    for agent, kind in ((plain, Untold), (equal, Equal)):
        learn(agent, 2, kind([2, 2]))
        assert not any(isinstance(part, ActionMask) for part in agent.policy.modules())
    expected = plain.policy.state_dict()
    for name, value in equal.policy.state_dict().items():
        assert torch.equal(value, expected[name])
    assert (equal.act(SHOWN) != 0).all()


@pytest.mark.parametrize(
    "told", [(1, 2), (1, 2, 3, 4), (0, 2, 3), (1, 2, 5)], ids=["few", "many", "none", "large"]
)
def test_sizes_that_cannot_be_are_refused(told: tuple[int, ...]) -> None:
    class Wrong(SizedTasks):
        action_dims = told

    with pytest.raises(ContractError, match=r"action_dims is .* from 1 to 4 for each of 3 tasks"):
        build("sac", env=Wrong([0, 0]))


def test_a_single_task_may_be_padded_too() -> None:
    env = SizedTasks([0, 0])
    env.action_dims = (2,)
    assert action_dims_of(env, 1) == (2,)
    mask = ActionMask((2,), ACTION_DIM)
    assert mask(torch.ones(3, ACTION_DIM), None).tolist() == [[1, 1, 0, 0]] * 3


def test_rows_known_to_be_of_one_task_are_not_looked_up() -> None:
    mask = ActionMask(ACTION_DIMS, ACTION_DIM)
    for task in (rows_of_task(1, 5, torch.device("cpu")), torch.tensor(1).expand(5)):
        kept = mask.of(task)
        assert kept.data_ptr() == mask.rows[1].data_ptr() and kept.shape == (1, ACTION_DIM)
    assert torch.equal(mask.of(torch.tensor([2, 0])), mask.rows[[2, 0]])


class Pair:
    """Networks for one task with padding, and small ones of the same weights without it."""

    size = 2
    rows = 6

    def __init__(self, outputs_per_action: int, kind: Any = Actor) -> None:
        torch.manual_seed(0)
        self.mask = ActionMask((self.size,), ACTION_DIM)
        self.network = self.make(OBS_DIM, (ACTION_DIM,) * outputs_per_action)
        self.critic_network = self.make(OBS_DIM + ACTION_DIM, (1,), copies=2)
        small = self.make(OBS_DIM, (self.size,) * outputs_per_action)
        small_critic = self.make(OBS_DIM + self.size, (1,), copies=2)
        self.outputs = torch.from_numpy(counts([1] * outputs_per_action)).flatten()
        self.inputs = torch.cat([torch.ones(OBS_DIM), self.mask.rows[0]]).bool()
        for ours, theirs in ((self.network, small), (self.critic_network, small_critic)):
            theirs.load_state_dict(
                {name: self.cut(name, value) for name, value in ours.state_dict().items()}
            )
        self.actors = kind(self.network, mask=self.mask), kind(small)
        self.critics = Critic(self.critic_network, mask=self.mask), Critic(small_critic)
        noise = torch.randn(self.rows, ACTION_DIM)
        self.noise = lambda shape, **_: noise[:, : shape[1]]
        actions = torch.rand(self.rows, ACTION_DIM) * 2 - 1
        batch = {
            "observations": torch.randn(self.rows, OBS_DIM),
            "next_observations": torch.randn(self.rows, OBS_DIM),
            "rewards": torch.randn(self.rows, 1),
            "dones": torch.zeros(self.rows, 1),
        }
        self.batches = (
            {**batch, "actions": self.mask(actions, None)},
            {**batch, "actions": actions[:, : self.size]},
        )

    def make(self, inputs: int, outputs: tuple[int, ...], copies: int = 1) -> MultiHeadMLP:
        made = MultiHeadMLP(NetworkSpec(inputs, (7, 6), outputs, copies=copies))
        for parameter in made.parameters():
            nn.init.normal_(parameter, std=0.5)
        return made

    def cut(self, name: str, value: Tensor) -> Tensor:
        """What the small network has of a parameter."""
        if name.startswith("heads") and value.shape[1] == len(self.outputs):
            return value[:, self.outputs]
        wide = name == "hidden.0.weight" and value.shape[2] == len(self.inputs)
        return value[..., self.inputs] if wide else value

    def assert_same_gradients(self, components: Any) -> None:
        """The loss's gradients are those of the small network; those of padding are 0."""
        losses = []
        for component, batch in zip(components, self.batches, strict=True):
            losses.append(component.loss(batch))
            losses[-1].backward(inputs=list(component.module.parameters()))
        torch.testing.assert_close(*losses)
        ours, theirs = (dict(c.module.network.named_parameters()) for c in components)
        for name, parameter in ours.items():
            torch.testing.assert_close(self.cut(name, parameter.grad), theirs[name].grad)
            whole, counted = parameter.grad.abs().sum(), theirs[name].grad.abs().sum()
            torch.testing.assert_close(whole, counted)
            assert counted > 0


def optimizer(module: nn.Module) -> FusedAdam:
    return FusedAdam(module.parameters(), lr=1e-3)


def test_density_is_that_of_the_gaussian_over_what_counts() -> None:
    pair = Pair(2)
    rows = pair.batches[0]["observations"]
    actions, log_prob = pair.actors[0].action_log_prob(rows)
    mean, log_std = pair.actors[0].gaussian(rows)
    small = [each[:, : pair.size] for each in (mean, log_std)]
    expected = SquashedDiagGaussianDistribution(pair.size).proba_distribution(*small)
    wanted = expected.log_prob(actions[:, : pair.size])
    torch.testing.assert_close(log_prob, wanted, rtol=1e-3, atol=1e-3)
    for padded in (actions, mean, log_std):
        assert (padded[:, pair.size :] == 0).all() and (padded[:, : pair.size] != 0).all()


def test_soft_actor_critic_learns_what_it_would_without_padding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = Pair(2)
    monkeypatch.setattr(torch, "randn", pair.noise)
    alpha = FixedEntropyCoefficient(torch.tensor(0.3))
    made = [
        SACActor(actor, optimizer(actor), num_tasks=1, critic=critic, entropy=alpha)
        for actor, critic in zip(pair.actors, pair.critics, strict=True)
    ]
    pair.assert_same_gradients(made)
    pair.assert_same_gradients(
        [
            SACCritic(
                critic,
                optimizer(critic),
                num_tasks=1,
                target=copy.deepcopy(critic),
                gamma=0.9,
                actor=actor,
                entropy=alpha,
            )
            for actor, critic in zip(pair.actors, pair.critics, strict=True)
        ]
    )


def test_deterministic_policies_learn_what_they_would_without_padding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = Pair(1, DeterministicActor)
    monkeypatch.setattr(torch, "randn_like", lambda like: pair.noise(like.shape))
    pairs = list(zip(pair.actors, pair.critics, strict=True))
    pair.assert_same_gradients(
        [TD3Actor(a, optimizer(a), num_tasks=1, critic=critic) for a, critic in pairs]
    )
    pair.assert_same_gradients(
        [
            TD3Critic(
                critic,
                optimizer(critic),
                num_tasks=1,
                target=copy.deepcopy(critic),
                gamma=0.9,
                actor_target=actor,
                noise=0.2,
                noise_clip=0.5,
            )
            for actor, critic in pairs
        ]
    )


@pytest.mark.parametrize("offline", [False, True])
def test_clones_learn_what_they_would_without_padding(offline: bool) -> None:
    pair = Pair(2)
    made: list[Any] = [
        OfflineActor(actor, optimizer(actor), num_tasks=1, critic=critic, alpha=2.5)
        if offline
        else ImitationPolicy(actor, optimizer(actor), num_tasks=1)
        for actor, critic in zip(pair.actors, pair.critics, strict=True)
    ]
    pair.assert_same_gradients(made)


def test_the_error_is_a_mean_over_what_counts_of_each_row() -> None:
    mask = ActionMask(ACTION_DIMS, ACTION_DIM)
    found, task = torch.tensor([[2.0, 9, 9, 9], [1, 3, 9, 9], [1, 1, 1, 9]]), torch.arange(3)
    error = mean_squared_error(found, torch.zeros(3, ACTION_DIM), task, mask)
    assert error.item() == pytest.approx((4 + 5 + 1) / 3)


def ppo_policy() -> ContinualPPOPolicy:
    agent = build("ppo", log_std_init=-0.3)
    with torch.no_grad():
        agent.policy.log_std += torch.arange(12.0).view(3, 4) / 10
    return agent.policy


def test_the_gaussian_of_ppo_is_over_what_counts() -> None:
    policy, task = ppo_policy(), torch.arange(NUM_TASKS)
    rows = torch.from_numpy(SHOWN[:NUM_TASKS, :-NUM_TASKS])
    mean, log_std = policy.gaussian(rows, task)
    distribution = policy.distribution(rows, task)
    actions, entropy = distribution.get_actions(), distribution.entropy()
    log_prob = distribution.log_prob(actions)
    assert np.array_equal(actions != 0, counts(task))
    assert np.array_equal(distribution.get_actions(deterministic=True) != 0, counts(task))
    for row, size in enumerate(ACTION_DIMS):
        small = DiagGaussianDistribution(size).proba_distribution(
            mean[row : row + 1, :size], policy.log_std[row : row + 1, :size]
        )
        torch.testing.assert_close(log_prob[row], small.log_prob(actions[row : row + 1, :size])[0])
        torch.testing.assert_close(entropy[row], small.entropy()[0])
        torch.testing.assert_close(
            entropy[row],
            0.5 * size * math.log(2 * math.pi * math.e) + policy.log_std[row, :size].sum(),
        )
    assert np.array_equal(log_std != 0, counts(task))


@pytest.mark.parametrize("learner", ["sac", "td3", "ppo", "bc"])
def test_what_methods_measure_is_nothing_for_padding(learner: str) -> None:
    """Fisher information, MAS's importance and divergences between two agents' predictions."""
    agent, other = (build(learner) for _ in range(2))
    learn(agent, 1, end=False)
    learn(other, 1, end=False)
    name = "actor" if learner in ("sac", "td3") else "policy"
    component, theirs = agent.components[name], other.components[name]
    batch = {
        "observations": torch.from_numpy(SHOWN[:, :-NUM_TASKS]),
        "task": torch.arange(9) % NUM_TASKS,
    }
    named = {name: parameter for name, parameter in component.module.named_parameters()}
    padded = {id(parameter): where for parameter, where in padded_parameters(agent)}
    for measure in (fisher_diagonal, mas_importance):
        found = measure(component, batch)
        heads = [n for n in found if id(named[n]) in padded]
        assert len(heads) == (3 if learner == "ppo" else 2)
        for head in heads:
            where = padded[id(named[head])]
            assert (found[head][where] == 0).all() and found[head][~where].sum() > 0
    before = kl_divergence(component.predict(batch), theirs.predict(batch))
    fill_padding(other)
    assert torch.equal(before, kl_divergence(component.predict(batch), theirs.predict(batch)))


def test_target_entropy_is_minus_what_counts() -> None:
    agent = build("sac")
    assert agent.objectives["entropy"].target_entropy.tolist() == [-1, -2, -3]
    fixed = build("sac", target_entropy=-0.7)
    assert fixed.objectives["entropy"].target_entropy.tolist() == pytest.approx([-0.7] * 3)
    whole = build("sac", env=Untold([0, 0]))
    assert whole.objectives["entropy"].target_entropy.tolist() == [-ACTION_DIM] * 3
    assert (fixed.target_entropy, whole.target_entropy) == (-0.7, -ACTION_DIM)


def test_coefficients_follow_the_target_of_their_task() -> None:
    """The gradient by log α of a task is the mean over all rows of −(log π + its target)."""
    entropy = EntropyCoefficient(NUM_TASKS, 0.5, torch.tensor([-1.0, -2.0, -3.0]))
    log_prob, task = torch.tensor([0.5, 1.5, 2.5, 4.5]), torch.tensor([0, 1, 2, 2])
    ((_, gradient),) = entropy.analytic_gradient({"policy_log_prob": log_prob, "task": task})[1]
    assert gradient.tolist() == pytest.approx([0.5 / 4, 0.5 / 4, -(-0.5 + 1.5) / 4])
    one = {"policy_log_prob": log_prob, "task": torch.tensor(1).expand(4)}
    ((_, gradient),) = entropy.analytic_gradient(one)[1]
    assert gradient.tolist() == pytest.approx([0, -(2.25 - 2), 0])
    loss = entropy.loss(one)
    loss.backward()
    assert torch.equal(entropy.log_value.grad, gradient)
    assert "target_entropy" not in entropy.state_dict()


def round_trip(agent: Any) -> Any:
    box = io.BytesIO()
    agent.save(box)
    box.seek(0)
    return type(agent).load(box)


@pytest.mark.parametrize("copied", [copy.deepcopy, round_trip], ids=["copy", "file"])
@pytest.mark.parametrize("learner", ["sac", "td3", "ppo"])
def test_copies_and_files_keep_what_counts(learner: str, copied: Callable[[Any], Any]) -> None:
    agent = build(learner)
    learn(agent, 0)
    again = copied(agent)
    assert again.action_dims == ACTION_DIMS
    for each in (agent, again):
        learn(each, 1)
    assert np.array_equal(agent.act(SHOWN), again.act(SHOWN))
    for deterministic in (True, False):
        acted = again.predict(SHOWN, deterministic=deterministic)[0]
        assert np.array_equal(acted != 0, counts(SHOWN[:, -NUM_TASKS:].argmax(axis=1)))
    expected = agent.state_dict()["policy"]
    for name, value in again.state_dict()["policy"].items():
        assert torch.equal(value, expected[name])
    if learner == "sac":
        assert again.objectives["entropy"].target_entropy.tolist() == [-1, -2, -3]


def test_environments_of_other_sizes_are_refused() -> None:
    agent = build("sac")
    with pytest.raises(
        UserError, match=r"made for .* action_dims \(1, 2, 3\), and these have None"
    ):
        agent.begin_task(1, Untold([0, 0]))


def test_a_learner_of_demonstrations_is_told_by_its_environments() -> None:
    for kind in (agents.BC, agents.BCStream, agents.OfflineRL):
        made = kind(SizedTasks([0]), num_tasks=NUM_TASKS, hidden=(8,))
        masks = [part for part in made.policy.modules() if isinstance(part, ActionMask)]
        assert [mask.rows.sum(dim=1).tolist() for mask in masks] == [[1, 2, 3]]
        untold = kind(Untold([0]), num_tasks=NUM_TASKS, hidden=(8,))
        assert not any(isinstance(part, ActionMask) for part in untold.policy.modules())
