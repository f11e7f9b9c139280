"""Units that are made anew: the surgery, and the methods that choose the units."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_learners import SMALL_AGENT, Run

from lifelong_rl import agents
from lifelong_rl.continual import make
from lifelong_rl.continual.continual_backprop import (
    ContinualBackprop,
    account,
    new_record,
    replace_units,
)
from lifelong_rl.continual.packnet import PackNet
from lifelong_rl.continual.recycling import features_of, magnitudes, recycle
from lifelong_rl.continual.redo import ReDo
from lifelong_rl.errors import UserError
from lifelong_rl.learning import gradient_step
from lifelong_rl.learning.adam import FusedAdam
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.networks.activations import CReLU
from lifelong_rl.networks.features import dormant_units, recorded_features


def trained(layer_norm=False, optimizer=FusedAdam, hidden=(5, 4), **options):
    """A network with twin copies and three heads, and an optimizer with moments everywhere."""
    torch.manual_seed(0)
    spec = NetworkSpec(3, hidden, (2, 1), num_tasks=3, copies=2, layer_norm=layer_norm, **options)
    network = MultiHeadMLP(spec)
    used = optimizer(network.parameters(), lr=0.01)
    inputs = torch.randn(6, 3)
    task = torch.tensor([0, 1, 2, 0, 1, 2])
    for _ in range(3):
        network(inputs, task).square().mean().backward()
        used.step()
        used.zero_grad()
    return network, used, inputs, task


def chosen(*layers):
    return [torch.tensor(layer, dtype=torch.bool) for layer in layers]


# unit 1 of the first copy's first layer and unit 3 of the second's; unit 2 of the second copy above
UNITS = chosen([[0, 1, 0, 0, 0], [0, 0, 0, 1, 0]], [[0, 0, 0, 0], [0, 0, 1, 0]])


def masks(network):
    """Which entries belong to `UNITS`: written out entry by entry."""
    found = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in network.named_parameters()}
    incoming, outgoing = dict(found), {n: m.clone() for n, m in found.items()}
    for copy, depth, unit in ((0, 0, 1), (1, 0, 3), (1, 1, 2)):
        incoming[f"hidden.{depth}.weight"][copy, unit, :] = True
        incoming[f"hidden.{depth}.bias"][copy, unit] = True
        if depth == 0 and network.norm is not None:
            incoming["norm.weight"][copy, 0, unit] = True
            incoming["norm.bias"][copy, 0, unit] = True
        above = "heads.weight" if depth == 1 else "hidden.1.weight"
        outgoing[above][copy, :, unit] = True
    return incoming, outgoing


def test_a_unit_of_two_activations_is_recycled_as_a_whole():
    """CReLU, and LayerNorm after every layer: both activations' weights, and the unit's norm."""
    network, used, inputs, task = trained("every", activation=CReLU)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    with recorded_features(network) as features:
        network(inputs, task)
    means = [each.mean(dim=1) for each in features]
    recycle(network, UNITS, used, means)
    cut = (network.heads.weight == 0).all(dim=1)
    assert cut[0].sum() == 0 and cut[1].nonzero().flatten().tolist() == [2, 6]
    cut = (network.hidden[1].weight == 0).all(dim=1)
    assert [each.nonzero().flatten().tolist() for each in cut] == [[1, 6], [3, 8]]
    lost = before["heads.weight"][1, :, [2, 6]] @ means[1][1, [2, 6]]
    torch.testing.assert_close(network.heads.bias[1], before["heads.bias"][1] + lost)
    for depth, units in enumerate(UNITS):
        norm = network.norms[depth]
        new = units.unsqueeze(1)
        assert (norm.weight[new] == 1).all() and (norm.bias[new] == 0).all()
        assert torch.equal(norm.weight[~new], before[f"norms.{depth}.weight"][~new])
        assert (used.state[norm.weight]["exp_avg"][new] == 0).all()
    assert (used.state[network.heads.weight]["exp_avg_sq"][1, :, [2, 6]] == 0).all()


def test_magnitudes_and_utilities_of_two_activations():
    features = torch.tensor([[[1.0, 0.0, 0.0, 2.0], [0.0, 4.0, 3.0, 0.0]]])  # x: 1, −2; −3, 4
    assert magnitudes(features, 2).tolist() == [[[1, 2], [3, 4]]]
    outgoing = torch.tensor([[[1.0, -2.0, 3.0, -4.0]]])
    record = account(new_record(features, 2), features, outgoing, decay=0.0)
    # of unit 0 the means 0.5 and 1.5 times 1 and 3, of unit 1 the means 2 and 1 times 2 and 4
    assert record.utility.tolist() == [[5, 8]]
    assert record.activation.tolist() == [[0.5, 2.0, 1.5, 1.0]]
    record, due = replace_units(record, rate=0.5, maturity=0, decay=0.0)
    assert due.tolist() == [[True, False]]
    assert record.activation.tolist() == [[0, 2, 0, 1]]


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, FusedAdam])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_new_units_have_fresh_inputs_no_outputs_and_no_moments(layer_norm, optimizer):
    network, used, _, _ = trained(layer_norm, optimizer)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    moments = {p: {k: v.clone() for k, v in s.items()} for p, s in used.state.items()}
    recycle(network, UNITS, used)
    incoming, outgoing = masks(network)
    bounds = {"hidden.0": 1 / math.sqrt(3), "hidden.1": 1 / math.sqrt(5)}
    for name, parameter in network.named_parameters():
        new, cut = incoming[name] & ~outgoing[name], outgoing[name]
        rest = ~(new | cut)
        assert torch.equal(parameter[rest], before[name][rest])
        assert (parameter[cut] == 0).all()
        if name == "norm.weight":
            assert (parameter[new] == 1).all()
        elif name == "norm.bias":
            assert (parameter[new] == 0).all()
        elif new.any():
            assert (parameter[new] != before[name][new]).all()
            assert parameter[new].abs().max() <= bounds[name.rpartition(".")[0]]
        for moment in ("exp_avg", "exp_avg_sq"):
            now, then = used.state[parameter][moment], moments[parameter][moment]
            assert (now[new | cut] == 0).all()
            assert torch.equal(now[rest], then[rest]) and now[rest].any()
        assert used.state[parameter]["step"] == moments[parameter]["step"] == 3
    assert incoming["hidden.1.weight"][1, 2, 3] and outgoing["hidden.1.weight"][1, 2, 3]


def test_all_heads_lose_what_the_units_contributed_and_nothing_else():
    network, used, inputs, task = trained()
    with recorded_features(network) as features:
        output = network(inputs, task)
    lost = network.heads.weight[1, :, 2].detach().clone().view(3, 3)  # of each head
    only_above = [torch.zeros_like(UNITS[0]), UNITS[1]]
    contribution = features[1][1, :, 2:3] * lost[task]
    assert contribution.abs().max() > 0.01
    recycle(network, only_above, used)
    with torch.no_grad():
        after = network(inputs, task)
    torch.testing.assert_close(after[0], output[0])
    torch.testing.assert_close(after[1], output[1] - contribution)


def test_a_silent_unit_is_recycled_without_a_change_of_any_output():
    network, used, inputs, task = trained()
    with torch.no_grad():
        network.hidden[0].bias[0, 1] = network.hidden[0].bias[1, 3] = -1e3
        network.hidden[1].bias[1, 2] = -1e3
        output = network(inputs, task)
        recycle(network, UNITS, used)
        torch.testing.assert_close(network(inputs, task), output, rtol=0, atol=1e-6)


def test_means_go_into_the_biases_that_the_units_feed():
    network, used, _, _ = trained()
    first = [UNITS[0], torch.zeros_like(UNITS[1])]
    weight = network.hidden[1].weight.detach().clone()
    bias, heads = network.hidden[1].bias.detach().clone(), network.heads.bias.detach().clone()
    means = [torch.arange(10.0).view(2, 5), torch.ones(2, 4)]
    recycle(network, first, used, means)
    expected = torch.stack([bias[0] + 1 * weight[0, :, 1], bias[1] + 8 * weight[1, :, 3]])
    torch.testing.assert_close(network.hidden[1].bias, expected)
    assert torch.equal(network.heads.bias, heads)
    # the last layer's go into all heads
    weight = network.heads.weight.detach().clone()
    recycle(network, [torch.zeros_like(UNITS[0]), UNITS[1]], used, means)
    torch.testing.assert_close(network.heads.bias[1], heads[1] + weight[1, :, 2])
    assert torch.equal(network.heads.bias[0], heads[0])


def test_nothing_chosen_draws_nothing():
    network, used, _, _ = trained()
    state = torch.get_rng_state()
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    recycle(network, [torch.zeros_like(units) for units in UNITS], used)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())


def test_networks_that_do_not_predict_are_looked_at_too():
    """The value function beside PPO's policy, by the loss."""
    run = Run("ppo", "finetune")
    (component,) = run.agent.components.values()
    policy, value = component.module.policy_network, component.module.value_network
    seen = []
    component.loss, kept = lambda batch: seen.append(batch) or kept(batch), component.loss
    run.learn(0)
    batch = seen[-1]
    seen.clear()
    found = features_of(component, [policy, value], batch)
    assert [len(each) for each in found] == [2, 2] and len(seen) == 1
    for network, features in zip((policy, value), found, strict=True):
        below = component.module._features(batch["observations"])
        for depth, each in enumerate(features):
            below = network.activate(depth, network.hidden[depth](below))
            torch.testing.assert_close(each, below.detach())


