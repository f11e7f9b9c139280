"""Old heads that act in the first steps of a task, and the bound of gradients."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sized_tasks import ACTION_DIMS, SizedTasks
from stable_baselines3.common.vec_env import DummyVecEnv

from lifelong_rl import agents
from lifelong_rl.agents.exploration import OldHeads
from lifelong_rl.continual import make
from lifelong_rl.errors import UserError
from lifelong_rl.learning.seeding import generator_state, set_generator_state
from lifelong_rl.registry import AGENTS

NUM_TASKS = 4
OBS_DIM = 3
HORIZON = 5
WANTED = 0.5
ACTIONS = np.array([-0.9, 0.4, 0.9, 0.0], np.float32)
"""Of each head, once it is told; that of task 1 is nearest to what is wanted."""
OFF_POLICY = ("sac", "td3")


class Toy(gym.Env[np.ndarray, np.ndarray]):
    """Noise with the task's one-hot at the end; the reward is for one action."""

    observation_space = gym.spaces.Box(-10, 10, (OBS_DIM + NUM_TASKS,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, task_id: int) -> None:
        self.one_hot = np.eye(NUM_TASKS)[task_id]
        self.taken: list[float] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.count = 0
        return self.observe(), {}

    def observe(self) -> np.ndarray:
        inputs = self.np_random.standard_normal(OBS_DIM)
        return np.concatenate([inputs, self.one_hot]).astype(np.float32)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.taken.append(float(action[0]))
        self.count += 1
        return self.observe(), -abs(float(action[0]) - WANTED), False, self.count == HORIZON, {}


class Toys(DummyVecEnv):
    """Some of them."""

    def __init__(self, task_id: int, count: int = 1) -> None:
        super().__init__([lambda: Toy(task_id) for _ in range(count)])
        self.seed(task_id)

    @property
    def acted(self) -> np.ndarray:
        """The heads that acted once they were told, (steps, rows)."""
        taken = np.stack([env.taken for env in self.envs], axis=1)[..., None]
        assert np.abs(taken - ACTIONS).min(axis=2).max() < 1e-3
        heads: np.ndarray = np.abs(taken - ACTIONS).argmin(axis=2)
        return heads


class Both(Toys):
    """Two of tasks 0 and 2, which are learned in one phase."""

    def __init__(self) -> None:
        super().__init__(0, 2)
        self.envs[1] = Toy(2)


def build(learner: str, env: Any, num_tasks: int = NUM_TASKS, **options: Any) -> Any:
    given: dict[str, Any] = {
        "hidden": (8,),
        "batch_size": 4,
        "learning_starts": 8,
        "buffer_size": 1000,
        "explore": "best-old-head",
    }
    if learner == "td3":
        given["exploration_noise"] = 0.0
    method = options.pop("method", None)
    return AGENTS.get(learner).build(
        env, num_tasks=num_tasks, method=method, seed=0, **given | options
    )


def seed(number: int) -> None:
    torch.manual_seed(number)
    np.random.seed(number)  # noqa: NPY002 (the generator that SB3's buffer draws from)


def learn(agent: Any, task_id: int, env: Any, steps: int, pause: Any = None) -> None:
    seed(task_id)
    agent.begin_task(task_id, env)
    agent.learn_task(steps, lambda done: None, *([pause] if pause else []))
    agent.end_task()


@torch.no_grad()
def tell_heads(agent: Any) -> None:
    """Make each head's action one of its own, whatever it sees, and without noise."""
    heads = agent.actor.network.heads
    heads.weight.zero_()
    means = torch.from_numpy(np.arctanh(ACTIONS)).reshape(NUM_TASKS, 1)
    each = [means] if agent.actor.network.spec.outputs == (1,) else [means, torch.full((4, 1), -20)]
    heads.bias.copy_(torch.cat(each, dim=1).reshape(heads.bias.shape))


def with_old_heads(learner: str, num_envs: int, tasks: int = 3, **options: Any) -> Any:
    """An agent that has learned some tasks, and whose heads are told."""
    agent = build(learner, Toys(0, num_envs), **options)
    for task_id in range(tasks):
        learn(agent, task_id, Toys(task_id, num_envs), 12)
    tell_heads(agent)
    return agent


# ------------------------------------------------------------------ which head acts


@pytest.mark.parametrize("learner", OFF_POLICY)
def test_each_old_head_acts_for_an_episode_and_then_the_best(learner: str) -> None:
    agent = with_old_heads(learner, 1, updates_per_step=1e-9, explore_steps=40)
    env = Toys(3)
    learn(agent, 3, env, 50)
    episodes = [0, 1, 2, 1, 1, 1, 1, 1]
    assert env.acted[:40, 0].tolist() == np.repeat(episodes, HORIZON).tolist()
    assert env.acted[40:, 0].tolist() == [3] * 10  # its own
    stored = agent.replay_buffer.observations[:50, 0, -NUM_TASKS:]
    assert stored.argmax(axis=1).tolist() == [3] * 50  # of what was shown, not of who acted


@pytest.mark.parametrize(
    ("num_envs", "episodes"),
    [
        (2, [[0, 1], [2, 1], [1, 1], [1, 1]]),  # one is left to try, beside the best of two
        (4, [[0, 1, 2, 0], [1] * 4, [1] * 4]),  # one is tried twice
    ],
)
def test_several_environments_try_heads_together(num_envs: int, episodes: list) -> None:
    explore_steps = len(episodes) * HORIZON * num_envs
    agent = with_old_heads("sac", num_envs, updates_per_step=1e-9, explore_steps=explore_steps)
    env = Toys(3, num_envs)
    learn(agent, 3, env, explore_steps + num_envs)
    assert env.acted[:-1].tolist() == np.repeat(episodes, HORIZON, axis=0).tolist()
    assert env.acted[-1].tolist() == [3] * num_envs


def test_the_best_is_of_the_largest_mean_return() -> None:
    heads = OldHeads([1, 2], 3, 1)
    row = np.eye(3)[[0]]
    acted = []
    for reward in (10, 7, 1, 8, 6, 0):  # means: 10; 7; 5.5; 7.5; 7; 5.25
        acted.append(int(heads.show(row).argmax()))
        heads.note(np.array([reward - 1]), np.array([False]))
        assert int(heads.show(row).argmax()) == acted[-1]  # for the whole episode
        heads.note(np.array([1]), np.array([True]))
    assert acted == [1, 2, 1, 2, 2, 2]
    assert heads.show(row).argmax() == 1  # 5.5 against 5.25


def test_what_heads_return_is_counted_for_each_task() -> None:
    heads = OldHeads([0, 1], 2, 2)
    rows = np.hstack([np.full((2, 1), 9.0), np.eye(2)])
    done = np.array([True, True])
    for rewards in ([1, 4], [2, 3]):  # of the heads 0 and 1 on both tasks
        heads.show(rows)
        heads.note(np.array(rewards), done)
    shown = heads.show(rows)
    assert shown[:, 1:].argmax(axis=1).tolist() == [1, 0]
    assert shown[:, 0].tolist() == [9, 9] and rows[:, 1:].tolist() == np.eye(2).tolist()


def test_a_task_that_comes_again_is_explored_with_its_own_head_too() -> None:
    agent = with_old_heads("sac", 1, tasks=2, updates_per_step=1e-9, explore_steps=15)
    env = Toys(1)
    learn(agent, 1, env, 16)
    assert env.acted[:15, 0].tolist() == [0] * 5 + [1] * 10


def test_all_tasks_of_a_phase_have_heads_that_are_old_afterwards() -> None:
    agent = build("sac", Toys(0, 2), updates_per_step=1e-9, explore_steps=30)
    learn(agent, 0, Both(), 12)
    tell_heads(agent)
    env = Toys(3, 2)
    learn(agent, 3, env, 32)
    assert env.acted[:15].tolist() == [[0, 2]] * 5 + [[2, 2]] * 10


@pytest.mark.parametrize("learner", OFF_POLICY)
def test_the_first_task_begins_at_random(learner: str) -> None:
    one, other = (build(learner, Toys(0), explore=kind) for kind in ("best-old-head", "random"))
    for agent in (one, other):
        learn(agent, 0, Toys(0), 30)
    assert np.array_equal(one.replay_buffer.actions, other.replay_buffer.actions)
    for ours, theirs in zip(one.policy.parameters(), other.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("explore", ["best-old-head", "random"])
def test_exploration_may_last_longer_than_there_are_no_updates(explore: Any) -> None:
    agent = with_old_heads("sac", 1, explore_steps=20, learning_starts=8, explore=explore)
    before, env = agent._n_updates, Toys(3)
    learn(agent, 3, env, 24)
    assert agent._n_updates - before == (24 - 8) // 2
    taken = np.array(env.envs[0].taken[:20])
    old = np.abs(taken[:, None] - ACTIONS).min(axis=1) < 1e-3
    assert old.all() if explore == "best-old-head" else not old.any()


def test_entries_of_actions_that_do_not_count_stay_zero() -> None:
    agent = build("sac", SizedTasks([0, 0]), num_tasks=3, explore_steps=16)
    for task_id in range(3):
        env = SizedTasks([task_id] * 2)
        env.seed(task_id)
        learn(agent, task_id, env, 24)
        explored = env.taken[:8]
        assert (explored[..., ACTION_DIMS[task_id] :] == 0).all()
        sizes = [ACTION_DIMS[task_id]] if task_id == 0 else ACTION_DIMS[:task_id]
        for row, size in zip(range(2), (*sizes, *sizes), strict=False):
            found = explored[:7, row]  # the first episode
            assert (found[:, :size] != 0).all() and (found[:, size:] == 0).all()


# ------------------------------------------------------------------ how a run goes on


@pytest.mark.parametrize("learner", OFF_POLICY)
@pytest.mark.parametrize("at", [7, 22])  # while heads are tried, and while the best acts
def test_it_goes_on_within_a_task_to_the_last_bit(learner: str, at: int) -> None:
    through, state, env = with_old_heads(learner, 1, explore_steps=30), None, Toys(3)

    def pause() -> None:
        nonlocal state
        if through.num_timesteps == at:
            rows = through.experience.read(*through.experience.span())
            state = copy.deepcopy((through.task_state(), rows, env, generator_state()))

    learn(through, 3, env, 50, pause)
    assert state is not None
    task_state, rows, there, generators = state
    resumed = build(learner, there, explore_steps=30)
    resumed.load_task_state(task_state, there)
    resumed.experience.write(0, rows)
    set_generator_state(generators)
    resumed.learn_task(50, lambda done: None)
    resumed.end_task()
    assert there.envs[0].taken == env.envs[0].taken
    for ours, theirs in zip(through.policy.parameters(), resumed.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_between_tasks_it_goes_on_with_the_same_old_heads() -> None:
    through = with_old_heads("sac", 1, tasks=2, updates_per_step=1e-9)
    resumed = build("sac", Toys(0), updates_per_step=1e-9)
    resumed.load_state_dict(copy.deepcopy(through.state_dict()))
    envs = Toys(3), Toys(3)  # not the task after the last
    for agent, env in zip((through, resumed), envs, strict=True):
        learn(agent, 3, env, 20)
    assert envs[0].envs[0].taken == envs[1].envs[0].taken
    assert envs[0].acted[:8, 0].tolist() == [0] * 5 + [1] * 3
    assert "learned_heads" not in build("sac", Toys(0), explore="random").state_dict()


def test_an_agent_file_holds_what_explores(tmp_path: Any) -> None:
    agent = with_old_heads("sac", 1, tasks=2, explore_steps=15, updates_per_step=1e-9)
    agent.save(tmp_path / "agent")
    loaded = agents.SAC.load(tmp_path / "agent", env=Toys(0))
    assert (loaded.explore, loaded.explore_steps) == ("best-old-head", 15)
    env = Toys(3)
    learn(loaded, 3, env, 16)
    assert env.acted[:, 0].tolist() == [0] * 5 + [1] * 10 + [3]


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_tasks": 1}, "there is one head only"),
        ({"learning_starts": 0}, "has no step to act in"),
        ({"explore_steps": 0}, "has no step to act in"),
        ({"explore": "best"}, "did you mean|random"),
    ],
)
@pytest.mark.parametrize("learner", OFF_POLICY)
def test_what_explores_nothing_is_refused(learner: str, options: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        build(learner, Toys(0), **options)
    assert "\n" not in str(error.value)


# ------------------------------------------------------------------ the bound of gradients


@pytest.mark.parametrize("learner", OFF_POLICY)
def test_gradients_are_bounded_after_the_method_has_changed_them(learner: str) -> None:
    """With plain gradient descent a step is as long as the gradient."""
    agent = build(
        learner,
        Toys(0),
        method=make("l2-init", strength=1e4),
        explore="random",
        max_grad_norm=0.1,
        policy_delay=1,
        updates_per_step=1,
        learning_rate=1.0,
    )
    for name in ("actor", "critic"):
        component = agent.components[name]
        component.optimizer = torch.optim.SGD(component.module.parameters())
    seed(0)
    agent.begin_task(0, Toys(0))
    before: dict[str, torch.Tensor] = {}
    lengths: dict[str, list[float]] = {"actor": [], "critic": []}

    def pause() -> None:
        for name, found in lengths.items():
            parts = [p.detach().flatten() for p in agent.components[name].module.parameters()]
            now = torch.cat(parts)
            if name in before:
                found.append(float((now - before[name]).norm()))
            before[name] = now

    agent.learn_task(14, lambda done: None, pause)
    for name, found in lengths.items():
        assert 0.099 < max(found) < 0.101, name
        assert f"{name}_grad_norm" in agent._measured
    if learner == "sac":
        assert "entropy_grad_norm" in agent._measured
