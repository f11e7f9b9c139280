"""`save`, `load` and copies of Stable-Baselines3's algorithms, without pickle in any file.

A file holds what the agent was made with, what it has learned and how far it is. It does not hold
experience (replay buffers, rollouts), environments or logs.
"""

from __future__ import annotations

import inspect
import itertools
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm, maybe_make_env
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.utils import get_system_info
from stable_baselines3.common.vec_env import VecEnv

from lifelong_rl.agents.agent_file import AgentFileError, Target, read_agent, write_agent
from lifelong_rl.agents.plain_values import (
    UnwritableError,
    check_environments,
    check_size,
    count_numbers,
    from_plain,
    to_plain,
)
from lifelong_rl.continual import ContinualMethod, make
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.former_options import update_options
from lifelong_rl.learning import StateTree
from lifelong_rl.learning.seeding import (
    generator_state,
    preserved_generators,
    set_generator_state,
)

HANDED_OVER = ("env", "method", "device", "_init_setup_model")
"""Arguments of constructors that a file does not hold, or holds in a way of its own."""
LIVING = ("learning_rate", "action_noise")
"""Arguments that count as the agent has them now, whatever they are."""
PROGRESS = (
    "num_timesteps",
    "_num_timesteps_at_start",
    "_total_timesteps",
    "_episode_num",
    "_current_progress_remaining",
    "_task_begun",
    "_task_steps",
    "_updates_owed",
)
"""How far an agent is, beside its state: attributes, of which each class has some."""
EXPERIENCE = "replay_buffer"
"""What of an agent's state no file holds."""
_PLAIN = (type(None), bool, int, float, str)