def test_redo_recycles_every_period_what_is_dormant(classifier):
    """Unit 3 is silenced, unit 5 is quiet; the look is before the step, on its batch."""
    method = ReDo(period=3, threshold=0.1)
    learner = classifier(method)
    (component,) = learner.components.values()
    network = component.module
    batch = {key: value[:32] for key, value in learner.tasks[0].items()}
    for step in range(3):
        gradient_step(component, batch, method)
        assert method.state_dict() == {"updates": {"predictor": step + 1}}
    with torch.no_grad():
        network.hidden[1].bias[0, 3] = -1e3
        network.hidden[0].weight[0, 5] *= 1e-4
        network.hidden[0].bias[0, 5] = 1e-5
    with torch.no_grad(), recorded_features(network) as features:
        component.predict(batch)
    units = [dormant_units(each, 0.1) for each in features]
    assert units[0][0, 5] and units[1][0, 3] and not any(each.all() for each in units)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    lr = component.optimizer.param_groups[0]["lr"]
    component.optimizer.param_groups[0]["lr"] = 0.0
    gradient_step(component, batch, method)  # the fourth: three have been done
    for depth, above in ((0, network.hidden[1]), (1, network.heads)):
        name = "heads" if depth else "hidden.1"
        redone = (network.hidden[depth].bias != before[f"hidden.{depth}.bias"])[0]
        assert torch.equal(redone, units[depth][0])
        silent = (above.weight == 0).all(dim=1)[0] & (before[f"{name}.weight"] != 0).any(dim=1)[0]
        assert torch.equal(silent, units[depth][0])
    component.optimizer.param_groups[0]["lr"] = lr
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    plain = ReDo(period=3, threshold=0.1)
    plain.load_state_dict({"updates": {"predictor": 4}})
    component.optimizer.param_groups[0]["lr"] = 0.0
    with torch.no_grad():
        network.hidden[1].bias[0, 3] = -1e3
    gradient_step(component, batch, plain)  # not every update is one in three
    assert network.hidden[1].bias[0, 3] == -1e3


