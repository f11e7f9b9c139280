"""Frames of a task: whole episodes with the labels of what each shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lifelong_rl import envs
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.claw.task import VALVE_POSITION
from lifelong_rl.envs.experts import EXPERTS, get_expert
from lifelong_rl.envs.frames import HOLD, POLICIES, TaskFrames, collect_frames
from lifelong_rl.envs.rendering import Renderer, RenderingError
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.errors import UnknownNameError
from lifelong_rl.registry import Registry


@pytest.fixture(scope="module", autouse=True)
def renderer_needed() -> None:
    """Skip where no picture can be made."""
    env = BatchEnv(get_task("reach"), 1)
    try:
        Renderer(env, width=16, height=16).close()
    except RenderingError as error:
        pytest.skip(str(error))


def collect(task: str, policy: str, **options: Any) -> TaskFrames:
    chosen = {"count": 60, "cameras": ("front",), "size": 16, "seed": 7, **options}
    return collect_frames(get_task(task), policy, **chosen)


def test_frames_are_what_a_pixel_environment_shows_the_expert() -> None:
    """An episode of 51 states and the first 9 of the next, from both cameras."""
    found = collect("drawer-open", "expert", cameras=("wrist", "front"))
    assert found.images.shape == (60, 2, 3, 16, 16) and found.images.dtype == np.uint8
    np.testing.assert_array_equal(found.episodes, [0] * 51 + [1] * 9)
    np.testing.assert_array_equal(found.steps, [*range(51), *range(9)])
    env = envs.make_vec(
        "drawer-open",
        num_envs=2,
        seed=7,
        observation="pixels",
        proprioception=False,
        cameras=("wrist", "front"),
        size=16,
    )
    shown, expert = env.reset(), get_expert("drawer-open")
    for t in range(50):
        state = env.batch_env.state()
        for episode in (0, 1):
            k = 51 * episode + t
            if k < 60:
                np.testing.assert_array_equal(found.images[k].reshape(6, 16, 16), shown[episode])
                labels = {name: values[k] for name, values in found.labels.items()}
                advice = np.clip(expert(state), -1, 1)
                for name, value in (
                    *(("hand", state.hand), ("object", state.object)),
                    ("action", advice),
                ):
                    np.testing.assert_array_equal(labels[name], value[episode].astype(np.float32))
                qpos = env.batch_env.batch.bind("qpos")[episode, :7]
                np.testing.assert_array_equal(labels["joints"], qpos.astype(np.float32))
        shown, _, _, infos = env.step(np.clip(expert(state), -1, 1))
    last = infos[0]["terminal_observation"]
    np.testing.assert_array_equal(found.images[50].reshape(6, 16, 16), last)
    env.close()


def test_policies_start_alike_and_part() -> None:
    found = {policy: collect("push", policy, count=51) for policy in POLICIES}
    hands = {policy: frames.labels["hand"] for policy, frames in found.items()}
    for policy in POLICIES:
        np.testing.assert_array_equal(found[policy].images[0], found["expert"].images[0])
        assert hands[policy].dtype == np.float32 and hands[policy].shape == (51, 3)
    assert np.abs(hands["noisy"] - hands["expert"]).max() > 0.02
    assert np.abs(hands["random"] - hands["noisy"]).max() > 0.02


def test_the_expert_is_asked_whoever_acts(
    forget: Callable[[Registry, str], None],
) -> None:
    """What it would do differs once the states do; a task without an expert has no such label."""
    found = {policy: collect("push", policy, count=51).labels["action"] for policy in POLICIES}
    for policy in POLICIES:
        np.testing.assert_array_equal(found[policy][0], found["expert"][0])
        assert np.abs(found[policy]).max() <= 1
    assert np.abs(found["random"] - found["expert"]).max() > 0.02
    before = collect("push", "random", count=3)
    forget(EXPERTS, "push")
    after = collect("push", "random", count=3)
    assert after.labels["action"].shape == (3, 4) and np.isnan(after.labels["action"]).all()
    np.testing.assert_array_equal(after.images, before.images)
    with pytest.raises(ValueError, match="the task 'push' has no expert"):
        collect("push", "noisy", count=3)


def test_random_behaviour_gets_about() -> None:
    """Held actions move the hand much further from its start than ones drawn anew each step."""
    hands = collect("reach", "random", count=8 * 51).labels["hand"].reshape(8, 51, 3)
    held = np.linalg.norm(hands[:, -1] - hands[:, 0], axis=1).mean()
    env = BatchEnv(get_task("reach"), 8)
    env.seed(7)
    env.reset()
    start = env.state().hand
    rng = np.random.default_rng(0)
    for _ in range(50):
        env.step(rng.uniform(-1, 1, (8, 4)))
    anew = np.linalg.norm(env.state().hand - start, axis=1).mean()
    assert held > 1.3 * anew
    assert HOLD > 1


def test_frames_depend_on_the_seed_and_not_on_threads() -> None:
    once, again = (collect("reach", "noisy", num_threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(once.images, again.images)
    other = collect("reach", "noisy", seed=8)
    assert not np.array_equal(once.images, other.images)
    assert not np.array_equal(once.labels["hand"][0], other.labels["hand"][0])


def test_many_episodes_take_several_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lifelong_rl.envs.frames.ROWS", 2)
    found = collect("valve-tri", "random", count=3 * 41 + 5)
    np.testing.assert_array_equal(found.episodes, np.repeat([0, 1, 2, 3], [41, 41, 41, 5]))
    starts = found.images[found.steps == 0]
    assert len({start.tobytes() for start in starts}) == 4


def test_labels_of_the_claw() -> None:
    found = collect("valve-bar", "expert", count=41).labels
    assert {name: values.shape for name, values in found.items()} == {
        "hand": (41, 3),
        "object": (41, 3),
        "angle": (41, 2),
        "joints": (41, 9),
        "action": (41, 9),
    }
    np.testing.assert_allclose(np.linalg.norm(found["angle"], axis=1), 1.0, rtol=1e-6)
    assert found["angle"][0, 0] > 0.99 and found["angle"][-1, 0] < -0.9  # from 0 to half a turn
    way = found["object"][:, :2] - VALVE_POSITION[:2].astype(np.float32)
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), 0.118, rtol=1e-5)
    # the place on the rim turns with the valve
    turned = way[:, 0] + 1j * way[:, 1]
    angle = found["angle"][:, 0] + 1j * found["angle"][:, 1]
    np.testing.assert_allclose(turned / turned[0], angle / angle[0], atol=1e-5)


def test_the_claws_hand_is_between_its_fingertips() -> None:
    env = BatchEnv(get_task("valve-tri"), 2)
    env.seed(0)
    env.reset()
    env.step(np.random.default_rng(0).uniform(-1, 1, (2, 9)))
    sites = [k for k in range(env.batch.model.nsite) if "tip" in env.batch.model.site(k).name]
    for row in range(2):
        data = env.batch.get_data(row)
        assert len(sites) == 3
        np.testing.assert_allclose(
            env.robot.labels()["hand"][row], data.site_xpos[sites].mean(axis=0), atol=1e-9
        )


def test_a_diverged_episode_ends_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one takes its place in the count."""
    made: list[BatchEnv] = []
    calls = 0

    def make(*args: Any) -> BatchEnv:
        made.append(BatchEnv(*args))
        return made[0]

    def explode(state: Any) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == 4:
            made[0].batch.bind("qpos")[0, 0] = np.nan
        return np.zeros((len(state.hand), 4))

    monkeypatch.setattr("lifelong_rl.envs.frames.BatchEnv", make)
    monkeypatch.setitem(EXPERTS._registered, "reach", explode)
    found = collect("reach", "expert", count=60)
    # episode 0 ends in its fourth state, 1 is whole, and 2 gives what is missing
    np.testing.assert_array_equal(found.episodes, np.repeat([0, 1, 2], [4, 51, 5]))
    np.testing.assert_array_equal(found.steps, [*range(4), *range(51), *range(5)])


def test_bad_requests() -> None:
    with pytest.raises(UnknownNameError, match="unknown policy 'nosy'; did you mean 'noisy'"):
        collect("reach", "nosy")
    with pytest.raises(UnknownNameError, match="unknown camera 'wris'; did you mean 'wrist'"):
        collect("reach", "random", cameras=("wris",))
    with pytest.raises(ValueError, match="count is 0; it must be at least 1"):
        collect("reach", "random", count=0)
