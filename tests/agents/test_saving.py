"""Agents in files and copies: what comes back, what is refused, and that no file holds a pickle."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback
from stable_baselines3.common.noise import (
    NormalActionNoise,
    OrnsteinUhlenbeckActionNoise,
    VectorizedActionNoise,
)
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from torch import nn

from lifelong_rl.agents import PPO, SAC, TD3, agent_file
from lifelong_rl.agents.agent_file import AgentFileError, read_agent, write_agent
from lifelong_rl.agents.plain_values import UnwritableError, from_plain, to_plain
from lifelong_rl.continual import make
from lifelong_rl.continual.ewc import EWC
from lifelong_rl.envs import make_vec
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.storage.state_tree import decode_tree, encode_tree
from lifelong_rl.vision.encoder import Encoder, EncoderSpec
from lifelong_rl.vision.eyes import Eyes

NUM_TASKS, OBS_DIM = 3, 5
QUICK: dict[str, dict[str, Any]] = {"packnet": {"retrain_share": 0.2}}
"""Options of methods that would otherwise take long."""
AGENTS = {"sac": SAC, "td3": TD3, "ppo": PPO}
every_agent = pytest.mark.parametrize("kind", AGENTS)


class Toy(gym.Env[np.ndarray, np.ndarray]):
    """Noise with the task's one-hot at the end; the reward is the step's number."""

    action_space = spaces.Box(-2, 2, (2,), np.float32)

    def __init__(self, task_id: int = 0, num_tasks: int = NUM_TASKS) -> None:
        tail = num_tasks if num_tasks > 1 else 0
        self.observation_space = spaces.Box(-10, 10, (OBS_DIM + tail,), np.float32)
        self.tail = np.eye(num_tasks, dtype=np.float32)[task_id][:tail]

    def observe(self) -> np.ndarray:
        return np.concatenate([self.np_random.standard_normal(OBS_DIM), self.tail]).astype("f4")

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.count = 0
        return self.observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.count += 1
        return self.observe(), float(self.count), False, self.count == 7, {}


def toys(task_id: int = 0, count: int = 2, num_tasks: int = NUM_TASKS) -> VecEnv:
    env = DummyVecEnv([lambda: Toy(task_id, num_tasks) for _ in range(count)])
    env.seed(task_id)
    return env


def build(kind: str, method: Any = None, num_tasks: int = NUM_TASKS, **options: Any) -> Any:
    own: dict[str, Any] = {
        "ppo": {"n_steps": 16, "policy_kwargs": {"net_arch": {"pi": [8], "vf": [8]}}},
    }.get(
        kind,
        {"learning_starts": 10, "buffer_size": 200, "policy_kwargs": {"net_arch": [8, 8]}},
    )
    defaults = {"num_tasks": num_tasks, "batch_size": 16, "seed": 0, "device": "cpu"}
    env = toys(num_tasks=num_tasks)
    return AGENTS[kind]("MlpPolicy", env, method, **(defaults | own | options))


def seed_everything(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (the generator that SB3's buffer draws from)


def learn_task(agent: Any, task_id: int, *, end: bool = True) -> Any:
    seed_everything(task_id)
    agent.begin_task(task_id, toys(task_id, agent.n_envs))
    agent.learn_task(48, lambda done: None)
    if end:
        agent.end_task()
    return agent


def round_trip(agent: Any, env: Any = None, **more: Any) -> Any:
    box = io.BytesIO()
    agent.save(box)
    box.seek(0)
    return type(agent).load(box, env=env, **more)


def frozen_parameters(agent: Any) -> list[str]:
    return [name for name, p in agent.policy.named_parameters() if not p.requires_grad]


def assert_equal(found: Any, expected: Any) -> None:
    """Compare two agents' networks and what they predict bit for bit."""
    theirs = found.policy.state_dict()
    for name, value in expected.policy.state_dict().items():
        assert torch.equal(theirs[name], value), name
    rows = expected.observation_space.sample()[None].repeat(4, 0)
    for k in range(NUM_TASKS if expected.num_tasks > 1 else 0):
        rows[k, -NUM_TASKS:] = np.eye(NUM_TASKS)[k]
    rows[3, -NUM_TASKS:] = np.eye(NUM_TASKS)[0]
    np.testing.assert_array_equal(
        found.predict(rows, deterministic=True)[0], expected.predict(rows, deterministic=True)[0]
    )
    for name, objective in expected.objectives.items():
        own = found.objectives[name].optimizer.state_dict()
        theirs = objective.optimizer.state_dict()
        assert own["param_groups"] == theirs["param_groups"]
        for key, moments in theirs["state"].items():
            for moment, value in moments.items():
                assert torch.equal(own["state"][key][moment], value), (name, moment)


