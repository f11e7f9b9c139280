"""`lifelong-rl run`: learn a sequence of tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tyro

from lifelong_rl.cli.options import (
    Amount,
    Choice,
    Command,
    Number,
    OptionalName,
    OptionalPath,
    Options,
    Repeated,
)
from lifelong_rl.errors import UserError
from lifelong_rl.options import Count, LabelAmount, Seed, Together
from lifelong_rl.registry import refuse_unnamed
from lifelong_rl.runs.config import RunConfig, read_config
from lifelong_rl.runs.settings import find_settings

RENAMED = {"--finetune": "--encoder-mode finetune", "--freeze": "--encoder-mode frozen"}
"""What to write now for flags of earlier versions."""


@dataclass(frozen=True, kw_only=True)
class Run(RunConfig, Command):
    """Learn a sequence of tasks one after another, evaluating all of them after each.

    Attributes:
        run_dir: New folder of the run; by default
            runs/SEQUENCE[-orderM]-AGENT[-pixels]-METHOD-seedN.
        config: YAML file of options, such as the config.yaml of a run, or settings that come with
            the package (see `lifelong-rl list settings`), such as continual-world; the command line
            goes before it. Plug-ins that it names must be named on the command line too.
        quiet: Print only the summary at the end.
    """

    agent_options: Options = field(default_factory=dict)
    method_options: Options = field(default_factory=dict)
    order: Annotated[Seed | None, Number] = None
    steps_per_task: Annotated[Count | None, Number] = None
    curve_episodes: Annotated[Together | None, Number] = None
    labels: Annotated[LabelAmount | None, Amount] = None
    track: Annotated[
        tuple[Literal["tensorboard", "wandb"], ...], tyro.conf.arg(metavar="NAME ...")
    ] = ("tensorboard",)
    observation: Annotated[Literal["state", "pixels"], Choice] = "state"
    encoder: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PATH ...")] = ()
    encoder_mode: Annotated[Literal["frozen", "finetune", "scratch"] | None, Choice] = None
    protocol: OptionalName = None
    plugin: Repeated = ()
    run_dir: OptionalPath = None
    config: OptionalPath = None
    quiet: bool = False

    WITH_OPPOSITES = True

    @classmethod
    def parse(cls, name: str, arguments: Sequence[str], default: Self | None = None) -> Self:
        """Parse the arguments on top of the configuration file that they name."""
        for word in arguments:
            if word in RENAMED:
                raise UserError(f"lifelong-rl {name}: write {RENAMED[word]} for {word}")
        given = super().parse(name, arguments, default)
        content = cls._read(given)
        if given.config is None and given.protocol is None:
            return given
        if (
            given.encoder
            and given.encoder_mode is None
            and content.get("encoder_mode") == "scratch"
        ):
            del content["encoder_mode"]  # the file's is that of a run without an encoder
        filed = cls(**content)
        on_top = super().parse(name, arguments, filed)
        if on_top.protocol is not None:
            from lifelong_rl.runs.protocol import fill

            chosen = {key: getattr(on_top, key) for key in ("protocol", "sequence", "agent")}
            on_top = super().parse(name, arguments, cls(**fill({**content, **chosen})))
        options: dict[str, Any] = {}
        for kind in ("agent", "method"):
            own: dict[str, Any] = getattr(given, f"{kind}_options")
            same = getattr(on_top, kind) == getattr(filed, kind)
            # the options of another method or agent than the file's are not its options
            others = content.get(f"{kind}_options", {}) if same else {}
            options[f"{kind}_options"] = {**others, **own}
        plugins = dict.fromkeys((*content.get("plugin", ()), *given.plugin))
        return dataclasses.replace(on_top, **options, plugin=tuple(plugins))

    @classmethod
    def _read(cls, given: Self) -> dict[str, Any]:
        """What the configuration file sets; nothing without one."""
        if given.config is None:
            return {}
        content = read_config(find_settings(given.config))
        try:
            refuse_unnamed(content.get("plugin", ()), given.plugin)
        except UserError as error:
            raise UserError(f"{given.config}: {error}") from error
        return content

    def __call__(self) -> int:
        """Run, and print the summary."""
        from lifelong_rl.cli.progress import choose_reporter
        from lifelong_rl.cli.summary import print_summary
        from lifelong_rl.runs.loop import run_anew
        from lifelong_rl.runs.run_folder import RunFolder
        from lifelong_rl.runs.setup import prepare

        values: dict[str, Any] = {
            entry.name: getattr(self, entry.name) for entry in dataclasses.fields(RunConfig)
        }
        setup = prepare(RunConfig(**values), self.plugin)
        config = setup.config
        path = self.run_dir or Path("runs") / config.folder_name
        results = run_anew(setup, path, choose_reporter(quiet=self.quiet))
        print_summary(results, RunFolder(path, config), quiet=self.quiet)
        return 0