def test_new_units_learn_again(classifier):
    """Every unit of a layer dies; without the method the network can learn nothing any more."""
    accuracies = {}
    for name in ("finetune", "redo"):
        method = make(name) if name == "finetune" else make(name, period=20)
        learner = classifier(method, num_tasks=1)
        (component,) = learner.components.values()
        with torch.no_grad():
            component.module.hidden[1].bias.fill_(-1e3)
        learner.learn_task(0, method, steps=400)
        accuracies[name] = learner.accuracy(0)
    assert accuracies["finetune"] < 0.6 and accuracies["redo"] > 0.9


RECYCLING = ["redo", "continual-backprop"]


@pytest.mark.parametrize("name", RECYCLING)
@pytest.mark.parametrize("learner", SMALL_AGENT)
def test_every_learner_is_changed(learner, name):
    """Against fine-tuning: networks of both roles, as far as there are any."""
    found = {}
    for method in ("finetune", name):
        run = Run(learner, method)
        run.learn(0)
        found[method] = {
            (each, key): value.clone()
            for each, component in run.agent.components.items()
            for key, value in component.module.state_dict().items()
        }
    differ = {
        each
        for each, key in found[name]
        if not torch.equal(found[name][each, key], found["finetune"][each, key])
    }
    assert differ == {each for each, _ in found["finetune"]}
    weights = [v for (_, key), v in found[name].items() if key.endswith("heads.weight")]
    assert weights and all(weight.isfinite().all() for weight in weights)


@pytest.mark.parametrize("name", RECYCLING)
def test_networks_that_other_methods_make_are_refused(classifier, name):
    learner = classifier(PackNet())
    method = make(name)
    with pytest.raises(UserError, match=r"'predictor' has another kind: MultiHeadMLP and PackNet"):
        method.check_components(learner)
    chain = make(f"{name}+packnet", **{f"{name}.scope": "policy"})
    run = Run("bc", "finetune")
    method.check_components(run.agent)
    with pytest.raises(UserError, match=r"'policy' has another kind: MultiHeadMLP and PackNetMLP"):
        agents.BC.build(
            run.envs[0], num_tasks=2, method=chain, seed=0, hidden=(8,), batch_size=16
        ).begin_task(0, run.envs[0])


