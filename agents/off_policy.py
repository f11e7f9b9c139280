"""What off-policy learners share: updates on a replay buffer that belongs to one task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise, VectorizedActionNoise
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.utils import get_device
from stable_baselines3.common.vec_env import VecEnv

from lifelong_rl.agents.buffers import (
    ARRAYS,
    PixelReplayBuffer,
    TaskReplayBuffer,
    buffer_state,
    load_buffer_state,
    pack_buffer,
    stream,
    unpack_buffer,
)
from lifelong_rl.agents.exploration import ExploringLearner
from lifelong_rl.agents.saving import EXPERIENCE
from lifelong_rl.agents.sight import LearnedSight, Sight, open_sight
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.errors import NonFiniteError, UserError
from lifelong_rl.learning import Batch, StateTree, gradient_step, split_batch, split_task
from lifelong_rl.learning.adam import FusedAdam
from lifelong_rl.learning.protocols import Pause, Progress, no_pause
from lifelong_rl.networks.activations import ACTIVATIONS
from lifelong_rl.options import Count, OptionError, Positive, PositiveShare, Share, Whole
from lifelong_rl.vision.eyes import Eyes

AS_THEY_ARE = (
    "learning_rate",
    "batch_size",
    "gamma",
    "tau",
    "buffer_size",
    "learning_starts",
    "updates_per_step",
    "reset_buffer",
    "reset_optimizers",
    "explore",
    "explore_steps",
    "max_grad_norm",
)
"""Options that are arguments of the constructor of the same name."""
_NO_BUFFER_FILES = (
    "is not supported: Stable-Baselines3 pickles replay buffers; learn with `lifelong-rl run`, "
    "whose checkpoints resume exactly, or copy the agent with copy.deepcopy"
)


class OffPolicyLearner(ExploringLearner):
    """An off-policy algorithm of Stable-Baselines3 whose `train` is replaced.

    Args:
        policy: As for Stable-Baselines3.
        env: As for Stable-Baselines3; several environments at once are one `VecEnv`, with
            `gradient_steps` updates after each of its steps.
        method: See `ContinualLearner`.
        reset_buffer: Empty the replay buffer at a task switch.
        updates_per_step: Updates for each environment step, in place of Stable-Baselines3's
            `gradient_steps`; fractions of an update are owed to later steps.
        max_grad_norm: Bound of the norm of each gradient; None for none.
        eyes: What the agent sees with, if the environments show pictures.
        **arguments: As for `ExploringLearner`.

    The resets are those of Continual World (Wolczyk et al. 2021, section 4).

    Raises:
        UserError: Arguments that do not go together.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(ExploringLearner.Options):
        """Options of every off-policy learner.

        Attributes:
            hidden: Units of each hidden layer, of the actor and of each critic (untuned: half of
                the units of Haarnoja et al. 2018b, for a CPU).
            batch_size: Transitions in an update (measured with SAC, see docs/settings.md; 256 in
                Haarnoja et al. 2018b, table 1).
            gamma: Discount per control step (untuned: looks 33 of an episode's 50 steps ahead).
            tau: Step of the target networks towards the networks at each update (Haarnoja et al.
                2018b, table 1).
            buffer_size: Transitions kept for replay, at least one of each environment (Haarnoja et
                al. 2018b, table 1).
            learning_starts: Environment steps at the beginning of each task without updates, in
                which `explore` acts (untuned: ten episodes).
            updates_per_step: Updates for each environment step; they are done after a step of all
                environments together, and fractions of an update are owed to later steps (untuned:
                half of the one of Haarnoja et al. 2018b, for a CPU).
            reset_buffer: Empty the replay buffer at a task switch (as Continual World).
            explore: What acts in the first steps of a task: random actions (as Continual World); or
                best-old-head, each head that has learned a task for an episode and then the one
                that has returned most there (Wolczyk et al. 2022), with random actions in the
                first task.
            explore_steps: Environment steps at the beginning of each task in which `explore` acts;
                null for as many as `learning_starts`.
            max_grad_norm: Bound of the 2-norm of each gradient, after the method has changed it;
                null for none (as Haarnoja et al. 2018b; Wolczyk et al. 2022 take 0.1).
        """

        gamma: Share = 0.97
        tau: PositiveShare = 0.005
        buffer_size: Count = 1_000_000
        learning_starts: Whole = 500
        updates_per_step: Positive = 0.5
        reset_buffer: bool = True
        explore: Literal["random", "best-old-head"] = "random"
        explore_steps: Whole | None = None
        max_grad_norm: Positive | None = None

        def as_arguments(self, num_envs: int) -> dict[str, Any]:
            """What the constructor takes of these.

            Args:
                num_envs: Environments that fill the buffer together.

            Raises:
                OptionError: The buffer has no room for a step of all of them.
            """
            if self.buffer_size < num_envs:
                allowed = f"at least {num_envs}, a transition of each environment"
                raise OptionError("buffer_size", self.owner(), allowed, self.buffer_size)
            return {
                "policy_kwargs": {
                    "net_arch": list(self.hidden),
                    "activation_fn": ACTIVATIONS[self.activation],
                    "layer_norm": self.layer_norm,
                },
                **{name: getattr(self, name) for name in AS_THEY_ARE},
            }

    replay_buffer: ReplayBuffer

    def __init__(
        self,
        policy: Any,
        env: GymEnv | str,
        method: ContinualMethod | None = None,
        *,
        reset_buffer: bool = True,
        updates_per_step: float | None = None,
        max_grad_norm: float | None = None,
        eyes: Eyes | None = None,
        **arguments: Any,
    ) -> None:
        if method is not None and arguments.get("n_steps", 1) != 1:
            raise UserError("n_steps must be 1 with a continual method: memories hold single steps")
        self.reset_buffer = reset_buffer
        self._task_steps = 0  # of all environments together, since the task began
        self._updates_per_step = updates_per_step
        self.max_grad_norm = max_grad_norm
        self._updates_owed = 0.0
        policy_kwargs = dict(arguments.pop("policy_kwargs", None) or {})
        if not policy_kwargs.keys() & {"optimizer_class", "optimizer_kwargs"}:
            policy_kwargs["optimizer_class"] = FusedAdam
        self._sight: Sight | None = None
        if eyes is not None:
            self._shown_space = env.observation_space  # type: ignore[union-attr]
            device = get_device(arguments.get("device", "auto"))
            self._sight = open_sight(eyes, self._shown_space, method, device)
            env = self._sight.wrap(env)
            policy_kwargs |= self._sight.policy_arguments()
            if isinstance(self._sight, LearnedSight):
                arguments["replay_buffer_class"] = PixelReplayBuffer
                arguments["replay_buffer_kwargs"] = {"sight": self._sight}
        super().__init__(policy, env, method, policy_kwargs=policy_kwargs, **arguments)

    def _setup_model(self) -> None:
        plain = self.n_steps == 1 and not isinstance(self.observation_space, spaces.Dict)
        if self.replay_buffer_class is None and plain:
            self.replay_buffer_class = TaskReplayBuffer
        if self.replay_buffer_class in (TaskReplayBuffer, PixelReplayBuffer):
            self.replay_buffer_kwargs = {**self.replay_buffer_kwargs, "num_tasks": self.num_tasks}
        super()._setup_model()

    @property
    def shown_space(self) -> spaces.Space[Any]:
        """What the environments show, before the eyes."""
        return self.observation_space if self._sight is None else self._shown_space

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Update everything `gradient_steps` times, or as `updates_per_step` says."""
        if self._updates_per_step is not None:
            self._updates_owed += self._updates_per_step * self.n_envs
            gradient_steps = int(self._updates_owed + 1e-9)  # 10 × 0.1 is a whole update
            self._updates_owed -= gradient_steps
        with self.update_clock.measure(gradient_steps):
            self._train(gradient_steps, batch_size)

    def rehearse(self, updates: int) -> None:
        """Update everything on the replay buffer, without new experience."""
        with self.update_clock.measure(updates):
            self._train(updates, self.batch_size)

    def borrow_data(self, other: OffPolicyLearner) -> None:
        """Draw from the other learner's replay buffer."""
        self.replay_buffer = other.replay_buffer

    def begin_task(self, task_id: int, env: VecEnv) -> None:
        """Switch to a task: new environment, resets, then the method's `begin_task`."""
        self._task_steps, self._updates_owed = 0, 0.0
        if self.reset_buffer:
            self.replay_buffer.reset()
        super().begin_task(task_id, env)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Learn in these environments from now on; what they show is seen with the eyes."""
        if self._sight is not None and env.observation_space == self._shown_space:
            env = self._sight.wrap(self._wrap_env(env, self.verbose))
        super().set_env(env, force_reset)

    def check_steps(self, steps: int) -> None:
        """Raise UserError if a task of `steps` steps would have no update."""
        if steps <= self.learning_starts:
            raise UserError(
                f"{steps} steps per task are not more than the {self.learning_starts} without an "
                "update that a task begins with (agent option learning_starts): nothing would be "
                "learned"
            )

    def learn_task(self, steps: int, progress: Progress, pause: Pause = no_pause) -> None:
        """Learn the current task for `steps` environment steps.

        Raises:
            UserError: There would be no update.
        """
        self.check_steps(steps)
        self._learn(steps, progress, pause)

    def act(self, observations: Any) -> np.ndarray:
        """Deterministic actions (n, action_dim) for observations as the environments show them."""
        return super().act(observations if self._sight is None else self._sight.rows(observations))

    def task_data(self, batch_size: int = 1024) -> Iterator[Batch]:
        """The current task's transitions that the replay buffer still holds, oldest first."""
        for batch in stream(self.replay_buffer, self._task_steps, batch_size):
            yield split_batch(batch, self.num_tasks)

    def memory_bytes(self, steps_per_task: int, num_tasks: int) -> int:
        """What the replay buffer takes once it is as full as it becomes.

        A step of it holds a transition of each environment.
        """
        kept = steps_per_task * (1 if self.reset_buffer else num_tasks)
        buffer = self.replay_buffer
        a_step: int = sum(getattr(buffer, name)[:1].nbytes for name in ARRAYS)
        return a_step * min(-(-kept // self.n_envs), int(buffer.buffer_size))

    def state_dict(self) -> StateTree:
        """Networks, optimizers, method, and the replay buffer if it is kept."""
        state = dict(super().state_dict())
        if not self.reset_buffer:
            state["replay_buffer"] = buffer_state(self.replay_buffer)
        return state

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict` of an agent built with the same arguments."""
        super().load_state_dict(state)
        if not self.reset_buffer:
            load_buffer_state(self.replay_buffer, state["replay_buffer"])

    @property
    def experience(self) -> TaskReplayBuffer | None:
        """The replay buffer; None of a class that cannot be written in pieces."""
        buffer = self.replay_buffer
        known = isinstance(buffer, TaskReplayBuffer) and not buffer.optimize_memory_usage
        return cast(TaskReplayBuffer, buffer) if known else None

    def task_state(self) -> StateTree | None:
        """See `ContinualLearner`; None where `experience` is."""
        state, buffer = super().task_state(), self.experience
        if state is None or buffer is None:
            return None
        of_task = {**state["task"], "buffer_tasks": sorted(buffer.tasks)}
        kept = {name: value for name, value in state.items() if name != EXPERIENCE}
        return {**kept, "task": of_task}

    def load_task_state(self, state: StateTree, env: Any) -> None:
        """See `ContinualLearner`."""
        self.replay_buffer.reset()
        super().load_task_state({**self.state_dict(), **state}, env)
        assert self.experience is not None
        self.experience.tasks = set(state["task"]["buffer_tasks"])

    def save_replay_buffer(self, path: Any) -> None:
        """Refuse: Stable-Baselines3 pickles the buffer.

        Raises:
            UserError: Always.
        """
        raise UserError(f"save_replay_buffer {_NO_BUFFER_FILES}")

    def load_replay_buffer(self, path: Any, truncate_last_traj: bool = True) -> None:
        """Refuse: loading a pickle may run any code.

        Raises:
            UserError: Always.
        """
        raise UserError(f"load_replay_buffer {_NO_BUFFER_FILES}")

    def __getstate__(self) -> dict[str, Any]:
        """What a copy is made of: of the replay buffer, what is in it."""
        state = super().__getstate__()
        state["replay_buffer"] = pack_buffer(state["replay_buffer"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Go on as the original of the copy would."""
        vars(self).update(state)
        self.replay_buffer = unpack_buffer(state["replay_buffer"])

    def _take_env(self, env: Any, force_reset: bool) -> None:
        super()._take_env(env, force_reset)
        noise = self.action_noise
        if isinstance(noise, VectorizedActionNoise) and noise.n_envs != self.n_envs:
            self.action_noise = VectorizedActionNoise(noise.base_noise, self.n_envs)

    @abstractmethod
    def _train(self, gradient_steps: int, batch_size: int) -> None:
        """Update everything `gradient_steps` times."""

    def _step(
        self, name: str, objective: Any, batch: Batch, method: ContinualMethod | None = None
    ) -> None:
        """Do a gradient step, and record what it measured."""
        found = gradient_step(objective, batch, method, max_grad_norm=self.max_grad_norm)
        self._record(name, found)

    def _sample_batch(self, batch_size: int) -> Batch:
        sampled = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
        batch = {name: value for name, value in sampled._asdict().items() if value is not None}
        if self._sight is not None:
            for name in ("observations", "next_observations"):
                batch[name] = self._sight.augment(batch[name])
        tasks = getattr(self.replay_buffer, "tasks", ())
        return split_batch(batch, self.num_tasks, *(tasks if len(tasks) == 1 else ()))

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Explore, in the entries of actions that count."""
        actions, stored = super()._sample_action(learning_starts, action_noise, n_envs)
        mask = self.policy.actor.mask
        if mask is None:
            return actions, stored
        task = None
        if self.num_tasks > 1:
            task = split_task(torch.as_tensor(self._last_obs), self.num_tasks)[1]
        kept = mask.of(None if task is None else task.to(self.device))
        stored = stored * kept.cpu().numpy()
        return self.policy.unscale_action(stored), stored

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: np.ndarray,
        new_obs: Any,
        reward: np.ndarray,
        dones: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        if not np.isfinite(reward).all():
            raise NonFiniteError("reward", "environment", reward[~np.isfinite(reward)][0])
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
        self._task_steps += 1