class Savable(BaseAlgorithm):
    """Gives an algorithm files without pickle, and copies that learn on as the original would.

    To be inherited before the algorithm, and after a class with `state_dict` and
    `load_state_dict`. A subclass that takes other arguments can be saved too, as long as these
    are plain data.
    """

    method: ContinualMethod | None
    num_tasks: int
    task_id: int
    action_dims: tuple[int, ...] | None
    _arguments: dict[str, Any]
    never_saved: ClassVar[frozenset[str]] = frozenset(
        {"env", "policy", "device", "replay_buffer", "rollout_buffer", "_logger"}
    )

    def __new__(cls, *arguments: Any, **named: Any) -> Self:
        """Note the arguments, before the constructor makes something else of them."""
        agent = super().__new__(cls)
        signature = inspect.signature(cls.__init__)
        try:
            bound = signature.bind_partial(agent, *arguments, **named)
        except TypeError:  # the constructor's own complaint is the better one
            return agent
        noted: dict[str, Any] = {}
        for name, value in list(bound.arguments.items())[1:]:
            if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                noted |= value
            else:
                noted[name] = value
        # Not the environment, which a later one may replace: copies would go on holding it.
        agent._arguments = {name: each for name, each in noted.items() if name not in HANDED_OVER}
        return agent

    @abstractmethod
    def state_dict(self) -> StateTree:
        """See `TaskLearner.state_dict`."""

    @abstractmethod
    def load_state_dict(self, state: StateTree) -> None:
        """See `TaskLearner.load_state_dict`."""

    @property
    def shown_space(self) -> spaces.Space[Any]:
        """What the environments show, before the agent makes something else of it."""
        return self.observation_space

    def save(
        self,
        path: Target,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Write the agent into a zip file of JSON and safetensors.

        Args:
            path: Where to; a path without an ending gets ".zip". A file open for bytes works too.
            exclude: Arguments of the constructor that are left out; `load` takes their defaults,
                or what it is given. "method" leaves the continual method out.
            include: As for Stable-Baselines3; experience, environments and logs are refused.

        Raises:
            UserError: Something cannot be written without pickle. Then nothing is written.
        """
        for name in include or ():
            if name in self.never_saved:
                raise UserError(f"cannot save '{name}': {_without(name)}")
        write_agent(path, type(self).__name__, self._saved(frozenset(exclude or ())))

    @classmethod
    def load(
        cls,
        path: Target,
        env: Any = None,
        device: torch.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        **kwargs: Any,
    ) -> Self:
        """Make an agent from a file that `save` wrote. Runs no code of the file.

        Without an environment it predicts; with one it learns on, on the CPU with the random
        numbers that the saved agent would have drawn if that was given a seed. The environment is
        not seeded.

        Args:
            path: The file, as for `save`.
            env: As for the constructor; the number of environments may be another.
            device: As for the constructor.
            custom_objects: Arguments of the constructor in place of those in the file; other
                names of attributes are set, and unknown ones ignored, as by Stable-Baselines3.
            print_system_info: Print the versions of packages, now and when the file was written.
            force_reset: Begin new episodes.
            **kwargs: Arguments of the constructor, in place of those in the file.

        Raises:
            AgentFileError: The file is missing, damaged, changed, of another class, or something
                else.
            UnknownNameError: The constructor has no such argument.
        """
        content, saved_with = read_agent(path, cls.__name__)
        if print_system_info:
            print("== CURRENT SYSTEM INFO ==")
            get_system_info()
            print("== SAVED MODEL SYSTEM INFO ==")
            print("\n".join(f"- {name}: {version}" for name, version in saved_with.items()))
        accepted = _argument_names(cls)
        for name in kwargs:
            if name not in accepted:
                raise UnknownNameError(f"argument of {cls.__name__}", name, accepted, see="")
        objects = {**(custom_objects or {}), **kwargs}
        given = {name: value for name, value in objects.items() if name in accepted}
        if env is not None:
            env = maybe_make_env(env, verbose=0)
            if not isinstance(env, VecEnv):
                env = cls._wrap_env(env, verbose=0)
        with preserved_generators():
            try:
                agent = cls._made(content, given, device, None if env is None else env.num_envs)
                agent._restore(content)
                set_generator_state(content["generators"])  # tried here, taken over below
            except Exception as error:
                told = str(error).partition("\n")[0] or type(error).__name__
                raise AgentFileError(_called(path), f"cannot be loaded: {told}") from error
        for name, value in objects.items():
            if name not in accepted and hasattr(agent, name):
                setattr(agent, name, value)
        if env is not None:
            agent._take_env(env, force_reset)
        if "seed" in given:
            agent.set_random_seed(agent.seed)
        elif agent.seed is not None:
            set_generator_state(content["generators"])
        return agent

    def set_parameters(
        self,
        load_path_or_dict: Any,
        exact_match: bool = True,
        device: torch.device | str = "auto",
    ) -> None:
        """Take over networks and optimizers.

        Args:
            load_path_or_dict: A file that `save` wrote, or what `get_parameters` returned.
            exact_match: Whether all of them have to be there; of a file, False takes of the
                networks alone what has the same names.
            device: As for Stable-Baselines3.

        Raises:
            AgentFileError: See `load`.
        """
        if isinstance(load_path_or_dict, dict):
            super().set_parameters(load_path_or_dict, exact_match, device)
            return
        content, _ = read_agent(load_path_or_dict, type(self).__name__)
        state = content["state"]
        if not exact_match:
            self.policy.load_state_dict(state["policy"], strict=False)
            return
        own = {name: state[name] for name in ("policy", "optimizers", "entropy") if name in state}
        self.load_state_dict({**self.state_dict(), **own})

    def __getstate__(self) -> dict[str, Any]:
        """Leave out where the log goes: a copy of an open file cannot be written to."""
        state = dict(vars(self))
        if "_logger" in state:
            state["_logger"] = Logger(folder=None, output_formats=[])
        return state

    def _take_env(self, env: Any, force_reset: bool) -> None:
        """Learn in these environments from now on."""
        self.set_env(env, force_reset)

    def _saved(self, exclude: frozenset[str]) -> dict[str, Any]:
        """What a file holds, as a state tree."""
        state = {name: value for name, value in self.state_dict().items() if name != EXPERIENCE}
        method = None
        if "method" in exclude:
            state.pop("method", None)
        elif self.method is not None:
            method = self._written_method(self.method)
        arguments = {}
        for name, value in self._arguments_now().items():
            if name not in exclude:
                arguments[name] = self._written(name, value)
        return {
            "arguments": {"mapping": arguments},
            "method": method,
            "observation_space": to_plain(self.shown_space, "the observation space"),
            "action_space": to_plain(self.action_space, "the action space"),
            "action_dims": None if self.action_dims is None else list(self.action_dims),
            "n_envs": self.n_envs,
            "state": state,
            "frozen": [n for n, p in self.policy.named_parameters() if not p.requires_grad],
            "progress": {name: getattr(self, name) for name in PROGRESS if hasattr(self, name)},
            "generators": generator_state(),
            "action_generator": self.action_space.np_random.bit_generator.state,
        }

    def _written(self, name: str, value: object, argument: str | None = None) -> Any:
        argument = argument or name
        try:
            if isinstance(value, type) and name == "policy":
                for alias, kind in self.policy_aliases.items():
                    if kind is value:
                        return alias
            return to_plain(value, name)
        except UnwritableError as error:
            raise UserError(
                f"cannot save this {type(self).__name__}: {error}; leave it out with "
                f"save(..., exclude=['{argument}']) and give it to load(..., {argument}=...)"
            ) from error

    def _written_method(self, method: ContinualMethod) -> dict[str, Any]:
        if method.made_as is None:
            raise UserError(
                f"cannot save this {type(self).__name__}: its method {type(method).__name__} was "
                "not made by name; make it with lifelong_rl.continual.make, or leave it out with "
                "save(..., exclude=['method']) and give it to load(..., method=...)"
            )
        name, options = method.made_as
        return {
            "name": name,
            "options": {
                key: self._written(f"method.{key}", value, "method")
                for key, value in options.items()
            },
        }

    def _arguments_now(self) -> dict[str, Any]:
        """The constructor's arguments, as the agent has them now."""
        arguments = dict(self._arguments)
        for name in _argument_names(type(self)):
            if name in HANDED_OVER or name not in vars(self):
                continue
            now = vars(self)[name]
            if name in LIVING or type(now) in _PLAIN:
                arguments[name] = now
        return arguments

    @classmethod
    def _made(
        cls,
        content: Mapping[str, Any],
        given: Mapping[str, Any],
        device: torch.device | str,
        num_envs: int | None,
    ) -> Self:
        """The agent of a file as it was before it learned anything, without an environment.

        Args:
            content: Of the file.
            given: Arguments in place of those in the file.
            device: Of the networks.
            num_envs: Number of environments; None for that in the file.
        """
        arguments = {**from_plain(content["arguments"]), **given}
        shown = from_plain(content["observation_space"])
        actions = from_plain(content["action_space"])
        _check_networks(arguments, shown, count_numbers(content["state"]))
        if "method" not in given and content["method"] is not None:
            method = content["method"]
            options = {name: from_plain(value) for name, value in method["options"].items()}
            arguments["method"] = make(method["name"], **update_options(method["name"], options))
        num_envs = content["n_envs"] if num_envs is None else num_envs
        check_environments(num_envs)
        env = _SpacesOnly(num_envs, shown, actions, content.get("action_dims"))
        arguments |= {"env": env, "device": device}
        accepted = _argument_names(cls)
        agent = cls(**{name: value for name, value in arguments.items() if name in accepted})
        agent.env = None
        agent._logger = Logger(folder=None, output_formats=[])  # until it learns
        return agent

    def _restore(self, content: Mapping[str, Any]) -> None:
        """Take over what was learned."""
        state = content["state"]
        if not {"policy", "optimizers", "task_id", "n_updates"} <= state.keys():
            raise ValueError("its state is incomplete")
        progress = content["progress"]
        for name in PROGRESS:
            if name in progress and hasattr(self, name):
                setattr(self, name, progress[name])
        self._load_all(state)
        if content["method"] is not None and self.method is not None and progress["_task_begun"]:
            # what a method keeps of the current task alone is no part of its state; whatever else
            # the beginning changes is put back
            self.method.begin_task(self, self.task_id)  # type: ignore[arg-type]
            self._load_all(state)
        frozen = set(content["frozen"])
        for name, parameter in self.policy.named_parameters():
            parameter.requires_grad_(name not in frozen)
        self.action_space.np_random.bit_generator.state = content["action_generator"]

    def _load_all(self, state: Mapping[str, Any]) -> None:
        self.load_state_dict({**self.state_dict(), **state})


class _SpacesOnly(VecEnv):
    """Stands where an agent without environments is made: it has spaces and nothing else."""

    def __init__(
        self,
        num_envs: int,
        shown: spaces.Space[Any],
        actions: spaces.Space[Any],
        action_dims: Sequence[int] | None,
    ) -> None:
        super().__init__(num_envs, shown, actions)
        self.action_dims = action_dims

    def reset(self) -> Any:
        raise NotImplementedError("a loaded agent has no environment yet: give it one by set_env")

    def step_async(self, actions: np.ndarray) -> None:
        self.reset()

    def step_wait(self) -> Any:
        self.reset()

    def close(self) -> None:
        pass

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        return [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        if attr_name != "render_mode":
            raise AttributeError(attr_name)
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        self.reset()

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        self.reset()
        return []

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs


def _argument_names(cls: type) -> list[str]:
    """The names of the arguments that a constructor takes, its base classes' included."""
    found: dict[str, None] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        kinds = [parameter.kind for parameter in parameters]
        found |= {
            parameter.name: None
            for parameter in parameters
            if parameter.kind
            not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        }
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return list(found)


def _check_networks(arguments: Mapping[str, Any], shown: spaces.Space[Any], numbers: int) -> None:
    """Refuse arguments for networks larger than those in the file, before they are made.

    Args:
        arguments: Of the constructor.
        shown: What the environments show.
        numbers: How many numbers the file holds.

    Raises:
        ValueError: They are.
    """
    policy = arguments.get("policy_kwargs") or {}
    tasks = int(arguments.get("num_tasks", 1))
    made_otherwise = arguments.get("eyes") is not None or "features_extractor_class" in policy
    inputs = [] if made_otherwise else [max(spaces.flatdim(shown) - tasks, 1)]
    arch = policy.get("net_arch") or []
    stacks = list(arch.values()) if isinstance(arch, dict) else [arch]
    critics = int(policy.get("n_critics", 1))
    copies = (
        [critics if name == "qf" else 1 for name in arch] if isinstance(arch, dict) else [critics]
    )
    for count, hidden in zip(copies, stacks, strict=True):
        for first, second in itertools.pairwise([*inputs, *map(int, hidden), tasks]):
            check_size("a network", count * first * second, numbers)


def _called(path: Target) -> object:
    return path if isinstance(path, str) or hasattr(path, "__fspath__") else "the file"


def _without(name: str) -> str:
    if name.endswith("_buffer"):
        return "experience is not part of a saved agent; `lifelong-rl run` keeps checkpoints"
    if name == "policy":
        return "the networks are saved anyway, as tensors"
    return "it is no data of the agent; give it to load, or set it afterwards"
