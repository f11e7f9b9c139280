"""The classifier that sees through an encoder, which may learn without labels too."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from lifelong_rl import agents, continual
from lifelong_rl.agents.picture_network import PictureNetwork, enlarge, to_pictures
from lifelong_rl.agents.unlabelled import Setting, make
from lifelong_rl.agents.unlabelled.views import STRONG, WEAK, Strength, change, view
from lifelong_rl.envs.labelled import DIGIT_LAYOUT, PERMUTED_DIGITS, SPLIT_DIGITS
from lifelong_rl.envs.labelled_data import Layout
from lifelong_rl.errors import UserError
from lifelong_rl.learning.seeding import seed_everything
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.storage.state_tree import decode_tree, encode_tree

FEW = SPLIT_DIGITS.with_labels(2, seed=5)
LEFT_OUT = {
    "frames that follow": {
        *("arrow-of-time", "atc", "cpc", "odd-one-out", "shuffle-and-learn", "tcn"),
    },
    "keeps something": {
        *("deepcluster", "exemplar", "instdisc", "invariance-propagation", "local-aggregation"),
    },
    "colours": {"cmc", "colorization", "split-brain"},
}
COLOURED = Layout(16, 16, 3, cameras=("a", "b"), turns=False, span=(-3.0, 3.0))


def build(objective: str, method: str = "finetune", **options: Any) -> agents.SemiSupervised:
    seed_everything(0, 0)
    small = {"hidden": (8,), "batch_size": 4, "per_row": 2, "encoder": True}
    return agents.SemiSupervised.build(
        FEW.make_env(0, num_envs=1),
        num_tasks=FEW.num_tasks,
        method=continual.make(method),
        seed=0,
        objective=objective,
        **small | options,
    )


def learn(agent: Any, task_id: int, steps: int = 6) -> None:
    seed_everything(0, 1 + task_id)
    agent.begin_task(task_id, FEW.make_env(task_id, num_envs=1))
    agent.learn_task(steps, lambda done: None)
    agent.end_task()


@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_each_objective_of_encoders_is_learned_or_refused_in_one_line(name: str) -> None:
    reason = next((reason for reason, names in LEFT_OUT.items() if name in names), None)
    options = {"name": name}
    if reason is not None:
        with pytest.raises(UserError, match=reason):
            build("ssl", objective_options=options)
        return
    agent = build("ssl", objective_options=options)
    before = {n: p.detach().clone() for n, p in agent.policy.named_parameters()}
    learn(agent, 0)
    moved = {n for n, p in agent.policy.named_parameters() if not torch.equal(p, before[n])}
    assert any(n.startswith("encoder.") for n in moved) and any(
        n.startswith("head.") for n in moved
    )
    learned = {n for n in before if n.startswith("auxiliary.")}
    assert not learned or learned & moved


def test_the_auxiliary_loss_comes_on_top_of_the_labels() -> None:
    agent, component = build("ssl", objective_options={"weight": 0.5}), None
    agent.begin_task(0, FEW.make_env(0, num_envs=1))
    component = agent.components["classifier"]
    batch = next(agent.task_data(4))
    torch.manual_seed(3)
    whole = component.loss(batch)
    labels = F.cross_entropy(component.logits(batch), batch["labels"])  # type: ignore[attr-defined]
    torch.manual_seed(3)
    rows = batch["unlabelled"].flatten(0, 1)
    images = enlarge(to_pictures(rows, DIGIT_LAYOUT).flatten(0, 1)).mul(255).round().byte()
    index = torch.arange(8)
    auxiliary = agent.objective.auxiliary.loss(
        {"images": images[:, None], "episode": index, "position": index * 0, "index": index}
    )
    assert whole.item() == pytest.approx(labels.item() + 0.5 * auxiliary.item(), rel=1e-5)
    # and it is the network's own encoder that it teaches
    assert agent.policy.encoder is agent.objective.auxiliary.encoder


@pytest.mark.parametrize("name", ["simclr", "moco"])
def test_a_saved_one_goes_on_to_the_last_bit(name: str) -> None:
    options = {"objective_options": {"name": name}}
    through = build("ssl", "replay", **options)
    learn(through, 0)
    saved = encode_tree(through.state_dict())
    learn(through, 1)
    resumed = build("ssl", "replay", **options)
    resumed.load_state_dict(decode_tree(*saved))
    learn(resumed, 1)
    assert encode_tree(resumed.state_dict()) == encode_tree(through.state_dict())


@pytest.mark.parametrize("method", ["ewc", "packnet", "progressive", "icarl", "mas"])
def test_methods_that_go_with_an_encoder_act_on_it(method: str) -> None:
    agent = build("none", method)
    for task_id in range(2):
        learn(agent, task_id)
    assert all(p.isfinite().all() for p in agent.policy.parameters())
    assert isinstance(agent.policy, PictureNetwork)


@pytest.mark.parametrize("method", ["den", "vcl", "rgo", "si+vcl"])
def test_methods_that_protect_their_own_networks_alone_are_refused(method: str) -> None:
    with pytest.raises(UserError, match="the encoder beside them would forget"):
        build("none", method)


def test_an_encoder_needs_pictures_and_ssl_an_encoder() -> None:
    with pytest.raises(UserError, match="add encoder=true"):
        build("ssl", encoder=False)
    env = PERMUTED_DIGITS.make_env(0, num_envs=1)
    with pytest.raises(UserError, match="encoder=true is for rows that are pictures"):
        agents.SemiSupervised.build(
            env, num_tasks=10, method=None, seed=0, objective="none", encoder=True
        )


def test_rows_become_pictures() -> None:
    rows = torch.rand(5, 64)
    shown = to_pictures(rows, DIGIT_LAYOUT)
    assert shown.shape == (5, 1, 3, 8, 8)
    assert torch.equal(shown[2, 0, 1].flatten(), rows[2])
    large = enlarge(shown.flatten(0, 1))
    assert large.shape == (5, 3, 32, 32) and torch.equal(large[..., 1::4, 2::4], shown[:, 0])
    coloured = torch.randn(2, 2 * 768)
    pictures = to_pictures(coloured, COLOURED)
    assert pictures.shape == (2, 2, 3, 16, 16)
    value = coloured[1, 768 + 3 * (16 * 4 + 9) + 2]  # row 4, column 9, blue, of the second camera
    assert pictures[1, 1, 2, 4, 9].item() == pytest.approx(float((value + 3) / 6), abs=1e-6)


def test_views_change_no_more_than_they_say() -> None:
    torch.manual_seed(0)
    rows = torch.rand(64, 64)
    assert torch.equal(change(rows, DIGIT_LAYOUT, Strength()), rows)
    weak, strong = (view(rows, DIGIT_LAYOUT, strong=s) for s in (False, True))
    assert 0.02 < (weak - rows).abs().mean() < (strong - rows).abs().mean()
    # a shift by half a pixel at most: each entry lies among its neighbours' values
    picture = torch.zeros(1, 64)
    picture[0, 8 * 3 + 4] = 1.0
    moved = change(picture.repeat(200, 1), DIGIT_LAYOUT, Strength(shift=0.0625)).view(-1, 8, 8)
    outside = torch.ones(8, 8, dtype=torch.bool)
    outside[2:5, 3:6] = False
    assert moved[:, outside].abs().max() < 1e-6
    torch.testing.assert_close(moved.sum(dim=(1, 2)), torch.ones(200))
    assert moved[:, 3, 4].min() > 0.24
    # where the class tells a place nothing is moved
    assert not (WEAK[False].shift or STRONG[False].shift or STRONG[False].turn)
    lit = torch.zeros(50, 768 * 2)
    lit[:, 100] = 3.0
    seen = change(lit, COLOURED, Strength(contrast=0.4))
    assert seen[:, 100].min() >= 3.0 * 0.6 and seen[:, 100].max() <= 3.0 * 1.4
    assert torch.equal(seen.argmax(dim=1), torch.full((50,), 100))
    cut = change(torch.ones(50, 64), DIGIT_LAYOUT, Strength(cut=0.375)).view(50, 8, 8)
    assert (cut == 0).sum(dim=(1, 2)).tolist() == [9] * 50


def test_fixmatch_says_less_often_what_it_says_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Distribution alignment, by hand: q ∝ p / p̃."""
    monkeypatch.setattr(
        "lifelong_rl.agents.unlabelled.fixmatch.view", lambda rows, layout, strong: rows
    )
    objective: Any = make("fixmatch", Setting(2, DIGIT_LAYOUT), {"threshold": 0.0})
    rows = torch.tensor([[[2.0, 0.0], [0.5, 0.0]]])
    batch = {
        "observations": torch.zeros(1, 2),
        "labels": torch.zeros(1, dtype=torch.int64),
        "unlabelled": rows,
    }

    class Same(torch.nn.Module):
        def forward(self, rows: torch.Tensor, task: Any = None) -> torch.Tensor:
            return rows.unsqueeze(0)

    objective.begin_task(Same())
    before = objective.loss(lambda rows, task: rows, batch)
    objective.after_update(Same(), batch)
    said = rows[0].softmax(dim=1).mean(dim=0)
    torch.testing.assert_close(objective.said[0], said)
    # the second row is now of the other class, and costs more
    aligned = (rows[0].softmax(dim=1) / said).argmax(dim=1)
    assert aligned.tolist() == [0, 1]
    after = objective.loss(lambda rows, task: rows, batch)
    assert after.item() == pytest.approx(F.cross_entropy(rows[0], aligned).item(), rel=1e-5)
    assert after > before
    other = make("fixmatch", Setting(2, DIGIT_LAYOUT), {"threshold": 0.0})
    other.load_state_dict(objective.state_dict(), Same())
    assert other.loss(lambda rows, task: rows, batch).item() == pytest.approx(after.item())
    plain: Any = make("fixmatch", Setting(2, DIGIT_LAYOUT), {"threshold": 0.0, "align": False})
    plain.after_update(Same(), batch)
    assert plain.loss(lambda rows, task: rows, batch).item() == pytest.approx(before.item())