# ------------------------------------------------------------------ what comes back


@every_agent
@pytest.mark.parametrize("num_tasks", [1, NUM_TASKS])
def test_a_loaded_agent_predicts_the_same(kind: str, num_tasks: int, tmp_path: Path) -> None:
    agent = build(kind, num_tasks=num_tasks)
    agent.learn(48)
    agent.save(tmp_path / "folder" / "m")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["m.zip"]
    loaded = AGENTS[kind].load(str(tmp_path / "folder" / "m"), device="cpu")
    assert_equal(loaded, agent)
    assert (loaded.num_timesteps, loaded._n_updates) == (agent.num_timesteps, agent._n_updates)
    assert loaded.num_timesteps >= 48
    assert loaded.env is None


def test_the_arguments_come_back_as_the_agent_has_them_now() -> None:
    agent = build(
        "sac",
        num_tasks=1,
        gamma=0.5,
        train_freq=(3, "step"),
        gradient_steps=2,
        ent_coef="auto_0.3",
        target_entropy=-1.5,
        reset_buffer=False,
        learning_rate=LinearSchedule(1e-3, 1e-4, 0.5),
        action_noise=NormalActionNoise(np.zeros(2), np.full(2, 0.3)),
        policy_kwargs={
            "net_arch": {"pi": [8], "qf": [4, 4]},
            "activation_fn": nn.ELU,
            "optimizer_class": torch.optim.AdamW,
            "optimizer_kwargs": {"weight_decay": 0.1},
        },
    )
    agent.gamma, agent.learning_starts = 0.9, 3
    loaded = round_trip(agent)
    assert (loaded.gamma, loaded.learning_starts, loaded.batch_size) == (0.9, 3, 16)
    assert loaded.train_freq == agent.train_freq and loaded.gradient_steps == 2
    assert (loaded.ent_coef, loaded.target_entropy, loaded.reset_buffer) == (
        "auto_0.3",
        -1.5,
        False,
    )
    assert loaded.lr_schedule(0.75) == agent.lr_schedule(0.75) != agent.lr_schedule(1.0)
    assert repr(loaded.action_noise) == repr(agent.action_noise)
    assert isinstance(loaded.policy.optimizer_class, type)
    assert loaded.policy.optimizer_class is torch.optim.AdamW
    assert loaded.actor.optimizer.param_groups[0]["weight_decay"] == 0.1
    assert loaded.policy.activation_fn is nn.ELU
    assert loaded.observation_space == agent.observation_space
    assert loaded.action_space == agent.action_space


