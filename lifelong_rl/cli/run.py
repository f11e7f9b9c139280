"""`lifelong-rl run`: learn a sequence of tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

import tyro

from lifelong_rl.cli.options import Command, OptionalInt, OptionalPath, Options, Repeated
from lifelong_rl.errors import UserError
from lifelong_rl.runs.config import RunConfig, read_config


@dataclass(frozen=True, kw_only=True)
class Run(RunConfig, Command):
    """Learn a sequence of tasks one after another, evaluating all of them after each.

    Attributes:
        freeze: Leave the encoder as it is, whatever --config says; without a file it is so anyway.
        run_dir: New folder of the run; by default
            runs/SEQUENCE[-orderM]-AGENT[-pixels]-METHOD-seedN.
        config: YAML file of options, such as the config.yaml of a run; the command line goes
            before it.
        quiet: Print only the summary at the end.
    """

    agent_options: Options = field(default_factory=dict)
    method_options: Options = field(default_factory=dict)
    order: OptionalInt = None
    steps_per_task: OptionalInt = None
    encoder: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PATH ...")] = ()
    freeze: bool = False
    plugin: Repeated = ()
    run_dir: OptionalPath = None
    config: OptionalPath = None
    quiet: bool = False

    @classmethod
    def parse(cls, name: str, arguments: Sequence[str], default: Self | None = None) -> Self:
        """Parse the arguments on top of the configuration file that they name."""
        given = super().parse(name, arguments, default)
        if given.freeze and given.finetune:
            raise UserError("give either --freeze or --finetune: the encoder cannot do both")
        if given.config is None:
            return given
        content = read_config(given.config)
        filed = cls(**{**content, "finetune": False})  # or --finetune would be no flag
        on_top = super().parse(name, arguments, filed)
        learned_on = given.finetune or (content.get("finetune", False) and not given.freeze)
        options: dict[str, Any] = {"finetune": learned_on}
        for kind in ("agent", "method"):
            own: dict[str, Any] = getattr(given, f"{kind}_options")
            same = getattr(on_top, kind) == getattr(filed, kind)
            # the options of another method or agent than the file's are not its options
            others = content.get(f"{kind}_options", {}) if same else {}
            options[f"{kind}_options"] = {**others, **own}
        return dataclasses.replace(on_top, **options)

    def __call__(self) -> int:
        """Run, and print the summary."""
        from lifelong_rl.cli.progress import follow
        from lifelong_rl.runs.loop import SequenceLoop
        from lifelong_rl.runs.run_folder import RunFolder
        from lifelong_rl.runs.setup import prepare

        values: dict[str, Any] = {
            entry.name: getattr(self, entry.name) for entry in dataclasses.fields(RunConfig)
        }
        if self.freeze and not self.encoder:
            raise UserError("--freeze goes with --encoder: without it there is none to leave as is")
        setup = prepare(RunConfig(**values))
        config = setup.config
        path = self.run_dir or Path("runs") / config.folder_name
        loop = SequenceLoop(setup)
        folder = RunFolder.create(path, config)
        return follow(loop, folder, quiet=self.quiet)