@pytest.mark.parametrize("name", RECYCLING)
def test_no_boundaries_are_needed(name):
    assert make(name).needs_boundaries is False


def test_utilities_and_choices_are_those_of_algorithm_1():
    """Unit by unit, in Python's numbers: eq. 1, ages, what is owed, and who is replaced."""
    decay, rate, maturity, copies, units = 0.9, 0.07, 3, 2, 5
    generator = torch.Generator().manual_seed(1)
    utility = [[0.0] * units for _ in range(copies)]
    activation = [[0.0] * units for _ in range(copies)]
    age = [[0] * units for _ in range(copies)]
    owed = [0.0] * copies
    record, replaced = None, 0
    for _ in range(60):
        features = torch.randn(copies, 4, units, generator=generator, dtype=torch.float64)
        outgoing = torch.randn(copies, 3, units, generator=generator, dtype=torch.float64)
        record = account(record or new_record(features, units), features, outgoing, decay)
        record, due = replace_units(record, rate=rate, maturity=maturity, decay=decay)
        for c in range(copies):
            for i in range(units):
                h, w = features[c, :, i].tolist(), outgoing[c, :, i].tolist()
                gain = sum(map(abs, h)) / 4 * sum(map(abs, w))
                age[c][i] += 1
                utility[c][i] = decay * utility[c][i] + (1 - decay) * gain
                activation[c][i] = decay * activation[c][i] + (1 - decay) * sum(h) / 4
            mature = [i for i in range(units) if age[c][i] > maturity]
            owed[c] += rate * len(mature)
            expected = []
            while owed[c] >= 1:
                worst = min(mature, key=lambda i: utility[c][i] / (1 - decay ** age[c][i]))
                mature.remove(worst)
                expected.append(worst)
                owed[c] -= 1
            assert due[c].nonzero().flatten().tolist() == sorted(expected)
            replaced += len(expected)
            for i in expected:
                utility[c][i], activation[c][i], age[c][i] = 0.0, 0.0, 0
        for found, known in zip(record, (utility, activation, age, owed), strict=True):
            torch.testing.assert_close(found.double(), torch.tensor(known, dtype=torch.float64))
    assert replaced > 20


def test_a_constant_unit_is_replaced_without_a_change_of_any_output(classifier):
    """Its average is what it always is, and goes into the biases of all heads."""
    method = ContinualBackprop(replacement_rate=0.02, maturity=2)
    learner = classifier(method, hidden=(16,))
    (component,) = learner.components.values()
    network = component.module
    batch = {key: value[:32] for key, value in learner.tasks[0].items()}
    with torch.no_grad():
        network.hidden[0].bias.fill_(1.0)  # no unit is silent
        network.hidden[0].weight[0, 3] = 0
        network.hidden[0].bias[0, 3] = 2.5
        network.heads.weight[0, :, 3] = torch.tensor([1e-2, -1e-2] * 3)
        for group in component.optimizer.param_groups:
            group["lr"] = 0.0
    task = torch.arange(32) % 3
    with torch.no_grad():
        output, bias = network(batch["inputs"], task), network.heads.bias.clone()
    # from the third update on 16 units are mature, and a fiftieth of that, 0.32, is owed each time
    for update in range(1, 8):
        gradient_step(component, batch, method)
        replaced = bool((network.heads.weight[0, :, 3] == 0).all())
        assert replaced == (update >= 6), update
        with torch.no_grad():
            torch.testing.assert_close(network(batch["inputs"], task), output)
    expected = bias + 2.5 * torch.tensor([[1e-2, -1e-2] * 3])
    torch.testing.assert_close(network.heads.bias.detach(), expected)
    age = method.state_dict()["predictor"]["0.0"]["age"]
    assert age[0, 3] == 1 and (age == 7).sum() == 15


def test_no_mature_unit_is_no_replacement(classifier):
    method = ContinualBackprop(replacement_rate=1.0, maturity=5)
    learner = classifier(method)
    (component,) = learner.components.values()
    batch = {key: value[:32] for key, value in learner.tasks[0].items()}
    for update in range(1, 7):
        gradient_step(component, batch, method)
        age = method.state_dict()["predictor"]["0.0"]["age"]
        assert (age == (0 if update == 6 else update)).all()
