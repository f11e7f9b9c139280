"""Agents that see: what becomes of pictures, encoders and buffers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from pretend_device import PRETEND, pretend_device, tensors_in, where
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor, nn

from lifelong_rl import agents
from lifelong_rl.agents.buffers import (
    PixelReplayBuffer,
    TaskReplayBuffer,
    buffer_state,
    load_buffer_state,
    stream,
)
from lifelong_rl.agents.sight import LearnedSight, Sight, View, open_sight
from lifelong_rl.continual import METHODS, ContinualMethod, make
from lifelong_rl.errors import UserError
from lifelong_rl.learning import split_batch
from lifelong_rl.learning.seeding import (
    generator_state,
    seed_everything,
    set_generator_state,
)
from lifelong_rl.storage.state_tree import decode_tree, encode_tree
from lifelong_rl.vision.encoder import Encoder, EncoderSpec
from lifelong_rl.vision.eyes import Eyes

SIZE, FELT, NUM_TASKS, ROWS, HORIZON = 32, 2, 2, 4, 5
DIM = 6
SPEC = EncoderSpec(SIZE, SIZE, dim=DIM, filters=4)


class Toy(gym.Env[dict[str, np.ndarray], np.ndarray]):
    """A picture in which a bright column tells where to go, beside two numbers and the one-hot."""

    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, task_id: int, pictures: int = 1) -> None:
        self.one_hot = np.eye(NUM_TASKS, dtype=np.float32)[task_id]
        self.shape = 3 * pictures, SIZE, SIZE
        self.observation_space = gym.spaces.Dict(
            {
                "pixels": gym.spaces.Box(0, 255, self.shape, np.uint8),
                "state": gym.spaces.Box(-10, 10, (FELT + NUM_TASKS,), np.float32),
            }
        )

    def observe(self) -> dict[str, np.ndarray]:
        pixels = self.np_random.integers(100, size=self.shape).astype(np.uint8)
        self.column = int(self.np_random.integers(SIZE))
        pixels[:, :, self.column] = 255
        felt = self.np_random.standard_normal(FELT).astype(np.float32)
        return {"pixels": pixels, "state": np.concatenate([felt, self.one_hot])}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.count = 0
        return self.observe(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1
        reward = -abs(float(action[0]) - (2 * self.column / SIZE - 1))
        return self.observe(), reward, False, self.count == HORIZON, {}


class Toys(DummyVecEnv):
    """Some of them, demonstrations of what they show, and what an expert says and may look at."""

    def expert_actions(self) -> np.ndarray:
        return 2 * self.states()[:, :1] / SIZE - 1

    def states(self) -> np.ndarray:
        return np.array([[env.unwrapped.column, *env.unwrapped.one_hot] for env in self.envs])

    def demonstrations(self, episodes: int, seed: int, noise: float) -> dict[str, Any]:
        env = self.envs[0]
        env.reset(seed=seed)
        shown, actions = [], []
        for _ in range(episodes * HORIZON):
            shown.append(env.unwrapped.observe())
            actions.append([2 * env.unwrapped.column / SIZE - 1])
        return {
            "observations": {name: np.stack([s[name] for s in shown]) for name in shown[0]},
            "expert_actions": np.array(actions, np.float32),
        }


def toys(task_id: int = 0, pictures: int = 1) -> Toys:
    env = Toys([lambda: Toy(task_id, pictures) for _ in range(ROWS)])
    env.seed(task_id)
    return env


def encoder(seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(SPEC)


def eyes(kind: str, **options: Any) -> Eyes:
    """Frozen or finetuned."""
    return Eyes(encoders=(encoder(),), frozen=kind == "frozen", **options)


def build(
    agent: str, method: ContinualMethod | None = None, given: Eyes | None = None, **options: Any
) -> Any:
    own = {"episodes": 4} if agent == "bc" else {"learning_starts": 8}
    learner = {"sac": agents.SAC, "bc": agents.BC, "bc-stream": agents.BCStream}[agent]
    return learner.build(
        toys(pictures=2 if given is not None and given.num_cameras == 2 else 1),
        num_tasks=NUM_TASKS,
        method=method,
        seed=0,
        eyes=given,
        **({"hidden": (8, 8), "batch_size": 8} | own | options),
    )


def learn(agent: Any, task_id: int, steps: int = 24) -> None:
    torch.manual_seed(task_id)
    np.random.seed(task_id)  # noqa: NPY002 (the generator that SB3's buffer draws from)
    agent.begin_task(task_id, toys(task_id))
    agent.learn_task(steps, lambda done: None)
    agent.end_task()


def parameters(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def changed(module: nn.Module, before: Mapping[str, Tensor]) -> set[str]:
    return {n for n, value in module.named_parameters() if not torch.equal(value, before[n])}


def observations(n: int, pictures: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "pixels": rng.integers(256, size=(n, 3 * pictures, SIZE, SIZE), dtype=np.uint8),
        "state": rng.standard_normal((n, FELT + NUM_TASKS)).astype(np.float32),
    }


def sight_of(given: Eyes, pictures: int = 1) -> Sight:
    return open_sight(given, Toy(0, pictures).observation_space, None)


# ------------------------------------------------------------------ what rows hold


def test_frozen_rows_are_features_then_numbers() -> None:
    one, shown = encoder(), observations(3)
    sight = sight_of(Eyes(encoders=(one,), frozen=True))
    rows = sight.rows(shown)
    assert sight.space.shape == (DIM + FELT + NUM_TASKS,)
    expected = one(torch.from_numpy(shown["pixels"])).detach()
    torch.testing.assert_close(torch.from_numpy(rows[:, :DIM]), expected)
    np.testing.assert_array_equal(rows[:, DIM:], shown["state"])


def test_each_camera_has_its_encoder_and_each_frame_its_features() -> None:
    """Pictures are frame by frame, and camera by camera in a frame."""
    front, wrist = encoder(0), encoder(1)
    shown = observations(3, pictures=4)
    sight = sight_of(Eyes(2, (front, wrist), frozen=True), pictures=4)
    pictures = torch.from_numpy(shown["pixels"]).unflatten(1, (4, 3)).unbind(1)
    by_hand = [e(p).detach() for e, p in zip((front, wrist) * 2, pictures, strict=True)]
    rows = torch.from_numpy(sight.rows(shown))
    torch.testing.assert_close(rows[:, : 4 * DIM], torch.cat(by_hand, dim=1))
    shared = sight_of(Eyes(2, (front,), frozen=True), pictures=4)
    by_hand = [front(p).detach() for p in pictures]
    rows = torch.from_numpy(shared.rows(shown))
    torch.testing.assert_close(rows[:, : 4 * DIM], torch.cat(by_hand, dim=1))


@pytest.mark.parametrize("numbers", [True, False])
def test_learned_rows_are_pixels_then_numbers_and_kept_with_a_byte_a_pixel(numbers: bool) -> None:
    shown: Any = observations(3)
    space: Any = Toy(0).observation_space
    if not numbers:
        shown, space = shown["pixels"], space["pixels"]
    sight = open_sight(eyes("finetuned"), space, None)
    rows = sight.rows(shown)
    pixels = shown["pixels"] if numbers else shown
    size = 3 * SIZE**2
    np.testing.assert_array_equal(rows[:, :size], pixels.reshape(3, -1))
    assert rows.dtype == np.float32 and rows.shape == (3, *sight.space.shape)
    if numbers:
        np.testing.assert_array_equal(rows[:, size:], shown["state"])
    kept, task = sight.keep(shown, 1)
    assert task is None
    assert kept.dtype == torch.uint8
    assert kept.shape == (3, size + (4 * (FELT + NUM_TASKS) if numbers else 0))
    assert torch.equal(sight.restore(kept), torch.from_numpy(rows))
    assert isinstance(sight, LearnedSight)
    np.testing.assert_array_equal(sight.keep_rows(rows), kept)


@pytest.mark.parametrize("kind", ["frozen", "finetuned"])
def test_what_is_kept_of_several_tasks_is_without_the_one_hot(kind: str) -> None:
    sight, shown = sight_of(eyes(kind)), observations(3)
    shown["state"][:, FELT:] = np.eye(NUM_TASKS)[[1, 0, 1]]
    kept, task = sight.keep(shown, NUM_TASKS)
    assert task is not None and task.tolist() == [1, 0, 1]
    assert torch.equal(sight.restore(kept), torch.from_numpy(sight.rows(shown))[:, :-NUM_TASKS])


def test_pictures_of_a_row_are_shifted_alike_and_nothing_else_changes() -> None:
    sight = sight_of(Eyes(2, (encoder(),), shift=3), pictures=2)
    shown = observations(64, pictures=1)
    shown["pixels"] = np.tile(shown["pixels"], (1, 2, 1, 1))
    rows = torch.from_numpy(sight.rows(shown))
    shifted = sight.augment(rows)
    first, second = shifted[:, : 6 * SIZE**2].chunk(2, dim=1)
    assert torch.equal(first, second)
    assert torch.equal(shifted[:, 6 * SIZE**2 :], rows[:, 6 * SIZE**2 :])
    moved = first.view(64, 3, SIZE, SIZE)
    pictures = torch.from_numpy(shown["pixels"][:, :3]).float()
    seen = set()
    for before, after in zip(pictures, moved, strict=True):
        seen |= {
            (down, right)
            for down in range(-3, 4)
            for right in range(-3, 4)
            if torch.equal(
                after[:, 3:-3, 3:-3], before.roll((down, right), dims=(1, 2))[:, 3:-3, 3:-3]
            )
        }
    assert len(seen) > 25  # of 49, in 64 draws


@pytest.mark.parametrize("kind", ["frozen", "finetuned"])
def test_old_heads_explore_by_sight(kind: str) -> None:
    agent = build("sac", given=eyes(kind), explore="best-old-head", explore_steps=24)
    learn(agent, 0)
    with torch.no_grad():
        heads = agent.actor.network.heads
        heads.weight.zero_()
        heads.bias.copy_(torch.tensor([[0.5493, -20, -0.5493, -20]]))  # tanh is a half
    learn(agent, 1, steps=28)
    actions = agent.replay_buffer.actions[:7, :, 0]
    assert np.allclose(actions[:6], 0.5, atol=1e-3) and (actions[6] < 0).all()
    assert agent.replay_buffer.tasks == {1}


def test_what_is_encoded_at_the_door_is_what_the_networks_would_encode() -> None:
    shown = observations(5)
    frozen, learned = sight_of(eyes("frozen")), sight_of(eyes("finetuned"))
    arguments = learned.policy_arguments()
    extractor = arguments["features_extractor_class"](
        learned.space, **arguments["features_extractor_kwargs"]
    )
    torch.testing.assert_close(
        extractor(torch.from_numpy(learned.rows(shown))).detach(),
        torch.from_numpy(frozen.rows(shown)),
        atol=1e-5,
        rtol=1e-5,
    )
    assert extractor.features_dim == DIM + FELT + NUM_TASKS


def test_the_last_observation_of_an_episode_is_a_row_too() -> None:
    env = toys()
    sight = sight_of(eyes("frozen"))
    plain, wrapped = toys(), sight.wrap(env)
    np.testing.assert_array_equal(wrapped.reset(), sight.rows(plain.reset()))
    for _ in range(HORIZON):
        actions = np.zeros((ROWS, 1), np.float32)
        rows, rewards, dones, infos = wrapped.step(actions)
        shown, expected, _, told = plain.step(actions)
        np.testing.assert_allclose(rows, sight.rows(shown), atol=1e-5)
        np.testing.assert_array_equal(rewards, expected)
    assert dones.all()
    last = {n: np.stack([t["terminal_observation"][n] for t in told]) for n in shown}
    found = np.stack([info["terminal_observation"] for info in infos])
    np.testing.assert_allclose(found, sight.rows(last), atol=1e-5)


# ------------------------------------------------------------------ what becomes of encoders


@pytest.mark.parametrize("agent", ["sac", "bc", "bc-stream"])
def test_a_frozen_encoder_is_bit_identical_after_learning(agent: str) -> None:
    given = eyes("frozen")
    learner = build(agent, given=given)
    before = {**parameters(given.encoders[0])}
    learn(learner, 0)
    assert not changed(given.encoders[0], before)
    own = learner._sight.encoders.encoders[0]
    assert not changed(own, before)
    assert not any("encoder" in name for name in learner.policy.state_dict())
    assert not any(p.requires_grad for p in own.parameters())


@pytest.mark.parametrize("agent", ["sac", "bc", "bc-stream"])
def test_every_component_learns_on_with_an_encoder_of_its_own(agent: str) -> None:
    given = eyes("finetuned")
    learner = build(agent, given=given)
    start = parameters(given.encoders[0])
    found = []
    for component in learner.components.values():
        own = component.module.features_extractor.encoders.encoders[0]
        assert not changed(own, start)
        found.append(own)
    learn(learner, 0)
    for own in found:
        assert changed(own, start) == set(start)
    assert not changed(given.encoders[0], start)  # what was given is left alone
    if agent == "sac":
        target = learner.critic_target.features_extractor.encoders.encoders[0]
        assert changed(target, start) == changed(target, parameters(found[1])) == set(start)
        assert changed(found[0], parameters(found[1])) == set(start)


def test_twins_have_the_same_networks_and_encoders() -> None:
    actor = build("sac", given=eyes("finetuned")).actor
    policy = build("bc", given=eyes("finetuned")).policy
    expected = parameters(actor)
    assert list(parameters(policy)) == list(expected)
    assert not changed(policy, expected)


@pytest.mark.parametrize("kind", ["frozen", "finetuned"])
def test_a_stream_holds_what_was_seen_as_small_as_it_can(kind: str) -> None:
    agent = build("bc-stream", given=eyes(kind))
    env, shown = toys(1), []
    step = env.step_wait

    def noted() -> Any:
        shown.append({name: rows.copy() for name, rows in env.buf_obs.items()})
        return step()

    env.step_wait = noted  # type: ignore[method-assign]
    agent.begin_task(1, env)
    agent.learn_task(24, lambda done: None)
    seen = {name: np.concatenate([each[name] for each in shown]) for name in shown[0]}
    rows = torch.from_numpy(agent._sight.rows(seen))
    assert agent._data["observations"].dtype == (torch.float32 if kind == "frozen" else torch.uint8)
    (found,) = agent.task_data(100)
    torch.testing.assert_close(found["observations"], rows[:, :-NUM_TASKS], atol=1e-5, rtol=0)
    assert found["task"].tolist() == [1] * 24
    column = (seen["pixels"][:, 0] == 255).all(axis=1).argmax(axis=1)
    assert torch.equal(found["actions"][:, 0], torch.from_numpy(2 * column / SIZE - 1).float())


def test_a_stream_that_sees_goes_on_within_a_task() -> None:
    through, env = build("bc-stream", given=eyes("finetuned")), toys()
    halfway: dict[str, Any] = {}
    done = 0

    def progress(steps: int) -> None:
        nonlocal done
        done = steps

    def pause() -> None:
        if done == 16:
            halfway["state"] = encode_tree(through.task_state())
            halfway["held"] = copy.deepcopy(through.experience.read(*through.experience.span()))
            halfway["env"], halfway["generators"] = copy.deepcopy(env), generator_state()

    seed_everything(0, 1)
    through.begin_task(0, env)
    through.learn_task(32, progress, pause)
    resumed = build("bc-stream", given=eyes("finetuned"))
    resumed.load_task_state(decode_tree(*halfway["state"]), halfway["env"])
    resumed.experience.write(0, halfway["held"])
    set_generator_state(halfway["generators"])
    resumed.learn_task(32, lambda steps: None)
    assert not changed(resumed.policy, parameters(through.policy))
    for name, values in through._data.items():
        assert torch.equal(resumed._data[name], values)


class Reversed:
    """A teacher that goes the other way, by the state."""

    def __init__(self) -> None:
        self.asked: list[np.ndarray] = []

    def act(self, states: np.ndarray) -> np.ndarray:
        self.asked.append(states)
        return 1 - 2 * states[:, :1] / SIZE


@pytest.mark.parametrize("kind", ["frozen", "finetuned"])
def test_a_teacher_acts_on_the_state_while_the_student_sees(kind: str) -> None:
    teacher = Reversed()
    agent = build("bc-stream", given=eyes(kind), expert=teacher)
    learn(agent, 0)
    assert all(states.shape == (ROWS, 1 + NUM_TASKS) for states in teacher.asked)
    asked = np.concatenate(teacher.asked)
    (found,) = agent.task_data(100)
    expected = torch.from_numpy(1 - 2 * asked[:, :1] / SIZE).float()
    torch.testing.assert_close(found["actions"], expected)
    assert found["observations"].shape[1] == agent._sight.space.shape[0] - NUM_TASKS


def test_a_teacher_needs_a_state_to_look_at() -> None:
    blind = DummyVecEnv([lambda: Toy(0)])
    with pytest.raises(UserError, match="which these environments do not tell beside the pictures"):
        agents.BCStream.build(
            blind, num_tasks=NUM_TASKS, method=None, seed=0, eyes=eyes("frozen"), expert=Reversed()
        )


@pytest.mark.parametrize("method", ["agem", "ewc"])
def test_a_saved_agent_goes_on_identically(method: str) -> None:
    """Moments come back from a file in one layout, and gradients from a method in another."""
    options: dict[str, Any] = {"per_task": 8} if method == "agem" else {"samples": 8}
    through = build("sac", make(method, **options), eyes("finetuned"), reset_optimizers=False)
    learn(through, 0)
    state = decode_tree(*encode_tree(through.state_dict()))
    resumed = build("sac", make(method, **options), eyes("finetuned"), reset_optimizers=False)
    resumed.load_state_dict(state)
    for agent in (through, resumed):
        learn(agent, 1)
    assert not changed(resumed.policy, parameters(through.policy))


def test_gradients_reach_the_encoder_whatever_a_method_makes_of_them() -> None:
    """A method that hands back the gradient it was given changes nothing, in any layout."""

    class Same(ContinualMethod):
        def transform_gradient(self, component: Any, grads: dict[str, Tensor]) -> Any:
            flat = torch.cat([g.reshape(-1) for g in grads.values()])
            parts = flat.split([g.numel() for g in grads.values()])
            return {n: p.view_as(g) for p, (n, g) in zip(parts, grads.items(), strict=True)}

    plain, same = (build("sac", m, eyes("finetuned")) for m in (None, Same(scope="both")))
    for agent in (plain, same):
        learn(agent, 0)
    assert not changed(same.policy, parameters(plain.policy))


# ------------------------------------------------------------------ continual methods

OPTIONS: dict[str, dict[str, Any]] = {
    "packnet": {"retrain_share": 0.2},
    "generative-replay": {},
}


@pytest.mark.parametrize(
    "method", ["progressive", "packnet", "single-task", "lora", "soft-sharing", "componet"]
)
def test_what_preserves_old_tasks_preserves_what_they_see(method: str) -> None:
    scope: dict[str, Any] = {"scope": "policy"}
    agent = build("sac", make(method, **OPTIONS.get(method, {}), **scope), eyes("finetuned"))
    start = parameters(agent.actor)
    learn(agent, 0)
    moved = changed(agent.actor, start)
    assert {name for name in start if "features_extractor" in name} <= moved
    shown = observations(6)
    shown["state"][:, FELT:] = np.eye(NUM_TASKS, dtype=np.float32)[0]
    before, after_first = agent.act(shown), parameters(agent.actor)
    learn(agent, 1)
    assert not {n for n in changed(agent.actor, after_first) if "features_extractor" in n}
    np.testing.assert_array_equal(agent.act(shown), before)


def test_ewc_holds_the_encoder() -> None:
    moved = {}
    for strength in (0.0, 1e8):
        agent = build("sac", make("ewc", strength=strength, samples=16), eyes("finetuned"))
        learn(agent, 0)
        before = parameters(agent.actor.features_extractor)
        learn(agent, 1)
        now = parameters(agent.actor.features_extractor)
        moved[strength] = sum(float((now[n] - before[n]).square().sum()) for n in now)
    assert 0 < moved[1e8] < 0.5 * moved[0.0]


@pytest.mark.parametrize("method", ["den", "rgo", "vcl", "ewc+den"])
def test_methods_that_would_let_the_encoder_forget_are_refused(method: str) -> None:
    given = make(method)
    with pytest.raises(UserError, match="an encoder that is learned beside them would forget"):
        build("sac", given, eyes("finetuned"))
    build("sac", make(method), eyes("frozen"))


@pytest.mark.parametrize("method", sorted({*METHODS.names()} - {"icarl"}))  # which classifies
def test_all_methods_work_behind_frozen_eyes(method: str) -> None:
    agent = build("sac", make(method), eyes("frozen"))
    agent.begin_task(0, toys())
    rows = {"observations": torch.from_numpy(agent._sight.rows(observations(3)))}
    rows["observations"][:, -NUM_TASKS:] = torch.eye(NUM_TASKS)[0]
    predicted = agent.components["actor"].predict(split_batch(rows, NUM_TASKS))
    assert predicted.batch_shape == (3,)


# ------------------------------------------------------------------ the buffer


def filled(buffer: ReplayBuffer, sight: Sight, steps: int) -> ReplayBuffer:
    rng = np.random.default_rng(0)
    for step in range(steps):
        rows = [
            sight.rows(
                {
                    "pixels": rng.integers(256, size=(ROWS, 3, SIZE, SIZE), dtype=np.uint8),
                    "state": rng.standard_normal((ROWS, FELT + NUM_TASKS)).astype(np.float32),
                }
            )
            for _ in range(2)
        ]
        done = np.full(ROWS, step % 3 == 2)
        actions, rewards = rng.random((ROWS, 1)), rng.random(ROWS)
        infos = [{"TimeLimit.truncated": bool(d)} for d in done]
        buffer.add(rows[0], rows[1], actions, rewards, done, infos)
    return buffer


@pytest.mark.parametrize("steps", [7, 25])  # with room for 20
def test_the_pixel_buffer_is_stable_baselines3s_with_a_quarter_of_the_bytes(steps: int) -> None:
    sight = sight_of(eyes("finetuned"))
    assert isinstance(sight, LearnedSight)
    space = sight.space, Toy.action_space
    theirs = filled(ReplayBuffer(20 * ROWS, *space, "cpu", ROWS), sight, steps)
    ours = filled(PixelReplayBuffer(20 * ROWS, *space, "cpu", ROWS, sight=sight), sight, steps)
    samples = []
    for buffer in (ours, theirs):
        np.random.seed(3)  # noqa: NPY002
        samples.append(buffer.sample(16))
    for one, other in zip(*samples, strict=True):
        if one is not None:
            assert torch.equal(one, other) and one.dtype == other.dtype
    for one, other in zip(stream(ours, 12, 8), stream(theirs, 12, 8), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in other)
    assert ours.observations.nbytes < 0.26 * theirs.observations.nbytes
    again = PixelReplayBuffer(20 * ROWS, *space, "cpu", ROWS, sight=sight)
    load_buffer_state(again, decode_tree(*encode_tree(buffer_state(ours))))
    for one, other in zip(stream(again, 12, 8), stream(ours, 12, 8), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in other)


def test_the_pixel_buffer_takes_memory_as_it_is_filled() -> None:
    sight = sight_of(eyes("finetuned"))
    assert isinstance(sight, LearnedSight)
    buffer = PixelReplayBuffer(
        10**9, sight.space, Toy.action_space, "cpu", ROWS, sight=sight
    )  # 6 TB, if it were taken at once
    filled(buffer, sight, 5)
    assert len(buffer.observations) == 8
    assert buffer.size() == 5


def test_task_data_and_batches_are_rows_of_float32() -> None:
    agent = build("sac", given=eyes("finetuned", shift=0))
    learn(agent, 0)
    data = next(agent.task_data(4))["observations"]
    entries = agent.observation_space.shape[0] - NUM_TASKS
    assert data.dtype == torch.float32 and data.shape[1] == entries
    shown = agent._sight.view.pictures_of(data[:, : 3 * SIZE**2])
    assert (shown == 255).any(dim=4).all()  # each has its bright column
    drawn = agent._sample_batch(8)["observations"]
    everything = torch.cat([b["observations"] for b in agent.task_data()])
    assert all((row == everything).all(dim=1).any() for row in drawn)


def test_frozen_embeddings_are_what_the_replay_buffer_holds() -> None:
    agent = build("sac", given=eyes("frozen"))
    learn(agent, 0)
    assert type(agent.replay_buffer) is TaskReplayBuffer
    assert agent.replay_buffer.observations.shape[2] == DIM + FELT + NUM_TASKS


# ------------------------------------------------------------------ behaviour cloning


@pytest.mark.parametrize("kind", ["frozen", "finetuned"])
def test_cloning_learns_from_what_was_shown(kind: str) -> None:
    agent = build("bc", given=eyes(kind, shift=0))
    agent.begin_task(1, toys(1))
    shown = toys(1).demonstrations(4, agent_seed(1), 0.1)
    batches = list(agent.task_data(7))
    data = torch.cat([batch["observations"] for batch in batches])
    rows = torch.from_numpy(agent._sight.rows(shown["observations"]))
    assert torch.equal(data, rows[:, :-NUM_TASKS])
    assert (torch.cat([batch["task"] for batch in batches]) == 1).all()
    assert agent._data["observations"].dtype == (torch.float32 if kind == "frozen" else torch.uint8)


def agent_seed(task_id: int) -> int:
    from lifelong_rl.learning.seeding import derive_seed

    return derive_seed(0, 1 + task_id)


def test_a_column_that_only_pictures_tell_is_found() -> None:
    """Cloning from scratch would not do without an encoder that learns."""
    small = {"hidden": (32,), "batch_size": 32, "updates_per_step": 0.5}
    agent = build("bc", given=eyes("finetuned", shift=0), episodes=60, **small)
    shown = toys().demonstrations(20, 99, 0.0)
    before = np.square(agent.act(shown["observations"]) - shown["expert_actions"]).mean()
    learn(agent, 0, steps=500)
    after = np.square(agent.act(shown["observations"]) - shown["expert_actions"]).mean()
    assert after < 0.1 < 0.25 < before


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_cameras": 3, "encoders": 2}, "2 encoders do not fit 3 cameras"),
        ({"frozen": True}, "only an encoder that was pretrained can be left as it is"),
        ({"shift": -1}, "shift must be at least 0 pixels, not -1"),
    ],
)
def test_eyes_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    count = fields.pop("encoders", 0)
    with pytest.raises(ValueError, match=message):
        Eyes(encoders=tuple(encoder() for _ in range(count)), **fields)


def test_encoders_of_two_sizes_do_not_go_together() -> None:
    other = Encoder(EncoderSpec(40, 40, dim=DIM, filters=4))
    with pytest.raises(ValueError, match="pictures of 32×32, 40×40 pixels"):
        Eyes(2, (encoder(), other))


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(UserError, match="for pictures of 64×64 pixels, and the environments show"):
        build("sac", given=Eyes())


def test_eyes_need_pictures() -> None:
    class Blind(gym.Env[np.ndarray, np.ndarray]):
        observation_space = gym.spaces.Box(-10, 10, (FELT + NUM_TASKS,), np.float32)
        action_space = Toy.action_space

    state = DummyVecEnv([Blind])
    with pytest.raises(UserError, match="eyes are for environments made with observation='pixels'"):
        agents.SAC.build(state, num_tasks=1, method=None, seed=0, eyes=eyes("frozen"))


def test_eyes_of_two_cameras_need_pictures_of_both() -> None:
    with pytest.raises(UserError, match="the eyes are for 2 cameras, and an observation has 1 pi"):
        sight_of(Eyes(2, (encoder(),)))


def test_a_view_counts_pictures() -> None:
    assert View.of(Toy(0, 4).observation_space) == View(4, SIZE, FELT + NUM_TASKS)
    assert View.of(gym.spaces.Box(0, 255, (6, 8, 8), np.uint8)) == View(2, 8, 0)


@pytest.mark.device
@pytest.mark.parametrize("agent", ["sac", "bc", "bc-stream"])
@pytest.mark.parametrize("kind", ["frozen", "finetuned"])
@pytest.mark.parametrize("method", ["finetune", "replay"])
def test_nothing_is_left_on_another_device(agent: str, kind: str, method: str) -> None:
    given = eyes(kind)

    def learn(device: torch.device | str) -> tuple[Any, np.ndarray]:
        made = build(agent, make(method), given, device=device)
        for task_id in range(NUM_TASKS):
            seed_everything(0, task_id)
            made.begin_task(task_id, toys(task_id))
            made.learn_task(12, lambda done: None)
            made.end_task()
        return made, made.act(toys().reset())

    _, expected = learn("cpu")
    with pretend_device() as device:
        made, acted = learn(device)
        left = [
            name
            for name, tensor in tensors_in(made.state_dict())
            if where(tensor) != PRETEND.type and not name.endswith(("/step", "/sizes"))
        ]
        assert left == []
        if kind == "frozen":
            assert {where(p) for p in made._sight.encoders.parameters()} == {PRETEND.type}
    np.testing.assert_allclose(acted, expected, rtol=1e-3, atol=1e-4)
