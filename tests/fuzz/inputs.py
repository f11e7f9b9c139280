"""Inputs of every command: valid ones, each as likely as not with something wrong in it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from annotated_types import GroupedMetadata
from hypothesis import strategies as st
from world import ENCODER, FEW_FRAMES, FOREIGN, FRAMES, PICTURES, PLACES, TINY, TOY

from lifelong_rl.options import Option, options_of
from lifelong_rl.registry import AGENTS, ENCODER_METHODS, METHODS, OBJECTIVES

Draw = Callable[[st.SearchStrategy[Any]], Any]

IN_THE_WAY = ["notes.txt", "empty", "runs/toy", "foreign"]
RUNS = sorted(place for place in PLACES if place.startswith("runs/"))
HALVES = sorted(place for place in PLACES if place.startswith("half/"))


@dataclass
class Input:
    """A command line, and what is done to the folder before it.

    Attributes:
        words: Of the command line.
        damage: What is done to files, in words and as functions of the folder.
        writes: Beginnings of the paths whose files it may change; it may add others.
        makes: What is there after it has been accepted.
    """

    words: list[str]
    damage: list[tuple[str, Callable[[Path], None]]] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    makes: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"{self.words} after {[told for told, _ in self.damage]}"


# numbers that are refused, or small: what is large and allowed would be learned for hours
NUMBERS = ["-1", "0", "1", "2", "1.5", "-0.0", "1e-320", "1e400", ".inf", "-.inf", ".nan", "nan"]
NUMBERS += [str(2**63), str(-(2**63) - 1), str(10**30), "9" * 5000, "0x_", "1_0_", "0b2", "1:30"]
PATHS = ["", " ", "~", "~no-such-user/x", ".", "/dev/null", "/proc/self/mem", "-", "--", "x" * 300]
YAML = ["null", "true", "off", "[]", "{}", "[", "[[1]]", "{a: b}", "{a: 1, a: 2}", "[" * 400, "#"]
YAML += ["!!set {a}", "!!int x", "&a [*a]", "*a", "2026-99-99", "<<", "=", "a=b", "a=", "'", "%s"]
LETTERS = ["a\nb", "\x1b[2J", "a\0b", "\udcff", "é", "漢", "\u2028", "\u202e", "<!--<script>", "\\"]
KNOWN = ["finetune", "ewc", "ewc+replay", "ewc+ewc", "joint", "reach", "reach,push", "toy", "toy3"]
KNOWN += ["tasks:reach", "frames:", "split-digits:", "reach,", ",", "task-001", "task-999", "front"]
KNOWN += ["all", "mp4", "minari", "--help", "--debug"]
WORDS = [*PATHS, *YAML, *LETTERS, *KNOWN]
NAMES = [*FOREIGN, "empty", "nowhere", "runs", "half", ENCODER, FRAMES, FEW_FRAMES, "demos.npz"]
NAMES += [*PLACES, "runs/toy/config.yaml", "runs/toy/results.json", f"{ENCODER}/manifest.json"]
TEXTS = st.text(max_size=6).filter(lambda text: sum(map(str.isdigit, text)) < 3)
HOSTILE = st.sampled_from(NUMBERS) | st.sampled_from(WORDS) | st.sampled_from(NAMES) | TEXTS
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([-1, 0, 1, 2, 2**63, 10**30, -1.5, 0.5, 1e300])
    | st.sampled_from(WORDS)
    | TEXTS,
    lambda child: st.lists(child, max_size=2) | st.dictionaries(TEXTS, child, max_size=2),
    max_leaves=4,
)


def rarely(draw: Draw, usual: Sequence[Any], odd: Sequence[Any], share: int = 12) -> Any:
    """One of the usual, and once in `share` times one of the odd."""
    return draw(st.sampled_from(list(odd if draw(st.integers(1, share)) == share else usual)))


def flag(draw: Draw, words: list[str], name: str, values: st.SearchStrategy[Any]) -> None:
    """Add an option as likely as not."""
    if draw(st.booleans()):
        words += (
            [name, *map(str, value)]
            if isinstance(value := draw(values), list)
            else [
                name,
                str(value),
            ]
        )


def spoil_words(draw: Draw, words: list[str]) -> list[str]:
    """A command line with one thing wrong, or at least odd."""
    spoiled = list(words)
    place = draw(st.integers(1, len(spoiled)))
    given = [i for i, word in enumerate(spoiled) if "=" in word and not word.startswith("--")]
    kinds = ["value", "value", "value", "more", "less", "twice", "joined", "flag"]
    match draw(st.sampled_from([*kinds, *["option"] * (4 if given else 0)])):
        case "option":
            place = draw(st.sampled_from(given))
            spoiled[place] = spoiled[place].partition("=")[0] + "=" + draw(HOSTILE)
        case "value" if place < len(spoiled):
            spoiled[place] = draw(HOSTILE)
        case "less" if place < len(spoiled):
            del spoiled[place]
        case "twice" if place < len(spoiled):
            spoiled.insert(place, spoiled[place])
        case "joined" if place < len(spoiled) and spoiled[place].startswith("--"):
            spoiled[place] += "=" + draw(HOSTILE)
        case "flag":
            spoiled.insert(place, "--" + draw(TEXTS))
        case _:
            spoiled.insert(place, draw(HOSTILE))
    return spoiled


def spoil_file(draw: Draw, paths: Sequence[str]) -> tuple[str, Callable[[Path], None]]:
    """Something that is done to one of some files, or to one in them if they are folders."""
    path = draw(st.sampled_from(list(paths)))
    which = draw(st.integers(0, 99))
    kind = draw(
        st.sampled_from(
            [
                "cut",
                "bit",
                "content",
                "content",
                "content",
                "gone",
                "folder",
                "link",
                "pipe",
                "hard",
            ]
        )
    )
    where, value = draw(st.floats(0, 1)), draw(VALUES)
    drop = draw(st.booleans())

    def spoil(root: Path) -> None:
        target = root / path
        if target.is_dir():
            files = sorted(each for each in target.rglob("*") if each.is_file())
            named = [each for each in files if each.suffix in (".json", ".yaml", ".jsonl")]
            choice = named if kind == "content" and named else files
            if not choice:
                return
            target = choice[which % len(choice)]
        if not target.is_file():
            return
        content = target.read_bytes()
        match kind:
            case "cut":
                target.write_bytes(content[: int(where * len(content))])
            case "bit" if content:
                spot = min(int(where * len(content)), len(content) - 1)
                target.write_bytes(
                    content[:spot] + bytes([content[spot] ^ 1 << which % 8]) + content[spot + 1 :]
                )
            case "content":
                target.write_bytes(_changed(target, content, which, value, drop))
            case _:
                target.unlink()
                if kind == "folder":
                    target.mkdir()
                elif kind == "link":
                    target.symlink_to(root / "outside" / "thesis")
                elif kind == "hard":
                    os.link(root / "outside" / "thesis", target)
                elif kind == "pipe":
                    os.mkfifo(target)

    return f"{kind} of {path} ({which}, {where}, {value!r}, {drop})", spoil


def _changed(target: Path, content: bytes, which: int, value: Any, drop: bool) -> bytes:
    """A JSON or YAML text with one of its values replaced or left out, whatever it was."""
    try:
        tree = yaml.safe_load(content) if target.suffix == ".yaml" else json.loads(content)
    except ValueError:
        return json.dumps(value).encode()
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        pairs = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in list(pairs):
            places.append((node, key))
            if isinstance(child, (dict, list)):
                walk(child)

    if isinstance(tree, (dict, list)):
        walk(tree)
    if not places:
        return json.dumps(value).encode()
    node, key = places[which % len(places)]
    if drop:
        del node[key]
    else:
        node[key] = value
    if target.suffix == ".yaml":
        return yaml.dump(tree).encode(errors="replace")
    return json.dumps(tree).encode()


@st.composite
def inputs(draw: Any, name: str) -> Input:
    """An input of a command, which as likely as not has something wrong in it."""
    made = COMMANDS[name](draw)
    readable = READ.get(name, ())
    match draw(st.integers(0, 9)):
        case 5 | 6 | 7 if readable:
            made.damage.append(spoil_file(draw, readable))
        case 8 | 9:
            made.words = spoil_words(draw, made.words)
    return made


# --- values of options ---------------------------------------------------------------------------


def small(annotation: Any) -> st.SearchStrategy[Any]:
    """Allowed values of an option that make it quick."""
    base, limits = annotation, []
    if get_origin(annotation) is Annotated:
        base, *extras = get_args(annotation)
        for extra in extras:
            limits += list(extra) if isinstance(extra, GroupedMetadata) else [extra]
    origin = get_origin(base)
    if origin is Literal:
        return st.sampled_from(get_args(base))
    if origin is not None and type(None) in get_args(base):
        return st.none() | small(next(a for a in get_args(base) if a is not type(None)))
    if origin in (Union, type(int | str)):
        return small(get_args(base)[0])
    if base is bool:
        return st.booleans()
    least = max((getattr(limit, "ge", getattr(limit, "gt", 0)) for limit in limits), default=0)
    if base is int:
        return st.integers(int(least), int(least) + 3)
    if base is float:
        return st.sampled_from([0.1, 0.5, 0.9, 1, 1e-3])
    if origin is tuple:
        return st.lists(st.integers(1, 4), min_size=1, max_size=2)
    return st.sampled_from(["auto", "1.0"])


QUICK = {
    **dict.fromkeys(("samples", "per_task", "batch_size", "memory_size", "latent", "hidden"), 4),
    **dict.fromkeys(("updates", "retrain_updates", "selection_updates", "episodes"), 1),
    **dict.fromkeys(("learning_starts",), 2),
    **dict.fromkeys(("buffer_size",), 100),
}
"""Options that are always given where there are such, because the defaults take seconds."""


def some_options(draw: Draw, factory: Any) -> list[str]:
    """Words KEY=VALUE."""
    declared: dict[str, Option] = options_of(factory)
    chosen = {
        name: [QUICK[name]] if isinstance(option.default, tuple) else QUICK[name]
        for name, option in declared.items()
        if name in QUICK
    }
    if declared and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(declared)))
        chosen[name] = draw(small(declared[name].annotation))
    return [f"{name}={json.dumps(value)}" for name, value in chosen.items()]


# --- the commands --------------------------------------------------------------------------------


def out(draw: Draw, *endings: str) -> str:
    """A path that is new, or in the way of something."""
    return rarely(draw, [f"out/new{ending}" for ending in endings], IN_THE_WAY)


def run_words(draw: Draw) -> list[str]:
    """What to learn: sequence, agent, method and their options."""
    agent = draw(
        st.sampled_from(
            ["toy"] * 8
            + ["bc"] * 4
            + ["sac", "td3", "ppo", "offline-rl", "bc-stream", "classifier"]
        )
    )
    if agent == "toy":
        words = [*TOY, "--agent-options", f"hidden={draw(st.integers(1, 4))}", "lr=0.1"]
    else:
        tasks = ["split-digits"] if agent == "classifier" else ["reach", "reach,push", "valve-bar"]
        options = some_options(draw, AGENTS.get(agent))
        if agent == "ppo":
            options += ["rollout_steps=4", "batch_size=4"]
        words = ["--sequence", draw(st.sampled_from(tasks)), "--agent", agent]
        words += ["--agent-options", *options]
    # A sequence of the toy cannot be learned all at once: a refusal that would take up many inputs.
    methods = [name for name in METHODS.names() if (agent, name) != ("toy", "joint")]
    method = draw(st.sampled_from(["finetune"] * 8 + methods + ["ewc+replay", "si+agem"]))
    options = [] if "+" in method else some_options(draw, METHODS.get(method))
    words += ["--method", method, *(["--method-options", *options] if options else [])]
    return words


def trust(draw: Draw, words: list[str]) -> list[str]:
    """Name the plug-in that most files name; rarely not, or another one."""
    return [*words, *rarely(draw, [["--plugin", "toy_plugin"]], [[], ["--plugin", "notes"]])]


def device(draw: Draw) -> list[str]:
    """What to compute on: there is a CPU everywhere, and nowhere a tenth GPU."""
    named = rarely(draw, ["cpu"], ["cuda:9", "gpu", "cuda:", "CPU"])
    return draw(st.sampled_from([[], [], ["--device", named]]))


def run(draw: Draw) -> Input:
    words = [*run_words(draw), "--steps-per-task", str(draw(st.integers(4, 12)))]
    words += TINY[:4]
    flag(draw, words, "--seed", st.integers(0, 3) | st.sampled_from([2**32 - 1]))
    flag(draw, words, "--eval-points", st.integers(1, 3))
    flag(draw, words, "--num-threads", st.integers(1, 3))
    words += device(draw)
    if rarely(draw, ["toy" not in words], [True]) and draw(st.integers(0, 4)) == 0:
        words += ["--order", str(draw(st.integers(0, 3)))]
    words += draw(st.sampled_from([[], ["--no-diagnostics"], ["--diagnostics"], ["--quiet"]]))
    if "bc" in words and draw(st.integers(0, 9)) == 0:
        words += ["--observation", "pixels"]
    path = out(draw, "", "", "/a")
    words += draw(st.sampled_from([["--run-dir", path], [f"--run-dir={path}"]]))
    made = Input(["run", *words], makes=[f"{path}/results.json"])
    if draw(st.booleans()):
        fields = draw(
            st.dictionaries(
                st.sampled_from(
                    ["seed", "eval-points", "eval_points", "quick", "method", "finetune"]
                )
                | TEXTS,
                st.integers(0, 2) | VALUES,
                max_size=draw(st.sampled_from([0, 0, 1])),
            )
        )
        text = yaml.dump({"eval_episodes": 1, "num_envs": 1, **fields})

        def write(root: Path) -> None:
            (root / "given.yaml").write_text(text, encoding="utf-8", errors="replace")

        made.damage.append((text, write))
        made.words += [
            "--config",
            draw(st.sampled_from(["given.yaml"] * 8 + ["text.yaml", "notes.txt"])),
        ]
    return made


def resume(draw: Draw) -> Input:
    path = rarely(draw, [*HALVES, *HALVES, *RUNS], ["runs", "foreign"])
    words = trust(draw, ["resume", path])
    if draw(st.integers(0, 2)) == 0:
        words += ["--from", rarely(draw, ["task-000", "task-001"], ["task-002", "task-9"])]
    words += draw(st.sampled_from([[], ["--quiet"]])) + device(draw)
    return Input(words, writes=[path], makes=[f"{path}/results.json"])


def evaluate(draw: Draw) -> Input:
    path = rarely(draw, [*HALVES, *RUNS], ["runs", "foreign"])
    words = trust(draw, ["eval", path])
    flag(draw, words, "--episodes", st.integers(1, 3))
    words += device(draw)
    if draw(st.integers(0, 3)) == 0:
        words += ["--checkpoint", rarely(draw, ["task-000", "task-001"], ["task-9", "task-00"])]
    if draw(st.integers(0, 3)) == 0:
        tasks = ["reach"] if path.endswith("bc") else ["left", "up"]
        words += ["--task", rarely(draw, tasks, ["reach-2", "push"])]
    return Input(words + draw(st.sampled_from([[], ["--json"]])))


def reading(draw: Draw, command: str) -> tuple[list[str], list[str]]:
    places = draw(st.lists(st.sampled_from([*RUNS, "runs"]), min_size=1, max_size=3))
    places += rarely(draw, [[]], [["half"], ["foreign"], ["nowhere"]])
    words = [command, *places, "--reps", str(draw(st.integers(1, 20)))]
    flag(draw, words, "--seed", st.integers(0, 3))
    if draw(st.integers(0, 3)) == 0:
        words += ["--mix", rarely(draw, ["mujoco", "tasks", "budget"], ["seed"])]
    return words, places


def compare(draw: Draw) -> Input:
    words, _ = reading(draw, "compare")
    makes = []
    if draw(st.booleans()):
        path = out(draw, ".html", ".json", ".csv", "/a.csv")
        words += ["--out", path]
        makes.append(path)
    if draw(st.integers(0, 9)) == 0:
        words += ["--figures", out(draw, "")]
    return Input(words, makes=makes)


def report(draw: Draw) -> Input:
    words, places = reading(draw, "report")
    path = out(draw, ".html")
    if len(places) > 1 or draw(st.booleans()):
        words += ["--out", path]
    else:
        path = f"{places[0]}/report.html"
    if draw(st.integers(0, 19)) == 0:
        words += ["--files", out(draw, "")]
    return Input(words, makes=[path])


def submit(draw: Draw) -> Input:
    places = draw(st.lists(st.sampled_from([*RUNS, "runs"]), min_size=1, max_size=2))
    places += rarely(draw, [[]], [["half"], ["foreign"], ["nowhere"]])
    words = ["submit", *places, "--out", out(draw, "", ".json")]
    if draw(st.booleans()):
        words += ["--tuning", rarely(draw, ["runs"], ["nowhere", "notes.txt"])]
    return Input(words)


def record(draw: Draw) -> Input:
    words = ["record", "--width", "32", "--height", "32"]
    flag(draw, words, "--seed", st.integers(0, 3))
    flag(draw, words, "--camera", st.sampled_from(["front", "across", "all"]))
    path = out(draw, ".gif", ".png", ".png", "")
    expert = draw(st.booleans())
    words += ["--out" if expert or draw(st.booleans()) else "--film", path]
    if path == "out/new":
        words += ["--format", rarely(draw, ["gif", "png", "mp4"], ["bmp", ".png"])]
    if expert:
        words += ["--expert", "--task", draw(st.sampled_from(["reach", "push", "valve-bar"]))]
        return Input(words)
    run = rarely(draw, ["runs/bc", "half/bc"], ["runs/toy", "runs"])
    words = trust(draw, words) if run == "runs/toy" else words
    task = "reach-2" if run == "half/bc" else "reach"
    return Input([*words, "--run-dir", run, "--task", task], writes=[f"{run}/tb/clips"])


def demos(draw: Draw) -> Input:
    words = ["demos", "--episodes", str(draw(st.integers(1, 2)))]
    for task in draw(
        st.lists(st.sampled_from(["reach", "push", "valve-bar"]), min_size=1, max_size=2)
    ):
        words += ["--task", task]
    flag(draw, words, "--seed", st.integers(0, 3))
    flag(draw, words, "--noise", st.sampled_from([0, 0.1, 1]))
    flag(draw, words, "--num-threads", st.integers(1, 3))
    path = out(draw, "", ".npz")
    match draw(st.integers(0, 5)):
        case 0:
            return Input([*words, "--verify", "--json", path], makes=[path])
        case 1:
            return Input([*words, "--verify"])
        case 2:
            return Input([*words, "--out", "demos.npz", "--overwrite"], writes=["demos.npz"])
    return Input([*words, "--out", path], makes=[path])


def frames(draw: Draw) -> Input:
    if draw(st.integers(0, 2)) == 0:
        return recordings(draw)
    words = [
        "frames",
        "--sequence",
        rarely(draw, ["reach", "valve-bar", "reach,push"], ["toy3", "arm3"]),
    ]
    words += ["--policy", draw(st.sampled_from(["expert", "random", "noisy", "mixed"]))]
    words += ["--count", str(draw(st.integers(6, 12))), "--size", str(draw(st.integers(8, 20)))]
    flag(draw, words, "--cameras", st.sampled_from([["front"], ["front", "across"]]))
    flag(draw, words, "--seed", st.integers(0, 3))
    path = rarely(draw, ["out/new.npz"], [*IN_THE_WAY, FRAMES, FEW_FRAMES], 6)
    if draw(st.booleans()):
        return Input([*words, "--out", path, "--overwrite"], writes=[path], makes=[path])
    return Input([*words, "--out", path], makes=[path])


def recordings(draw: Draw) -> Input:
    folder = rarely(draw, [PICTURES], ["empty", "foreign", "runs/toy", "notes.txt", "nowhere"], 4)
    words = ["frames", "--from", folder, "--size", str(draw(st.integers(8, 20)))]
    flag(draw, words, "--cameras", st.sampled_from([["front"], ["front", "across"]]))
    path = rarely(draw, ["out/new.npz"], [*IN_THE_WAY, FRAMES, FEW_FRAMES], 6)
    if draw(st.booleans()):
        return Input([*words, "--out", path, "--overwrite"], writes=[path], makes=[path])
    return Input([*words, "--out", path], makes=[path])


def pretrain(draw: Draw) -> Input:
    words = ["pretrain", "--frames", rarely(draw, [FRAMES], [FEW_FRAMES, "demos.npz"])]
    objective = draw(st.sampled_from(["simclr"] * 4 + OBJECTIVES.names()))
    words += ["--objective", objective]
    if draw(st.booleans()):
        words += ["--options", *some_options(draw, OBJECTIVES.get(objective))]
    words += ["--steps", str(draw(st.integers(1, 3))), "--batch-size", str(draw(st.integers(2, 6)))]
    for name, most in (("--shift", 20), ("--relative-shift", 3), ("--cutout", 20)):
        flag(draw, words, name, st.integers(0, most))
    flag(draw, words, "--brightness", st.sampled_from([0, 0.5, 0.9]))
    flag(draw, words, "--lr", st.sampled_from([1e-3, 1e-3, 0.1, 1e30]))
    if draw(st.integers(0, 3)) == 0:
        method = draw(st.sampled_from(ENCODER_METHODS.names()))
        words += ["--method", method]
        if options := some_options(draw, ENCODER_METHODS.get(method)):
            words += ["--method-options", *options]
    path = out(draw, "")
    return Input([*words, "--out", path], makes=[f"{path}/encoder.safetensors"])


def probe(draw: Draw) -> Input:
    words = [
        "probe",
        rarely(draw, [ENCODER, f"{ENCODER}/encoder.safetensors"], ["runs/toy", FRAMES]),
    ]
    words += ["--frames", rarely(draw, [FRAMES], [FEW_FRAMES, "picture.npz"])]
    words += ["--supervised-steps", str(draw(st.integers(0, 1)))]
    flag(draw, words, "--seed", st.integers(0, 3))
    if draw(st.integers(0, 2)) == 0:
        path = out(draw, ".json")
        return Input([*words, "--json", path], makes=[path], writes=[path])
    return Input(words)


def listing(draw: Draw) -> Input:
    words = ["list"]
    names = ["tasks", "sequences", "agents", "methods", "objectives", "encoder-methods"]
    names += [*AGENTS.names(), *METHODS.names(), *OBJECTIVES.names(), "reach", "arm3", "toy"]
    if draw(st.integers(0, 9)):
        words.append(draw(st.sampled_from(names)))
    if draw(st.integers(0, 3)) == 0:
        words += [
            "--plugin",
            draw(st.sampled_from(["toy_plugin", "no_such_plugin", "notes", "os.path"])),
        ]
    if draw(st.integers(0, 3)) == 0:
        words = [*words, draw(HOSTILE)]
    return Input(words)


def doctor(draw: Draw) -> Input:
    words = ["doctor", *draw(st.sampled_from([[], ["--debug"]]))]
    return Input(words + draw(st.sampled_from([[], [], [draw(HOSTILE)]])))


def completion(draw: Draw) -> Input:
    words = ["completion", rarely(draw, ["bash", "zsh", "fish"], ["sh", "BASH", ""])]
    return Input(words + draw(st.sampled_from([[], ["--debug"], [draw(HOSTILE)]])))


def sweep(draw: Draw) -> Input:
    lists: dict[str, Any] = {
        "sequences": "toy3",
        "agents": rarely(draw, ["toy", ["toy"]], [["toy", "bc"]]),
        "methods": rarely(
            draw, ["finetune", "ewc", ["ewc", "finetune"]], ["joint", ["vcl", "vcl"]]
        ),
        "seeds": draw(st.lists(st.integers(0, 2), min_size=1, max_size=2)),
    }
    common: dict[str, Any] = {"plugin": "toy_plugin", "steps_per_task": 4, "num_envs": 1}
    common |= {"eval_episodes": 1, "eval-points": 1}
    study = {**common, **lists}
    if draw(st.integers(0, 4)) == 0:
        study = {**common, "blocks": [lists, {**lists, "name": "b", "seeds": 3}]}
    if draw(st.booleans()):
        study["runs"] = draw(st.sampled_from(["out/cells", "out", "runs"]))
    match draw(st.integers(0, 9)):
        case 0 | 1 | 2:
            names = ["agents", "seeds", "blocks", "name", "runs", "method_options", "agent-options"]
            study[draw(st.sampled_from(names) | TEXTS)] = draw(VALUES)
        case 3:
            options = st.dictionaries(st.sampled_from(["ewc", "finetune"]), VALUES, max_size=1)
            study["method_options"] = draw(options)
    text = yaml.dump(study)

    def write(root: Path) -> None:
        (root / "study.yaml").write_text(text, encoding="utf-8", errors="replace")

    words = trust(draw, ["sweep", "study.yaml", *draw(st.sampled_from([[], ["--dry-run"]]))])
    flag(draw, words, "--processes", st.integers(1, 2))
    if draw(st.integers(0, 9)) == 0:
        words += ["--runs", draw(st.sampled_from(["out/there", "notes.txt", "runs"]))]
    return Input(words, damage=[(text, write)], writes=["runs"])


COMMANDS: dict[str, Callable[[Draw], Input]] = {
    "run": run,
    "resume": resume,
    "sweep": sweep,
    "eval": evaluate,
    "compare": compare,
    "report": report,
    "submit": submit,
    "record": record,
    "demos": demos,
    "frames": frames,
    "pretrain": pretrain,
    "probe": probe,
    "list": listing,
    "doctor": doctor,
    "completion": completion,
}
READ = {
    "resume": HALVES,
    "sweep": ["runs"],
    "eval": [*RUNS, *HALVES],
    "compare": ["runs"],
    "report": ["runs"],
    "submit": ["runs"],
    "record": ["runs/bc"],
    "frames": [FRAMES, FEW_FRAMES, PICTURES],
    "pretrain": [FRAMES],
    "probe": [FRAMES, ENCODER],
}
"""What commands read, which may have been damaged."""
