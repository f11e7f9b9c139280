"""What a run is: everything that decides its numbers, as one flat record."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.former_options import update_fields
from lifelong_rl.options import (
    Count,
    Device,
    LabelAmount,
    NonNegative,
    Seed,
    Threads,
    Together,
    Whole,
    check_options,
    plain,
)
from lifelong_rl.runs.sequence_name import content_of, name_of
from lifelong_rl.storage.yaml_file import parse_yaml, read_yaml
from lifelong_rl.text import shorten

MAY_CHANGE = ("num_threads", "diagnostics", "checkpoint_minutes", "track", "device")
"""Fields that a run may go on with other values of. All but the last change how fast it is, what it
logs and what it keeps, and none of its results; another device has random numbers and rounding of
its own."""
ONLY_WITH_PIXELS = (
    "cameras",
    "frame_stack",
    "proprioception",
    "encoder",
    "encoder_mode",
    "shift",
)
"""Fields of no meaning where the state is observed."""
LISTS = ("cameras", "encoder", "track", "plugin")
"""Fields of which a file may give one without making it a list."""
FORMER = ("finetune",)
"""Fields that files of earlier versions may have; `check_fields` reads them."""
LONGEST_NAME = 120
"""Bytes of a sequence's name in the name of a folder."""
MOST_TOLD = 5
"""Differences of two runs that are told."""
Tracker = Literal["tensorboard", "wandb"]
"""What can follow a run beside metrics.jsonl."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the numbers of a run.

    Attributes:
        sequence: Tasks to learn, see `lifelong-rl list sequences`; or tasks joined by commas.
        order: Seed that shuffles the order of the tasks; by default it is the sequence's own.
        agent: Learner, see `lifelong-rl list agents`.
        method: Continual method, see `lifelong-rl list methods`; or several joined by "+".
        seed: Decides all that is random, except the evaluation episodes.
        steps_per_task: Environment steps per task, all environments together; by default what the
            sequence needs.
        labels: How much of the training data of each task is labelled: a share of its rows, such as
            0.01, or a whole number of each class. Each class has equally many, at least one; the
            seed decides which. All of it by default.
        num_envs: Environments that collect experience together.
        eval_episodes: Episodes per task in each row of the performance matrix.
        curve_episodes: Episodes in each evaluation of a task while it is learned, the first of
            those; by default two fifths of them.
        eval_points: Evaluations of a task while it is learned, evenly spaced.
        eval_starts: How the evaluation episodes start: validation, as of all that is tried out; or
            test, of runs that are reported, whose starts no tuning has seen.
        num_threads: Threads that step the physics; results do not depend on their number.
        threads: Threads of each torch operation; results may depend on their number.
        device: What the networks learn on: cpu; cuda, or cuda:N, an NVIDIA or ROCm GPU; mps, an
            Apple GPU; or auto, the first GPU, and the CPU where there is none.
        diagnostics: Log why it forgets or stops learning: angles between gradients of tasks,
            dormant units, ranks, norms, churn, curvature.
        checkpoint_minutes: From one checkpoint within a task to the next, at least; they cost at
            most a twentieth of the time. 0 for checkpoints at the ends of tasks only.
        track: Trackers that follow the run beside metrics.jsonl: tensorboard, and wandb (Weights &
            Biases, in offline mode unless WANDB_MODE says otherwise); none if it is empty.
        observation: What the agent observes: state, or pixels, which are pictures beside what the
            robot feels of itself.
        cameras: Cameras that take the pictures, such as front and across.
        frame_stack: Pictures of each camera in an observation, the latest one and those before it.
        proprioception: Let the agent feel the robot's own position, opening and velocity beside the
            pictures.
        encoder: What encodes the pictures, a file or folder of `lifelong-rl pretrain`: one for all
            cameras, or one for each in their order.
        encoder_mode: How the pictures are encoded: frozen, by the encoder as it is, which is so by
            default where one is given; finetune, by the encoder, which each network of the agent
            learns on from; or scratch, by one for each camera that is learned from nothing, which
            is so by default where none is given.
        shift: Largest random shift of the pictures that an encoder is learned from, in pixels.
        agent_options: Options of the agent, see `lifelong-rl list AGENT`.
        method_options: Options of the method, see `lifelong-rl list METHOD`; those of several are
            called METHOD.OPTION.
        protocol: Protocol that the run follows, such as v1 (see docs/protocol.md): it fixes what
            runs have to share whose numbers are set side by side.
        plugin: Module to import first; it may register agents, methods and sequences.
    """

    sequence: str = "arm3"
    order: Seed | None = None
    agent: str = "sac"
    method: str = "finetune"
    seed: Seed = 0
    steps_per_task: Count | None = None
    labels: LabelAmount | None = None
    num_envs: Together = 16
    eval_episodes: Together = 50
    curve_episodes: Together | None = None
    eval_points: Count = 10
    eval_starts: Literal["validation", "test"] = "validation"
    num_threads: Threads = 2
    threads: Threads = 1
    device: Device = "cpu"
    diagnostics: bool = True
    checkpoint_minutes: NonNegative = 10.0
    track: tuple[Tracker, ...] = ("tensorboard",)
    observation: Literal["state", "pixels"] = "state"
    cameras: tuple[str, ...] = ("front",)
    frame_stack: Count = 1
    proprioception: bool = True
    encoder: tuple[str, ...] = ()
    encoder_mode: Literal["frozen", "finetune", "scratch"] | None = None
    shift: Whole = 4
    agent_options: Mapping[str, Any] = field(default_factory=dict)
    method_options: Mapping[str, Any] = field(default_factory=dict)
    protocol: str | None = None
    plugin: tuple[str, ...] = ()

    def checked(self) -> RunConfig:
        """The same with every value in plain form and `encoder_mode` decided.

        Raises:
            UserError: A value is out of range, or two contradict each other.
        """
        given = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(RunConfig)}
        config = RunConfig(**check_options(RunConfig, given, ""))
        config._check_observation()
        if config.observes_pixels and config.encoder_mode is None:
            mode: Literal["frozen", "scratch"] = "frozen" if config.encoder else "scratch"
            return dataclasses.replace(config, encoder_mode=mode)
        return config

    def _check_observation(self) -> None:
        given = [
            name for name in ONLY_WITH_PIXELS if getattr(self, name) != getattr(RunConfig, name)
        ]
        if given and not self.observes_pixels:
            raise UserError(f"{_spoken(given)} goes with --observation pixels only")
        if not self.cameras or len(set(self.cameras)) < len(self.cameras):
            raise UserError(f"cameras are {list(self.cameras)}; name at least one, and none twice")
        if self.encoder_mode in ("frozen", "finetune") and not self.encoder:
            raise UserError(f"--encoder-mode {self.encoder_mode} requires --encoder")
        if self.encoder_mode == "scratch" and self.encoder:
            raise UserError("--encoder-mode scratch learns from nothing; leave out --encoder")
        if self.encoder and self.encoder_mode != "finetune" and "shift" in given:
            raise UserError(
                "--shift is for pictures that an encoder is learned from, and a frozen one is not; "
                "add --encoder-mode finetune, or leave out --shift"
            )

    @property
    def observes_pixels(self) -> bool:
        """Whether the agent observes pictures."""
        return self.observation == "pixels"

    @property
    def sequence_name(self) -> str:
        """What to call the sequence."""
        return name_of(self.sequence)

    @property
    def folder_name(self) -> str:
        """What the folder of this run is called: SEQUENCE[-orderM]-AGENT[-pixels]-METHOD-seedN.

        The end of a long name of a sequence is replaced by a digest, as file systems limit names.
        """
        sequence = re.sub(r"[:/\\]", "-", self.sequence_name.replace(",", "+"))
        told = sequence.encode()
        if len(told) > LONGEST_NAME:
            kept = told[: LONGEST_NAME - 9].decode(errors="ignore")
            sequence = f"{kept}-{hashlib.sha256(told).hexdigest()[:8]}"
        if self.order is not None:
            sequence += f"-order{self.order}"
        agent = f"{self.agent}-pixels" if self.observes_pixels else self.agent
        return f"{sequence}-{agent}-{self.method}-seed{self.seed}"

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, dictionaries and numbers, as written to `config.yaml`."""
        return plain(dataclasses.asdict(self))  # type: ignore[no-any-return]


def flatten(config: RunConfig) -> dict[str, Any]:
    """The fields of a run by name, and the options of agent and method one by one.

    Of a stream, what it sets, one by one.
    """
    flat: dict[str, Any] = {}
    for name, value in {**config.as_dict(), "sequence": content_of(config.sequence)}.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{option}": entry for option, entry in value.items()}
        else:
            flat[name] = value
    return flat


def tell_differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """What two runs differ in, such as "seed 0, not 4"; None if they are the same.

    Options of two agents, or of two methods, are not set against each other.

    Args:
        there: One run, see `flatten`.
        here: The other, which the first is not.
    """
    told = []
    for name in {**there, **here}:
        if there.get(name) == here.get(name):
            continue
        kind = name.partition("_options.")[0]
        if kind != name and there.get(kind) != here.get(kind):
            continue
        told.append(f"{name} {shorten(there.get(name))}, not {shorten(here.get(name))}")
    if len(told) > MOST_TOLD:
        told[MOST_TOLD - 1 :] = [f"and {len(told) - MOST_TOLD + 1} more"]
    return "; ".join(told) or None


def read_config(path: Path) -> dict[str, Any]:
    """The fields that a YAML file sets, with either dashes or underscores in their names.

    Raises:
        UserError: The file cannot be read, or a field is unknown or of the wrong kind.
    """
    return check_fields(read_mapping(path), path)


def read_mapping(path: Path) -> dict[str, Any]:
    """The `name: value` lines of a YAML file, with underscores for the dashes in the names.

    Raises:
        UserError: The file cannot be read, or holds something else.
    """
    return with_underscores(read_yaml(path), path)


def with_underscores(content: object, path: Path) -> dict[str, Any]:
    """A mapping read from `path`, with underscores for the dashes in its names.

    Raises:
        UserError: It is no mapping, or sets a name twice.
    """
    if not isinstance(content, dict):
        raise UserError(f"{path} does not hold options as 'name: value' lines")
    found: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name in found:
            raise UserError(f"{path} sets {name} twice")
        found[name] = value
    return found


def check_fields(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What `path` sets, as arguments of `RunConfig`.

    Raises:
        UserError: A field is unknown or does not allow its value.
    """
    found = update_fields(_renamed(content, path))
    fields = [entry.name for entry in dataclasses.fields(RunConfig)]
    for name, value in found.items():
        if name not in fields:
            raise UnknownNameError("option", name, fields, see=str(path))
        listed = [value] if name in LISTS and isinstance(value, str) else value
        try:
            found |= check_options(RunConfig, {name: listed}, "")
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
    return found


def _renamed(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The same with `encoder_mode` for the `finetune` of files that were written before it."""
    found = dict(content)
    if "finetune" not in found:
        return found
    finetune = found.pop("finetune")
    if "encoder_mode" in found:
        raise UserError(f"{path}: encoder_mode replaces finetune; leave out finetune")
    if not isinstance(finetune, bool):
        raise UserError(f"{path}: finetune must be true or false, not {finetune!r}")
    if finetune:
        found["encoder_mode"] = "finetune"
    elif found.get("observation") == "pixels":
        found["encoder_mode"] = "frozen" if found.get("encoder") else "scratch"
    return found


def parse_value(text: str) -> Any:
    """A value from the command line, read as YAML: `1e-3`, `true`, `[64, 64]`, `both`.

    Raises:
        UserError: It is not YAML.
    """
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise UserError(f"cannot read the value '{text}': {error}") from error


def _spoken(names: list[str]) -> str:
    """Field names as they are written on a command line."""
    return ", ".join(name.replace("_", "-") for name in names)
