"""Streams are read as they are meant, and their environments change when they should."""

import json

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifelong_rl.envs.stream_env import PhasedVecEnv
from lifelong_rl.envs.streams import Stream, make_stream, parse_stream
from lifelong_rl.errors import UserError
from lifelong_rl.runs.sequence import Phase, blocks_of, is_plain, load_sequence, phases_of


def stream(*phases, **more):
    return parse_stream({"phases": list(phases), **more})


def facts(found):
    return [(phase.tasks, phase.steps, phase.announced) for phase in phases_of(found)]


def test_tasks_are_learned_in_turn():
    found = stream({"env": "reach", "steps": 100}, {"env": "push"}, steps=50)
    assert found.tasks == ("reach", "push")
    assert facts(found) == [((0,), 100, True), ((1,), 50, True)]
    assert (found.heads, found.num_heads) == ((0, 1), 2)
    assert found.offers == ("continuous actions", "expert")


def test_a_label_that_comes_again_is_the_same_task():
    found = stream({"env": "reach"}, {"env": "push"}, {"env": "reach"}, steps=10)
    assert found.tasks == ("reach", "push")
    assert [phase.tasks for phase in found.phases] == [(0,), (1,), (0,)]
    assert not is_plain(phases_of(found))


def test_repeat_goes_through_the_phases_again():
    found = stream({"env": "reach"}, {"env": "push"}, repeat=3, steps=10)
    assert [phase.tasks for phase in found.phases] == [(0,), (1,)] * 3


def test_changes_make_another_task_of_an_environment():
    found = stream(
        {"env": "push"},
        {"env": "push", "changes": {"friction": 0.5}},
        {"env": "push", "changes": {"gravity": [1, 2]}},
    )
    assert found.tasks == ("push", "push-friction-0.5", "push-gravity-1-to-2")
    plain, slippery, heavy = found.versions().values()
    assert slippery == f"push {plain} friction=0.5"
    assert heavy == f"push {plain} gravity=1-to-2"
    assert found.offers == ("continuous actions",)  # no expert is shown what drifts


def test_tasks_of_one_label_and_of_different_environments_have_different_versions():
    versions = {stream({"env": env, "label": "first"}).versions()["first"] for env in ALIKE}
    assert len(versions) == len(ALIKE)
    assert stream({"env": "reach"}).versions() == load_sequence("reach").versions()


ALIKE = ("reach", "push", "gym:Reacher-v5", "gym:Pusher-v5")


def test_what_is_not_announced_goes_on_with_the_head_of_the_phase_before():
    found = stream(
        {"env": "reach"},
        {"env": "push", "announced": False},
        {"env": "button-press"},
        {"env": "drawer-open", "announced": False},
    )
    assert (found.heads, found.num_heads) == ((0, 0, 1, 1), 2)
    assert blocks_of(phases_of(found)) == (range(0, 2), range(2, 4))


def test_task_free_announces_its_beginning_alone():
    found = stream({"env": "reach"}, {"env": "push"}, {"env": "reach"}, task_free=True, steps=10)
    assert (found.heads, found.num_heads) == ((0, 0), 1)
    assert [phase.announced for phase in found.phases] == [True, False, False]


def test_a_switch_is_assumed_every_so_many_steps():
    found = stream(
        {"env": "reach", "steps": 25},
        {"env": "push", "steps": 24, "changes": {"gravity": [1.0, 2.0]}},
        task_free=True,
        assume_switch_every=10,
    )
    assert facts(found) == [
        ((0,), 10, True),
        ((0,), 10, True),
        ((0,), 5, True),
        ((1,), 5, False),
        ((1,), 19, True),  # the last stretch is the longest
    ]
    assert found.stages[3].within == (0.0, 5 / 24) and found.stages[4].within == (5 / 24, 1.0)


def test_an_order_shuffles_the_phases_of_a_task_free_stream():
    phases = [
        {"env": "reach", "steps": 15},
        {"env": "push", "steps": 20, "changes": {"gravity": [1.0, 2.0]}},
        {"env": "button-press", "steps": 10},
    ]
    free = stream(*phases, task_free=True)
    orders = {free.reordered(seed).tasks for seed in range(30)}
    assert len(orders) == 6
    assert [phase.announced for phase in free.reordered(1).phases] == [True, False, False]
    assumed = stream(*phases, task_free=True, assume_switch_every=10)
    for seed in range(6):
        found = assumed.reordered(seed)
        drift = [stage.within for stage in found.stages if "push" in stage.labels[0]]
        assert (drift[0][0], drift[-1][1]) == (0.0, 1.0)
        assert [end for _, end in drift[:-1]] == [begin for begin, _ in drift[1:]]
        starts = np.cumsum([0] + [phase.steps for phase in found.phases])
        told = [s for s, p in zip(starts, found.phases, strict=False) if p.announced]
        assert told == [0, 10, 20, 30]


