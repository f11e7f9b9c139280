"""Who goes with whom: what is declared, and how a run is refused by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lifelong_rl.cli import main
from lifelong_rl.compatibility import explain_refusal, find_partners, find_refusal, read_offers
from lifelong_rl.continual import ContinualMethod, make
from lifelong_rl.errors import UserError
from lifelong_rl.registry import AGENTS, EXPERTS, METHODS, SEQUENCES
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.loop import SequenceLoop
from lifelong_rl.runs.sequence import load_sequence
from lifelong_rl.runs.setup import prepare

OURS = ("bc", "bc-stream", "classifier", "offline-rl", "ppo", "sac", "td3")


def test_what_is_missing_is_named_with_both() -> None:
    needs = ("class labels", "replayable losses")
    assert explain_refusal("a", needs, "b", ("replayable losses", "class labels")) is None
    assert explain_refusal("a", needs, "b", None) is None
    assert explain_refusal("the method 'a'", needs, "the agent 'b'", ("class labels",)) == (
        "the method 'a' needs losses that hold for rows of old tasks, not for fresh rows only, "
        "which the agent 'b' does not offer"
    )


def test_a_chain_is_refused_for_any_of_its_methods() -> None:
    refusal = find_refusal(METHODS, "ewc+gem", AGENTS, "ppo")
    assert refusal is not None and refusal.startswith("the method 'gem' needs losses")
    assert find_refusal(METHODS, "ewc+gem", AGENTS, "sac") is None


def test_what_declares_nothing_is_not_judged(fresh_registries: None) -> None:
    @AGENTS.register("silent")
    class Silent:
        """Says nothing."""

        build = None

    @METHODS.register("plain")
    class Plain(ContinualMethod):
        """Needs nothing."""

    assert read_offers(AGENTS, "silent") is None
    assert find_refusal(METHODS, "gem", AGENTS, "silent") is None
    assert "silent" in find_partners(METHODS, "gem", AGENTS).untold
    assert set(find_partners(METHODS, "plain", AGENTS).fitting) >= set(OURS)


def test_list_methods_shows_which_work_with_which_agents(capsys: Any) -> None:
    assert main(["list", "methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("  with the agents (+ works, - does not, ? does not tell):")
    header, *rest = [line.split() for line in lines[start + 1 :]]
    agents, methods = AGENTS.names(), METHODS.names()
    assert header == agents
    table = {row[0]: dict(zip(agents, row[1:], strict=True)) for row in rest[: len(methods)]}
    assert list(table) == methods
    assert {table["finetune"][agent] for agent in OURS} == {"+"}
    refused = {
        (method, agent) for method in methods for agent in OURS if table[method][agent] == "-"
    }
    assert refused == {
        *((method, "ppo") for method in ("agem", "gem", "perfect-memory", "replay")),
        *(("icarl", agent) for agent in OURS if agent != "classifier"),
    }
    reasons = lines[start + 2 + len(methods) :]
    assert len(reasons) == sum(row[agent] == "-" for row in table.values() for agent in agents)
    assert any("'replay'" in line and "'ppo'" in line and "fresh" in line for line in reasons)


def test_only_the_list_of_methods_has_the_table(capsys: Any) -> None:
    assert main(["list", "agents"]) == 0
    assert "with the agents" not in capsys.readouterr().out


def test_a_wrong_pair_is_refused_in_one_line_before_anything_is_built(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for agent, method, sequence, fitting in (
        ("classifier", "ewc", "arm3", "'sac'"),
        ("sac", "ewc", "split-digits", "'classifier'"),
        ("bc", "ewc", "noisy-digits", "'classifier'"),
        ("ppo", "replay", "arm3", "agents that do: bc, bc-stream, classifier, offline-rl, regr"),
        ("sac", "icarl", "arm3", "agents that do: classifier, semi-supervised)"),
        ("sac", "ewc+icarl", "arm3", "'icarl' needs classes to predict"),
    ):
        path = tmp_path / agent
        monkeypatch.setattr(AGENTS.get(agent), "build", lambda *_, **__: 1 / 0)
        words = ["--agent", agent, "--method", method, "--sequence", sequence]
        assert main(["run", *words, "--run-dir", str(path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert fitting in line and f"'{agent}'" in line
        assert not path.exists()


@pytest.mark.parametrize("sequence", ["arm3", "split-digits"])
def test_what_agents_need_of_sequences_is_so(sequence: str) -> None:
    """An agent is built on the environments of just those sequences that offer what it needs."""
    found = load_sequence(sequence)
    env = found.make_env(0, num_envs=4, num_threads=1, seed=0)
    for agent in OURS:

        def build(agent: str = agent) -> Any:
            return AGENTS.get(agent).build(
                env, num_tasks=found.num_tasks, method=ContinualMethod(), seed=0
            )

        if find_refusal(AGENTS, agent, SEQUENCES, sequence) is None:
            build()
        else:
            with pytest.raises(UserError):
                build()


def test_a_task_without_an_expert_offers_no_demonstrations(forget: Any) -> None:
    forget(EXPERTS, "reach")
    with pytest.raises(UserError, match=r"'bc' needs tasks with an expert .* 'arm3' does not"):
        prepare(RunConfig(agent="bc", method="ewc"))
    assert prepare(RunConfig(agent="sac", method="ewc")).refusal is None


def test_methods_that_protect_their_own_networks_are_refused_where_encoders_are_learned() -> None:
    seeing = RunConfig(agent="sac", method="finetune+vcl", observation="pixels")
    setup = prepare(seeing)
    assert setup.config.encoder_mode == "scratch"
    assert (
        setup.refusal is not None and "'vcl' needs encoders that are not learned" in setup.refusal
    )
    with pytest.raises(UserError, match="'vcl' needs encoders"):
        SequenceLoop(setup)
    assert prepare(RunConfig(agent="sac", method="ewc", observation="pixels")).refusal is None
    assert prepare(RunConfig(agent="sac", method="vcl")).refusal is None


@pytest.mark.parametrize(
    ("agent", "method", "options", "message"),
    [
        ("bc", "ewc", {"scope": "value"}, r"EWC with .*'value' .* agent are 'policy' \(policy\)"),
        ("bc", "ewc+replay", {"replay.scope": "value"}, "Replay with scope 'value' has noth"),
        ("ppo", "si", {"scope": "value"}, r"SI with .* components of this agent are 'policy' \(po"),
        ("sac", "ewc", {"scope": "value"}, None),
        ("bc", "finetune", {}, None),
    ],
)
def test_a_method_with_nothing_to_act_on_is_refused(agent, method, options, message) -> None:
    config = RunConfig(agent=agent, method=method, method_options=options, num_envs=4)
    setup = prepare(config)
    env = setup.make_env(0)
    if message is None:
        setup.build_agent(env)
        return
    with pytest.raises(UserError, match=message):
        setup.build_agent(env)
    agent_class = AGENTS.get(agent)
    built = agent_class.build(env, num_tasks=3, method=make(method, **options), seed=0)
    with pytest.raises(UserError, match=message):
        built._switch(0)