@pytest.mark.parametrize("kind", ["sac", "td3"])
@pytest.mark.parametrize("name", ["ewc", "packnet", "progressive", "replay+ewc", "si", None])
def test_a_loaded_agent_goes_on_with_its_method(kind: str, name: str | None) -> None:
    """In the middle of a task: what the method keeps of old tasks holds on."""
    options = QUICK.get(name or "", {})
    method = None if name is None else make(name, **options)
    agent = learn_task(build(kind, method), 0)
    assert frozen_parameters(round_trip(agent)) == frozen_parameters(agent)
    learn_task(agent, 1, end=False)
    loaded = round_trip(agent)
    if name is not None:
        assert type(loaded.method) is type(method) and loaded.method is not method
        assert loaded.method.made_as == (name, options)
    assert_equal(loaded, agent)
    assert frozen_parameters(loaded) == frozen_parameters(agent)
    assert bool(frozen_parameters(agent)) == (name in ("packnet", "progressive"))
    loaded.borrow_data(agent)
    for each in (agent, loaded):
        seed_everything(5)
        each.rehearse(12)
    assert_equal(loaded, agent)
    before = copy.deepcopy(agent.policy.state_dict())
    learn_task(agent, 2)
    learn_task(loaded, 2)
    assert_equal(loaded, agent)
    assert any(not torch.equal(before[n], v) for n, v in agent.policy.state_dict().items())


@pytest.mark.parametrize("name", ["ewc", "packnet", "progressive"])
def test_a_loaded_ppo_goes_on_with_its_method(name: str) -> None:
    agent = learn_task(learn_task(build("ppo", make(name, **QUICK.get(name, {}))), 0), 1, end=False)
    loaded = round_trip(agent)
    assert_equal(loaded, agent)
    learn_task(agent, 2, end=False)
    learn_task(loaded, 2, end=False)
    assert_equal(loaded, agent)


def test_learning_goes_on_with_the_random_numbers_that_were_next() -> None:
    agent = build("ppo")
    agent.learn(32)
    box = io.BytesIO()
    agent.save(box)
    box.seek(0)
    agent.set_env(toys(1), force_reset=True)
    agent.learn(64)
    seed_everything(123)
    loaded = PPO.load(box, env=toys(1))
    loaded.learn(64)
    assert_equal(loaded, agent)


def test_an_agent_without_a_seed_leaves_the_global_generators_alone() -> None:
    agent = build("sac", seed=None)
    box = io.BytesIO()
    agent.save(box)
    expected = torch.rand(3)
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    box.seek(0)
    SAC.load(box)
    assert torch.equal(torch.rand(3), expected)


def test_a_file_in_memory_need_not_be_rewound() -> None:
    agent, box = build("sac"), io.BytesIO()
    agent.save(box)
    assert_equal(SAC.load(box), agent)
    assert_equal(SAC.load(box), agent)


@every_agent
def test_load_takes_another_number_of_environments_and_other_arguments(kind: str) -> None:
    noise = {"action_noise": VectorizedActionNoise(NormalActionNoise(np.zeros(2), np.ones(2)), 2)}
    agent = build(kind, **(noise if kind == "td3" else {}))
    loaded = round_trip(agent, toys(0, 3), gamma=0.5, custom_objects={"seed": 3, "lr": 1, "tau": 1})
    assert (loaded.n_envs, loaded.gamma, loaded.seed) == (3, 0.5, 3)
    loaded.learn(48)
    with pytest.raises(
        UnknownNameError, match=r"unknown argument of .* 'gama'; did you mean 'gamma'"
    ):
        round_trip(agent, gama=0.5)
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        round_trip(agent, toys(num_tasks=1))


@every_agent
def test_a_single_environment_of_gymnasium_is_wrapped(kind: str) -> None:
    agent = build(kind)
    loaded = round_trip(agent, Toy(0))
    loaded.learn(20)
    assert loaded.n_envs == 1 and loaded.num_timesteps >= 20


def test_parameters_are_taken_from_a_file(tmp_path: Path) -> None:
    agent, other = build("sac"), build("sac", seed=1)
    agent.learn(48)
    agent.save(tmp_path / "m.zip")
    other.set_parameters(tmp_path / "m.zip")
    assert_equal(other, agent)
    assert torch.equal(other.log_ent_coef, agent.log_ent_coef)
    third = build("sac", seed=2)
    third.set_parameters(agent.get_parameters())
    assert_equal(third, agent)


