"""iCaRL: herding by hand, the exemplars that are kept, and nearest-mean classification."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lifelong_rl.continual.icarl import ICaRL, features, herd
from lifelong_rl.errors import UserError
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.networks.nearest_mean import NearestMeanMLP


def on_circle(*degrees):
    return torch.tensor([[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees])


def test_herding_by_hand():
    """Unit vectors at 0°, 90°, 30° and 60°: the mean points to 45°.

    30° and 60° are equally near, the first wins; with it 60° makes exactly 45°. To their sum, 0°
    adds a turn as large as 90° does the other way, the first wins again.
    """
    rows = on_circle(0, 90, 30, 60)
    assert herd(rows, 2) == [2, 3]
    assert herd(rows, 4)[2:] in ([0, 1], [1, 0])
    assert sorted(herd(rows, 9)) == [0, 1, 2, 3]
    # The mean of 0°, 10° and 80° is at 28.4°. 10° is nearest, then 80° makes 45° (16.6° off) and
    # 0° makes 5° (23.4° off).
    assert herd(on_circle(0, 10, 80), 3) == [1, 2, 0]


def test_classes_are_those_of_the_nearest_mean_in_evaluation_mode_only():
    torch.manual_seed(0)
    network = NearestMeanMLP(NetworkSpec(3, (16,), (2,), num_tasks=2)).double()
    inputs = torch.randn(6, 3).double()
    task = torch.tensor([0, 0, 0, 1, 1, 1])
    logits = network.network(inputs, task)
    network.eval()
    assert torch.equal(network(inputs, task), logits), "no means yet"
    hidden = torch.relu(
        inputs @ network.network.hidden[0].weight[0].T + network.network.hidden[0].bias[0]
    )
    phi = hidden / hidden.norm(dim=1, keepdim=True)
    torch.testing.assert_close(network.features(inputs), phi)
    means = torch.randn(2, 16).double()
    for label in range(2):
        network.set_mean(1, label, means[label])
    found = network(inputs, task)[0]
    assert torch.equal(found[:3], logits[0, :3]), "the other task still uses its head"
    torch.testing.assert_close(found[3:], -(phi[3:, None] - means).square().sum(2))
    network.train()
    assert torch.equal(network(inputs, task), logits)


def test_a_class_without_examples_is_never_the_nearest():
    network = NearestMeanMLP(NetworkSpec(3, (4,), (3,))).eval()
    network.set_mean(0, 1, torch.ones(4) / 2)
    assert network(torch.randn(9, 3))[0].argmax(dim=1).tolist() == [1] * 9


def test_memory_is_shared_among_the_classes_and_reduced_from_the_end(classifier):
    method = ICaRL(memory_size=24)
    learner = classifier(method)
    (component,) = learner.components.values()
    kept = []
    for task_id in range(3):
        learner.learn_task(task_id, method, steps=5)
        kept.append(method.state_dict()["exemplars"]["predictor"])
        assert [len(e["rows"]["labels"]) for e in kept[-1]] == [12 // (task_id + 1)] * 2 * (
            task_id + 1
        )
    for first, last in zip(kept[0], kept[2], strict=False):
        for key, value in last["rows"].items():
            assert torch.equal(value, first["rows"][key][:4]), "the first that herding chose"
    for each in kept[2]:
        assert (each["rows"]["labels"] == each["label"]).all()
        assert (each["rows"]["task"] == each["task_id"]).all()
        phi = features(component, component.module, each["rows"])
        mean = nn.functional.normalize(phi.mean(dim=0), dim=0)
        found = component.module.means[each["task_id"], each["label"]]
        torch.testing.assert_close(found, mean)
    last = learner.tasks[2]
    of_class = {key: value[last["labels"] == 0] for key, value in last.items()}
    chosen = herd(features(component, component.module, of_class), 4)
    assert torch.equal(kept[2][4]["rows"]["inputs"], of_class["inputs"][chosen])


def test_the_end_of_a_task_takes_no_more_passes_with_more_old_classes(classifier, monkeypatch):
    """A pass for each of the two new classes, and one for all exemplars."""
    method = ICaRL(memory_size=24)
    learner = classifier(method)
    passes = []
    computed = NearestMeanMLP.features

    def counting(network, inputs):
        passes[-1].append(len(inputs))
        return computed(network, inputs)

    monkeypatch.setattr(NearestMeanMLP, "features", counting)
    for task_id in range(3):
        passes.append([])
        learner.learn_task(task_id, method, steps=5)
    assert [len(each) for each in passes] == [3, 3, 3]
    assert [each[-1] for each in passes] == [24, 24, 24]


def test_exemplars_that_are_dropped_are_not_kept_in_memory(classifier):
    method = ICaRL(memory_size=24)
    learner = classifier(method)
    for task_id in range(2):
        learner.learn_task(task_id, method, steps=5)
    for each in method.state_dict()["exemplars"]["predictor"]:
        for value in each["rows"].values():
            assert value.untyped_storage().nbytes() == value.nbytes


def test_batches_are_extended_by_exemplars(classifier):
    method = ICaRL(memory_size=8, ratio=0.5)
    learner = classifier(method)
    (component,) = learner.components.values()
    batch = {key: value[:32] for key, value in learner.tasks[1].items()}
    assert method.extend_batch(component, batch) is batch
    learner.learn_task(0, method, steps=3)
    found = method.extend_batch(component, batch)
    assert len(found["inputs"]) == 48
    assert torch.equal(found["inputs"][:32], batch["inputs"])
    kept = torch.cat([e["rows"]["inputs"] for e in method.state_dict()["exemplars"]["predictor"]])
    for row in found["inputs"][32:]:
        assert (kept == row).all(dim=1).any()
    assert (found["task"][32:] == 0).all()


def test_little_is_forgotten(classifier):
    method = ICaRL(memory_size=40)
    learner = classifier(method, num_tasks=2)
    (component,) = learner.components.values()
    accuracies = []
    for task_id in range(2):
        component.module.train()
        learner.learn_task(task_id, method, steps=150)
        component.module.eval()
        accuracies.append(learner.accuracy(0))
    assert accuracies[0] > 0.9
    assert accuracies[1] > accuracies[0] - 0.07
    assert learner.accuracy(1) > 0.85


def test_saved_and_loaded_method_continues_identically(classifier):
    method, resumed_method = ICaRL(memory_size=20), ICaRL(memory_size=20)
    learner, resumed = classifier(method), classifier(resumed_method)
    for task_id in range(2):
        learner.learn_task(task_id, method, steps=5)
    (component,), (copy,) = learner.components.values(), resumed.components.values()
    copy.module.load_state_dict(component.module.state_dict())
    resumed_method.load_state_dict(method.state_dict())
    component.optimizer.state.clear()
    learner.learn_task(2, method, steps=5)
    resumed.learn_task(2, resumed_method, steps=5)
    for name, value in component.module.state_dict().items():
        assert torch.equal(copy.module.state_dict()[name], value), name


def test_what_does_not_predict_classes_is_refused(predictor, stream_learner, distributions):
    spec = NetworkSpec(2, (4,), (2,), num_tasks=2)
    task = torch.zeros(8, dtype=torch.int64)
    tasks = [{"inputs": torch.randn(8, 2), "labels": torch.randn(8, 2), "task": task}]
    gaussian = predictor(NearestMeanMLP(spec), distributions["unit_normal"])
    with pytest.raises(UserError, match="needs classes to predict"):
        ICaRL().begin_task(stream_learner(gaussian, tasks=tasks), 0)
    plain = predictor(MultiHeadMLP(spec), distributions["categorical"])
    with pytest.raises(UserError, match="icarl cannot act on 'predictor'"):
        ICaRL().begin_task(stream_learner(plain, tasks=tasks), 0)
    unlabelled = [{key: tasks[0][key] for key in ("inputs", "task")}]
    network = predictor(NearestMeanMLP(spec), distributions["categorical"])
    with pytest.raises(UserError, match="labelled data"):
        ICaRL().begin_task(stream_learner(network, tasks=unlabelled), 0)
    with pytest.raises(UserError, match="agents that learn classes"):
        ICaRL().build_network(NetworkSpec(2, (4,), (2, 2)))


@pytest.mark.parametrize("options", [{"memory_size": 0}, {"ratio": 0.0}, {"strength": -1.0}])
def test_options_out_of_range(options):
    (option,) = options
    with pytest.raises(ValueError, match=f"'{option}' of ICaRL must be"):
        ICaRL(**options)