def test_other_steps_leave_the_switches_that_are_assumed_where_they_are():
    found = stream(
        {"env": "reach", "steps": 25}, {"env": "push"}, task_free=True, assume_switch_every=10
    ).with_steps(15)
    assert facts(found) == [((0,), 10, True), ((0,), 5, True), ((1,), 5, False), ((1,), 10, True)]


def test_several_environments_are_learned_side_by_side():
    found = stream({"env": ["reach", "push"], "label": ["a", "b"], "steps": 10})
    assert found.tasks == ("a", "b") and found.heads == (0, 1)
    env = found.make_phase_env([0], [10], num_envs=5, seed=0)
    tails = env.reset()[:, -2:]
    assert tails.tolist() == [[1, 0]] * 3 + [[0, 1]] * 2
    env.close()


def test_an_order_keeps_what_is_not_announced_behind_its_phase():
    found = stream(
        {"env": "reach"},
        {"env": "push", "announced": False},
        {"env": "button-press"},
        {"env": "drawer-open"},
    )
    orders = {found.reordered(seed).tasks for seed in range(30)}
    assert len(orders) == 6
    assert all(order.index("push") == order.index("reach") + 1 for order in orders)
    assert found.reordered(3) == found.reordered(3)


def test_a_file_is_a_name(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("steps: 10\nphases:\n- env: reach\n- {env: push, steps: 20}\n")
    found = load_sequence(str(path))
    assert isinstance(found, Stream) and found.name == "mine"
    assert phases_of(found) == (Phase((0,), 10), Phase((1,), 20))


WRONG = {
    "no mapping": ([], "a stream is a mapping with phases"),
    "no phases": ({}, "has no phases"),
    "an empty list": ({"phases": []}, "has no phases"),
    "a key": ({"phase": []}, "unknown key of a stream 'phase'; did you mean 'phases'"),
    "a key of a phase": ({"phases": [{"evn": "reach"}]}, "phase 1 .*'evn'; did you mean 'env'"),
    "no env": ({"phases": [{"steps": 3}]}, "phase 1 .* has no env"),
    "a task": ({"phases": [{"env": "reech"}]}, "phase 1 .*'reech'; did you mean 'reach'"),
    "a kind": ({"phases": [{"env": "gim:Reacher-v5"}]}, "'gim'; did you mean 'gym'"),
    "no steps": ({"phases": [{"env": "reach", "steps": 0}]}, "steps is 0; it is a whole number"),
    "half a step": ({"phases": [{"env": "reach", "steps": 0.5}]}, "steps is 0.5"),
    "true steps": ({"phases": [{"env": "reach", "steps": True}]}, "steps is True"),
    "one label for two": (
        {"phases": [{"env": "reach", "label": "a"}, {"env": "push", "label": "a"}]},
        "phase 2 .*two different tasks have the label 'a'",
    ),
    "one label for two changes": (
        {
            "phases": [
                {"env": "push", "label": "a"},
                {"env": "push", "label": "a", "changes": {"gravity": 2}},
            ]
        },
        "two different tasks have the label 'a'",
    ),
    "a number for a label": (
        {"phases": [{"env": "reach", "label": 1}]},
        "the label 1 is no text; write it in quotes",
    ),
    "labels": (
        {"phases": [{"env": ["reach", "push"], "label": "a"}]},
        "2 environments have 1 label",
    ),
    "twice at once": ({"phases": [{"env": ["reach", "reach"]}]}, "the label 'reach'"),
    "a plus": ({"phases": [{"env": "reach", "label": "a+b"}]}, "letters, digits"),
    "a field": (
        {"phases": [{"env": "push", "changes": {"fraction": 1}}]},
        "did you mean 'friction'",
    ),
    "a factor": ({"phases": [{"env": "push", "changes": {"mass": 0}}]}, "more than 0"),
    "three factors": (
        {"phases": [{"env": "push", "changes": {"mass": [1, 2, 3]}}]},
        "one factor, or two",
    ),
    "text": ({"phases": [{"env": "push", "changes": {"mass": "heavy"}}]}, "finite number"),
    "two drift": (
        {"phases": [{"env": ["reach", "push"], "changes": {"mass": [1, 2]}}]},
        "several environments at once cannot drift",
    ),
    "announced": ({"phases": [{"env": "reach", "announced": "no"}]}, "announced is 'no'"),
    "announced and free": (
        {"task_free": True, "phases": [{"env": "reach", "announced": True}]},
        "leave out announced",
    ),
    "assumed": ({"assume_switch_every": 5, "phases": [{"env": "reach"}]}, "task_free: true only"),
    "another head": (
        {"phases": [{"env": "reach"}, {"env": "push"}, {"env": "reach", "announced": False}]},
        "phase 3 .*'reach' has another",
    ),
    "too many": ({"repeat": 10**9, "phases": [{"env": "reach"}]}, "more than 10000 phases"),
    "a name": ({"name": "a\nb", "phases": [{"env": "reach"}]}, "the name of a stream"),
}


@pytest.mark.parametrize("content, message", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_in_a_line(content, message):
    with pytest.raises(UserError, match=message) as error:
        parse_stream(content)
    assert "\n" not in str(error.value)


def test_tasks_of_different_sizes_share_their_spaces():
    found = stream({"env": "gym:Reacher-v5"}, {"env": "reach"}, {"env": "valve-tri"})
    sizes = [placed.task.dims() for placed in found.placed.values()]
    assert len(set(sizes)) == 3 and found.action_dims == (2, 4, 9)
    assert found.offers == ("continuous actions",)
    widest = max(size for size, _ in sizes)
    rng = np.random.default_rng(0)
    for task_id, (obs_dim, action_dim) in enumerate(sizes):
        env = found.make_env(task_id, num_envs=2, seed=4)
        alone = found.placed[found.tasks[task_id]].task
        narrow = alone.make_env(
            num_envs=2, num_threads=1, seed=4, one_hot=None, obs_dim=obs_dim, action_dim=action_dim
        )
        assert env.action_dims == (2, 4, 9) and env.action_space.shape == (9,)
        rows, own = env.reset(), narrow.reset()
        for _ in range(4):
            assert rows.shape == (2, widest + 3)
            np.testing.assert_array_equal(rows[:, :obs_dim], own)
            assert not rows[:, obs_dim:widest].any()
            assert (rows[:, widest:] == np.eye(3)[task_id]).all()
            actions = rng.uniform(-1, 1, (2, 9)).astype(np.float32)
            rows, rewards, *_ = env.step(actions)
            own, own_rewards, *_ = narrow.step(actions[:, :action_dim])
            np.testing.assert_array_equal(rewards, own_rewards)
        env.close()
        narrow.close()


def test_experts_of_several_robots_leave_what_they_have_not_at_0():
    found = stream({"env": "reach"}, {"env": "valve-tri"})
    env = found.make_env(0, num_envs=2, seed=0)
    env.reset()
    taken = [env.expert_actions(), env.demonstrations(1, seed=0, noise=0.1)["actions"]]
    for actions in taken:
        assert actions.shape[1] == 9 and actions[:, :4].any() and not actions[:, 4:].any()
    env.close()


def test_nothing_of_a_model_can_be_changed_where_there_is_none():
    gymnasium.register("OnlyHere-v0", entry_point=Walk)
    try:
        found = stream({"env": "gym:OnlyHere-v0", "changes": {"gravity": 2.0}})
        with pytest.raises(UserError, match="has no MuJoCo model"):
            found.make_env(0, num_envs=1)
    finally:
        del gymnasium.registry["OnlyHere-v0"]


class Walk(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-9, 9, (1,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 0.0, False, False, {}


NAMES = st.sampled_from(["reach", "push", "button-press"])
PHASES = st.lists(
    st.fixed_dictionaries(
        {"env": NAMES, "steps": st.integers(1, 50)},
        optional={
            "changes": st.dictionaries(st.sampled_from(["gravity", "mass"]), st.floats(0.5, 2))
        },
    ),
    min_size=1,
    max_size=6,
)


@given(PHASES, st.booleans(), st.integers(1, 3), st.none() | st.integers(1, 60))
def test_phases_are_all_there_however_they_are_cut(phases, task_free, repeat, every):
    content = {"phases": phases, "task_free": task_free, "repeat": repeat}
    if task_free and every is not None:
        content["assume_switch_every"] = every
    found = make_stream(json.dumps(content))
    assert sum(phase.steps for phase in found.phases) == repeat * sum(p["steps"] for p in phases)
    order = [phase.tasks for phase in found.phases]
    assert list(dict.fromkeys(order)) == [(k,) for k in range(found.num_tasks)]
    assert found.phases[0].announced
    blocks = blocks_of(phases_of(found))
    lengths = [sum(found.phases[k].steps for k in block) for block in blocks]
    if task_free:
        assert found.num_heads == 1
        if every is None or len(blocks) == 1:
            assert len(blocks) == 1
        else:
            assert set(lengths[:-1]) <= {every} and every <= lengths[-1] < 2 * every
    else:
        assert all(phase.announced for phase in found.phases)


# Environments


class Part:
    """Environments that count: rows show how many steps they are in, and the factor in force."""

    num_envs = 2
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    render_mode = None

    def __init__(self, number, horizon):
        self.number, self.horizon = number, horizon
        self.length, self.seeded, self.factor, self.closed = 0, None, 1.0, False

    def seed(self, seed):
        self.seeded = seed

    def reset(self):
        self.length = 0
        return self.show()

    def show(self):
        row = [self.number, self.length, self.factor]
        return np.array([row, row], np.float32)

    def change_model(self, factors):
        self.factor = factors["gravity"]

    def step_async(self, actions):
        pass

    def step_wait(self):
        self.length += 1
        done = self.length == self.horizon
        infos = [{}, {}]
        shown = self.show()
        if done:
            for row, info in enumerate(infos):
                info |= {"terminal_observation": shown[row], "TimeLimit.truncated": False}
            shown = self.reset()
        return shown, np.ones(2, np.float32), np.array([done, done]), infos

    def state_dict(self):
        return {"length": self.length}

    def load_state_dict(self, state):
        self.length = state["length"]

    def get_attr(self, name, indices=None):
        return [getattr(self, name)] * self.num_envs

    def close(self):
        self.closed = True


def phased(*drifts):
    parts = [Part(0, 100), Part(1, 3)]
    return PhasedVecEnv(parts, [8, 20], drifts or (None, None)), parts


def test_phases_follow_each_other_after_their_steps():
    env, parts = phased()
    env.seed(5)
    assert env.reset()[0].tolist() == [0, 0, 1]
    assert parts[0].seeded == 5
    for _ in range(3):
        _, _, dones, _ = env.step(np.zeros((2, 1)))
        assert not dones.any()
    observations, _, dones, infos = env.step(np.zeros((2, 1)))  # 8 steps of both together
    assert dones.all() and observations[0].tolist() == [1, 0, 1]
    assert parts[1].seeded not in (None, 5)
    assert infos[0]["TimeLimit.truncated"] and infos[1]["terminal_observation"].tolist() == [
        0,
        4,
        1,
    ]
    *_, infos = [env.step(np.zeros((2, 1))) for _ in range(3)][-1]
    assert infos[0]["TimeLimit.truncated"] is False  # an end of its own stays one
    env.close()
    assert all(part.closed for part in parts)


def test_boundaries_between_steps_do_not_move_later_ones():
    parts = [Part(number, 100) for number in range(4)]
    env = PhasedVecEnv(parts, [5, 5, 1, 9], [None, None, None, lambda share: {"gravity": share}])
    env.seed(0)
    env.reset()
    shown = [env.step(np.zeros((2, 1)))[0][0] for _ in range(9)]
    # they end at 5, 10 and 11 steps of all rows, and each step takes 2
    assert [row[0] for row in shown] == [0, 0, 1, 1, 2, 3, 3, 3, 3]
    assert [row[1] for row in shown] == [1, 2, 0, 1, 0, 0, 1, 2, 3]
    assert parts[3].factor == pytest.approx(0.77)  # 7 of its 9 steps are done


def test_several_phases_may_end_in_one_step():
    env = PhasedVecEnv([Part(number, 100) for number in range(4)], [2, 1, 1, 8], [None] * 4)
    env.seed(0)
    env.reset()
    shown = [env.step(np.zeros((2, 1)))[0][0] for _ in range(3)]
    assert [row[:2].tolist() for row in shown] == [[1, 0], [3, 0], [3, 1]]


def test_phases_that_nobody_announces_have_equally_many_environments():
    found = stream(
        {"env": "reach", "steps": 4}, {"env": ["push", "reach"], "steps": 9}, task_free=True
    )
    env = found.make_phase_env([0, 1], [4, 9], num_envs=1, seed=0)
    assert env.num_envs == 2 and env.reset().shape[0] == 2
    for _ in range(3):
        observations, rewards, *_ = env.step(np.zeros((2, 4)))
    assert observations.shape[0] == 2 and rewards.shape == (2,)
    env.close()


def test_the_first_phase_begins_again_with_a_seed():
    env, parts = phased()
    env.seed(5)
    env.reset()
    for _ in range(6):
        env.step(np.zeros((2, 1)))
    assert env.reset()[0, 0] == 1
    seeds = [part.seeded for part in parts]
    env.seed(5)
    assert env.reset()[0, 0] == 0
    for _ in range(4):
        env.step(np.zeros((2, 1)))
    assert [part.seeded for part in parts] == seeds


def test_drift_goes_in_equal_increments_from_end_to_end():
    env, parts = phased(None, lambda share: {"gravity": 1 + share})
    env.seed(0)
    env.reset()
    factors = []
    for _ in range(14):
        env.step(np.zeros((2, 1)))
        factors.append(parts[1].factor)
    assert factors == pytest.approx([1.0] * 4 + [1 + k / 10 for k in range(1, 11)])


def test_a_phased_environment_goes_on_from_its_state():
    one, _ = phased(lambda share: {"gravity": 1 - share}, lambda share: {"gravity": 1 + share})
    one.seed(3)
    one.reset()
    for _ in range(7):
        one.step(np.zeros((2, 1)))
    other, _ = phased(lambda s: {"gravity": 1 - s}, lambda s: {"gravity": 1 + s})
    other.load_state_dict(one.state_dict())
    for _ in range(6):
        left, right = (env.step(np.zeros((2, 1))) for env in (one, other))
        np.testing.assert_array_equal(left[0], right[0])


def test_phases_of_the_same_tasks_share_environments_and_go_on_as_with_their_own():
    phases = [{"env": name, "steps": 8} for name in ("reach", "push", "reach")]
    env = stream(*phases, task_free=True).make_phase_env([0, 1, 2], [8, 8, 8], num_envs=2, seed=0)
    assert env.parts[0] is env.parts[2] is not env.parts[1]
    own = stream(*phases, task_free=True)
    parts = [own.make_env(own.phases[k].tasks[0], num_envs=2) for k in range(3)]
    alone = PhasedVecEnv(parts, [8, 8, 8], [None] * 3)
    alone.seed(0)
    shown = [each.reset() for each in (env, alone)]
    np.testing.assert_array_equal(*shown)
    for step in range(14):
        if step == 9:  # in the third phase, whose environments are those of the first
            state = env.state_dict()
            env.close()
            env = own.make_phase_env([0, 1, 2], [8, 8, 8], num_envs=2, seed=3)
            env.load_state_dict(state)
        taken = np.full((2, 4), 0.1 * step)
        shown = [each.step(taken)[0] for each in (env, alone)]
        np.testing.assert_array_equal(*shown)
    env.close()
    alone.close()


def test_a_later_phase_that_cannot_be_gone_on_with_is_told_at_the_beginning():
    env, parts = phased()

    def refuse():
        raise UserError("it depends on more")

    parts[1].state_dict = refuse
    with pytest.raises(UserError, match="depends on more"):
        env.state_dict()


def test_what_diverged_in_earlier_phases_is_counted_after_going_on():
    one, parts = phased()
    parts[0].num_diverged, parts[1].num_diverged = 3, 0
    one.seed(3)
    one.reset()
    for _ in range(5):
        one.step(np.zeros((2, 1)))
    other, _ = phased()
    other.load_state_dict(one.state_dict())
    assert (one.num_diverged, other.num_diverged) == (3, 3)
    again, _ = phased()
    again.load_state_dict(other.state_dict())
    assert again.num_diverged == 3


def test_what_is_evaluated_is_the_task_at_the_end_of_its_drift():
    found = stream({"env": "gym:HalfCheetah-v5", "changes": {"gravity": [1.0, 0.5]}})
    steady = stream({"env": "gym:HalfCheetah-v5", "changes": {"gravity": 0.5}})
    observations = []
    for each in (found, steady):
        env = each.make_env(0, num_envs=1, seed=1)
        env.reset()
        for _ in range(5):
            shown = env.step(np.zeros((1, 6)))[0]
        observations.append(shown)
        env.close()
    np.testing.assert_array_equal(*observations)
