"""The table of methods and agents in `list methods`."""

from lifelong_rl.cli import main
from lifelong_rl.continual import METHODS
from lifelong_rl.registry import AGENTS
from lifelong_rl.runs import compatibility


def test_list_methods_shows_which_work_with_which_agents(capsys):
    assert main(["list", "methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("  with the agents (+ works, - does not):")
    header, *rest = [line.split() for line in lines[start + 1 :]]
    agents, methods = AGENTS.names(), METHODS.names()
    assert header == agents
    table = {row[0]: dict(zip(agents, row[1:], strict=True)) for row in rest[: len(methods)]}
    assert list(table) == methods
    ours = ("sac", "td3", "ppo", "bc", "classifier")  # tests may have registered more
    assert {table["finetune"][agent] for agent in ours} == {"+"}
    assert table["replay"] | {"ppo": "-"} == table["replay"]
    assert table["replay"]["sac"] == table["replay"]["bc"] == table["replay"]["classifier"] == "+"
    reasons = lines[start + 2 + len(methods) :]
    assert len(reasons) == sum(row[agent] == "-" for row in table.values() for agent in agents)
    assert any(line.startswith("  replay with ppo: ") and "fresh" in line for line in reasons)


def test_only_the_list_of_methods_tries_them(capsys):
    assert main(["list", "agents"]) == 0
    assert "with the agents" not in capsys.readouterr().out


def test_the_list_is_there_if_agents_cannot_be_tried(monkeypatch, capsys):
    def broken(name):
        raise ImportError("no such module")

    monkeypatch.setattr(compatibility, "load_sequence", broken)
    assert main(["list", "methods"]) == 0
    out = capsys.readouterr().out
    assert "  ewc " in out
    assert "cannot be tried: ImportError: no such module" in out


def test_a_method_that_breaks_says_so():
    begin = compatibility.try_agents(["classifier"])["classifier"]
    assert compatibility.find_refusal("finetune", begin) is None
    assert "did you mean 'finetune'" in compatibility.find_refusal("finetun", begin)
    assert compatibility.find_refusal("ewc", lambda method: 1 / 0).startswith("broken: ZeroDiv")


def test_a_wrong_pair_of_agent_and_sequence_is_refused_in_one_line(tmp_path, capsys):
    for agent, sequence, fitting in (
        ("classifier", "arm3", "'sac'"),
        ("sac", "split-digits", "'classifier'"),
        ("bc", "noisy-digits", "'classifier'"),
    ):
        path = tmp_path / agent
        assert main(["run", "--agent", agent, "--sequence", sequence, "--run-dir", str(path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert fitting in line
        assert not path.exists()