@pytest.mark.parametrize("frozen", [True, False])
def test_eyes_come_back(frozen: bool) -> None:
    torch.manual_seed(0)
    eyes = Eyes(encoders=(Encoder(EncoderSpec(32, 32, dim=6, filters=4)),), frozen=frozen, shift=2)
    options: dict[str, Any] = {"size": 32, "observation": "pixels", "proprioception": True}
    env = make_vec("reach", num_envs=2, seed=0, **options)
    agent = SAC(
        "MlpPolicy", env, eyes=eyes, seed=0, device="cpu", learning_starts=8, batch_size=8,
        buffer_size=100, policy_kwargs={"net_arch": [8]},
    )  # fmt: skip
    agent.learn(24)
    observations = env.reset()
    loaded = round_trip(agent, env)
    np.testing.assert_array_equal(loaded.act(observations), agent.act(observations))
    loaded.learn(24)
    np.testing.assert_array_equal(  # it can be saved without environments too
        round_trip(round_trip(agent)).act(observations), agent.act(observations)
    )
    alone = round_trip(agent)
    alone.set_env(make_vec("reach", num_envs=2, seed=0, **options))
    alone.learn(24)
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        alone.set_env(make_vec("reach", num_envs=2, seed=0, **(options | {"size": 40})))
    for copied in COPIES.values():  # in the middle of an episode
        other = copied(agent)
        assert other.env.get_attr("num_diverged") == [0, 0]
        for each in (agent, other):
            seed_everything(1)
            each.learn(24, reset_num_timesteps=False)
        assert_equal(other, agent)
        np.testing.assert_array_equal(other.act(observations), agent.act(observations))
    env.close()


class Narrow(SAC):
    """An agent with a constructor of its own."""

    def __init__(self, env: Any, width: int) -> None:
        super().__init__("MlpPolicy", env, policy_kwargs={"net_arch": [width]}, device="cpu")


def test_a_subclass_with_other_arguments_comes_back() -> None:
    agent = Narrow(toys(num_tasks=1), width=5)
    assert_equal(round_trip(agent), agent)


def test_the_system_is_told_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    round_trip(build("ppo"), print_system_info=True)
    assert f"- torch: {torch.__version__}" in capsys.readouterr().out


def test_the_example_of_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[2] / "docs" / "add_an_agent.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    exec(code.replace("20_000", "200"), {})
    assert SAC.load("reach").num_timesteps == 200


# ------------------------------------------------------------------ callbacks


@every_agent
def test_callbacks_of_stable_baselines_write_agents(kind: str, tmp_path: Path) -> None:
    agent = build(kind)
    agent.learn(
        48,
        callback=[
            CheckpointCallback(8, str(tmp_path / "checkpoints")),
            EvalCallback(
                toys(count=1), best_model_save_path=str(tmp_path / "best"), eval_freq=12,
                n_eval_episodes=2, verbose=0, warn=False,
            ),
        ],
    )  # fmt: skip
    AGENTS[kind].load(tmp_path / "best" / "best_model")
    last = AGENTS[kind].load(tmp_path / "checkpoints" / "rl_model_48_steps.zip")
    assert last.num_timesteps == 48


def test_a_callback_that_pickles_the_replay_buffer_is_refused(tmp_path: Path) -> None:
    callback = CheckpointCallback(8, str(tmp_path), save_replay_buffer=True)
    with pytest.raises(UserError, match="save_replay_buffer is not supported") as caught:
        build("sac").learn(48, callback=callback)
    assert "\n" not in str(caught.value) and "lifelong-rl run" in str(caught.value)
    assert not list(tmp_path.glob("*.pkl"))
    with pytest.raises(UserError, match="load_replay_buffer is not supported"):
        build("td3").load_replay_buffer(tmp_path / "buffer.pkl")


# ------------------------------------------------------------------ what is refused


class Strange(nn.Tanh):
    """An activation that no table knows."""


class Extractor(BaseFeaturesExtractor):
    """A features extractor from elsewhere."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, observation_space.shape[0])

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "learning_rate": ({"learning_rate": lambda left: 1e-3 * left}, "learning_rate is the function"),
    "activation": (
        {"policy_kwargs": {"activation_fn": Strange}},
        r"policy_kwargs.activation_fn is the class .*Strange",
    ),
    "extractor": (
        {"policy_kwargs": {"features_extractor_class": Extractor}},
        r"policy_kwargs.features_extractor_class is the class .*Extractor",
    ),
}


@pytest.mark.parametrize(("options", "told"), REFUSED.values(), ids=REFUSED)
def test_what_needs_a_pickle_is_refused_by_name_before_anything_is_written(
    options: dict[str, Any], told: str, tmp_path: Path
) -> None:
    agent = build("sac", **options)
    with pytest.raises(UserError, match=f"cannot save this SAC: {told}") as caught:
        agent.save(tmp_path / "new" / "m.zip")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_is_left_out_is_given_to_load() -> None:
    agent = build("sac", learning_rate=lambda left: 1e-3 * left)
    box = io.BytesIO()
    agent.save(box, exclude=["learning_rate"])
    box.seek(0)
    loaded = SAC.load(box, learning_rate=0.5)
    assert loaded.lr_schedule(1) == 0.5
    assert torch.equal(loaded.actor.network.heads.weight, agent.actor.network.heads.weight)


def test_networks_of_other_packages_are_given_to_load() -> None:
    options = {"net_arch": [8], "activation_fn": Strange}
    agent = build("td3", policy_kwargs=options)
    box = io.BytesIO()
    agent.save(box, exclude=["policy_kwargs"])
    box.seek(0)
    assert_equal(TD3.load(box, policy_kwargs=options), agent)


def test_a_method_that_was_not_made_by_name_is_refused_or_given_to_load() -> None:
    agent = learn_task(build("sac", EWC()), 0)
    box = io.BytesIO()
    with pytest.raises(UserError, match=r"its method EWC was not made by name; make it with"):
        agent.save(box)
    assert box.getvalue() == b""
    agent.save(box, exclude=["method"])
    box.seek(0)
    method = EWC()
    assert SAC.load(box, method=method).method is method


@pytest.mark.parametrize("name", ["replay_buffer", "env", "policy"])
def test_what_no_file_holds_cannot_be_included(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"cannot save '{name}': "):
        build("sac").save(tmp_path / "m.zip", include=[name])
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def saved() -> bytes:
    box = io.BytesIO()
    build("sac", make("ewc")).save(box)
    return box.getvalue()


def test_a_file_is_json_and_safetensors_and_the_same_bytes_every_time(saved: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(saved)) as file:
        assert sorted(file.namelist()) == ["agent.json", "state.safetensors"]
        assert json.loads(file.read("agent.json"))["algorithm"] == "SAC"
    box = io.BytesIO()
    torch.manual_seed(0)
    agent = SAC.load(io.BytesIO(saved))
    agent.save(box)
    again = io.BytesIO()
    agent.save(again)
    assert box.getvalue() == again.getvalue()


def rezipped(saved: bytes, change: Callable[[dict[str, bytes]], Any], **options: Any) -> bytes:
    """A file whose members were changed."""
    with zipfile.ZipFile(io.BytesIO(saved)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    change(members)
    box = io.BytesIO()
    with zipfile.ZipFile(box, "w", **options) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return box.getvalue()


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self) -> Any:
        return exec, ("import lifelong_rl; lifelong_rl.exploded = True",)


def edited(saved: bytes, change: Callable[[dict[str, Any], dict[str, Any]], Any]) -> bytes:
    """A file whose content was changed by someone who knows how to make the checksums right."""
    content, _ = read_agent(io.BytesIO(saved), "SAC")
    arguments = content["arguments"]["mapping"]
    change(content, arguments)
    box = io.BytesIO()
    write_agent(box, "SAC", content)
    return box.getvalue()


HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda saved: b"", "is not a saved agent, or it is damaged"),
    "text": (lambda saved: b"hello", "is not a saved agent, or it is damaged"),
    "pickle": (lambda saved: pickle.dumps(Bomb()), "is not a saved agent, or it is damaged"),
    "truncated": (lambda saved: saved[:-300], "is not a saved agent, or it is damaged"),
    "flipped": (
        lambda saved: saved[:5000] + bytes([saved[5000] ^ 1]) + saved[5001:],
        "is not a saved agent, or it is damaged",
    ),
    "a pickle inside": (
        lambda saved: rezipped(saved, lambda m: m.update({"data.pkl": pickle.dumps(Bomb())})),
        "it holds agent.json, state.safetensors, data.pkl and not",
    ),
    "a pickle in place of the tensors": (
        lambda saved: rezipped(
            saved, lambda m: m.update({"state.safetensors": pickle.dumps(Bomb())})
        ),
        "was changed after it was written",
    ),
    "a path out of the folder": (
        lambda saved: rezipped(saved, lambda m: m.update({"../../x": b""})),
        "is not a saved agent: it holds",
    ),
    "compressed": (
        lambda saved: rezipped(saved, lambda m: None, compression=zipfile.ZIP_DEFLATED),
        "its content is compressed",
    ),
    "no JSON": (
        lambda saved: rezipped(saved, lambda m: m.update({"agent.json": b"{"})),
        "is damaged",
    ),
    "deep JSON": (
        lambda saved: rezipped(saved, lambda m: m.update({"agent.json": b"[" * 10**6})),
        "is damaged",
    ),
    "a list": (
        lambda saved: rezipped(saved, lambda m: m.update({"agent.json": b"[]"})),
        "is damaged",
    ),
    "changed": (
        lambda saved: rezipped(
            saved, lambda m: m.update({"agent.json": m["agent.json"].replace(b"ewc", b"rgo")})
        ),
        "was changed after it was written",
    ),
    "a class by another name": (
        lambda saved: edited(
            saved,
            lambda c, a: a["policy_kwargs"]["mapping"].update(activation_fn={"class": "os.system"}),
        ),
        "cannot be loaded: unknown class 'os.system'",
    ),
    "a huge network": (
        lambda saved: edited(
            saved, lambda c, a: a["policy_kwargs"]["mapping"].update(net_arch=[10**9])
        ),
        "cannot be loaded: a network with at least 5000000000 parameters has",
    ),
    "many tasks": (
        lambda saved: edited(saved, lambda c, a: a.update(num_tasks=10**9)),
        "cannot be loaded: a network with at least 8000000000 parameters has",
    ),
    "many critics": (
        lambda saved: edited(
            saved, lambda c, a: a["policy_kwargs"]["mapping"].update(n_critics=10**8)
        ),
        "cannot be loaded: a network with at least",
    ),
    "a huge observation": (
        lambda saved: edited(
            saved,
            lambda c, a: c.update(observation_space={"discrete": {"n": 10**12, "start": 0}}),
        ),
        "cannot be loaded: a network with at least",
    ),
    "many environments": (
        lambda saved: edited(saved, lambda c, a: c.update(n_envs=10**9)),
        "cannot be loaded: 1000000000 environments",
    ),
    "noise for many environments": (
        lambda saved: edited(
            saved,
            lambda c, a: a.update(
                action_noise={
                    "vectorized_noise": {
                        "base_noise": to_plain(NormalActionNoise(np.zeros(2), np.ones(2)), ""),
                        "n_envs": 10**9,
                    }
                }
            ),
        ),
        "cannot be loaded: 1000000000 environments",
    ),
    "no random numbers": (
        lambda saved: edited(saved, lambda c, a: c.update(generators={})),
        "cannot be loaded: 'python'",
    ),
    "another network": (
        lambda saved: edited(
            saved, lambda c, a: a["policy_kwargs"]["mapping"].update(net_arch=[4, 4])
        ),
        "cannot be loaded: Error",
    ),
    "no state": (
        lambda saved: edited(saved, lambda c, a: c["state"].pop("optimizers")),
        "cannot be loaded: its state is incomplete",
    ),
    "no such method": (
        lambda saved: edited(saved, lambda c, a: c["method"].update(name="ecw")),
        "cannot be loaded: unknown method 'ecw'; did you mean 'ewc'",
    ),
}


@pytest.mark.parametrize(("make_file", "told"), HOSTILE.values(), ids=HOSTILE)
def test_files_that_are_no_saved_agent_are_refused_in_a_line(
    make_file: Callable[[bytes], bytes], told: str, saved: bytes, tmp_path: Path
) -> None:
    import lifelong_rl

    (tmp_path / "m.zip").write_bytes(make_file(saved))
    for source in (tmp_path / "m.zip", io.BytesIO(make_file(saved))):
        with pytest.raises(AgentFileError, match=told) as caught:
            SAC.load(source)
        assert "\n" not in str(caught.value)
        name = str(source) if isinstance(source, Path) else "the file"
        assert str(caught.value).startswith(name)
    assert not hasattr(lifelong_rl, "exploded")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.zip")
    with pytest.raises(AgentFileError, match=r"m\.zip cannot be read: it is not a regular file"):
        SAC.load(tmp_path / "m.zip")


def test_a_file_of_stable_baselines_another_agent_or_version_is_named(
    saved: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sb3.SAC("MlpPolicy", toys(), buffer_size=10).save(tmp_path / "sb3.zip")
    with pytest.raises(AgentFileError, match="is a file of Stable-Baselines3's own format"):
        SAC.load(tmp_path / "sb3")
    with pytest.raises(AgentFileError, match="is a file of Stable-Baselines3's own format"):
        build("sac").set_parameters(tmp_path / "sb3.zip")
    with pytest.raises(AgentFileError, match="holds an agent of SAC; TD3 cannot load it"):
        TD3.load(io.BytesIO(saved))
    with pytest.raises(AgentFileError, match=r"nothing.zip cannot be read: No such file"):
        SAC.load(tmp_path / "nothing")
    monkeypatch.setattr(agent_file, "FORMAT", "lifelong-rl agent 2")
    with pytest.raises(AgentFileError, match="has the format 'lifelong-rl agent 1'; this version"):
        SAC.load(io.BytesIO(saved))


# ------------------------------------------------------------------ plain values

numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.booleans()
names = st.text(max_size=8)
leaves = st.none() | numbers | names | st.sampled_from([nn.ReLU, nn.Tanh, torch.optim.SGD])
options = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(names | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


def through_json(value: object) -> Any:
    """What comes out of a file that a value was written into."""
    blob, structure = encode_tree({"value": to_plain(value, "value")})
    return from_plain(decode_tree(blob, json.loads(json.dumps(structure)))["value"])


@given(options)
def test_options_come_back_as_they_were(value: Any) -> None:
    found = through_json(value)
    assert found == value and repr(found) == repr(value)  # 1, 1.0 and True are not the same


bounds = st.floats(-1e6, 1e6, width=32)
boxes = st.builds(
    lambda low, width, shape, kind: spaces.Box(low, low + width, shape, kind),
    bounds,
    st.floats(1, 100),
    st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    st.sampled_from([np.float32, np.float64]),
) | st.builds(lambda size: spaces.Box(0, 255, (3, size, size), np.uint8), st.integers(1, 9))
flat_spaces = (
    boxes
    | st.builds(
        lambda n, start: spaces.Discrete(n, start=start), st.integers(1, 9), st.integers(-3, 3)
    )
    | st.builds(spaces.MultiBinary, st.integers(1, 9))
    | st.builds(spaces.MultiDiscrete, st.lists(st.integers(1, 9), min_size=1, max_size=4))
)


@settings(deadline=None)
@given(flat_spaces | st.dictionaries(names, flat_spaces, max_size=3).map(spaces.Dict))
def test_spaces_come_back_as_they_were(space: Any) -> None:
    found = through_json(space)
    assert found == space and type(found) is type(space)
    if isinstance(space, spaces.Box):
        assert found.dtype == space.dtype


@pytest.mark.parametrize(
    "noise",
    [
        NormalActionNoise(np.zeros(2), np.ones(2), dtype=np.float64),
        OrnsteinUhlenbeckActionNoise(np.zeros(2), np.ones(2), 0.3, 0.1, np.ones(2)),
        VectorizedActionNoise(NormalActionNoise(np.zeros(2), np.ones(2)), 3),
    ],
    ids=lambda noise: type(noise).__name__,
)
def test_noise_comes_back_as_it_was(noise: Any) -> None:
    found = through_json(noise)
    for each in (noise, found):
        seed_everything(0)
        each.first = each()
    assert found.first.dtype == noise.first.dtype
    np.testing.assert_array_equal(found.first, noise.first)


@pytest.mark.parametrize("value", [{1.5: 1}, object(), {"a": [lambda: None]}, np.array(["x"]), {1}])
def test_values_that_no_table_knows_are_refused(value: Any) -> None:
    with pytest.raises(UnwritableError, match="cannot be written without pickle"):
        to_plain(value, "value")


# ------------------------------------------------------------------ copies

COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda agent: pickle.loads(pickle.dumps(agent)),
}


@every_agent
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_learns_on_as_the_original_would(kind: str, copied: Callable[[Any], Any]) -> None:
    env = make_vec("reach", num_envs=2, seed=3)
    own: dict[str, Any] = {"n_steps": 30} if kind == "ppo" else {"learning_starts": 10}
    agent = AGENTS[kind]("MlpPolicy", env, make("l2"), seed=0, device="cpu", batch_size=20, **own)
    agent.learn(120)  # over the end of an episode
    other = copied(agent)
    assert other.env.batch_env is not env.batch_env
    assert other.method is not agent.method
    for each in (agent, other):
        seed_everything(1)
        each.learn(120, reset_num_timesteps=False)
    assert agent.num_timesteps == other.num_timesteps == 240
    assert_equal(other, agent)
    np.testing.assert_array_equal(other._last_obs, agent._last_obs)


@pytest.mark.parametrize("name", ["packnet", "progressive", "si"])
def test_a_copy_in_the_middle_of_a_task_goes_on_with_its_method(name: str) -> None:
    agent = learn_task(learn_task(build("sac", make(name, **QUICK.get(name, {}))), 0), 1, end=False)
    other = copy.deepcopy(agent)
    for each in (agent, other):
        seed_everything(1)
        each.rehearse(5)
        each.end_task()
        learn_task(each, 2)
    assert_equal(other, agent)


def test_a_copy_holds_of_the_buffer_what_is_in_it() -> None:
    agent = build("sac", buffer_size=1_000_000)
    agent.learn(30)
    assert len(pickle.dumps(agent)) < 1e6  # the room for all would take 80 MB
    other = copy.deepcopy(agent)
    assert other.replay_buffer.observations.shape == agent.replay_buffer.observations.shape
    assert other.replay_buffer.pos == 15
    np.testing.assert_array_equal(
        other.replay_buffer.observations[:15], agent.replay_buffer.observations[:15]
    )


@every_agent
def test_a_copy_does_not_hold_environments_that_were_replaced(kind: str) -> None:
    class Processes(DummyVecEnv):
        def __getstate__(self) -> Any:
            raise TypeError("cannot be copied, as those of SubprocVecEnv cannot")

    own: dict[str, Any] = (
        {"n_steps": 16, "batch_size": 16} if kind == "ppo" else {"buffer_size": 10}
    )
    agent = AGENTS[kind]("MlpPolicy", Processes([Toy]), num_tasks=NUM_TASKS, **own)
    agent.set_env(toys(count=1))
    assert_equal(copy.deepcopy(agent), agent)


def test_a_copy_does_not_write_into_the_log_of_the_original(tmp_path: Path) -> None:
    agent = build("ppo", verbose=1)
    agent.learn(32)
    other = pickle.loads(pickle.dumps(agent))
    assert other.logger.output_formats == []
