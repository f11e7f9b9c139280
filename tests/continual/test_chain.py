"""Several methods in one: each hook is what the methods do by hand, one after the other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lifelong_rl.continual import ContinualMethod, make
from lifelong_rl.continual.agem import AGEM
from lifelong_rl.continual.chain import Chain, split_options
from lifelong_rl.continual.ewc import EWC
from lifelong_rl.continual.lwf import LwF
from lifelong_rl.continual.replay import Replay
from lifelong_rl.errors import UserError
from lifelong_rl.learning import gradient_step
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.setup import prepare


def parameters(learner):
    (component,) = learner.components.values()
    return component.module.state_dict()


def test_hooks_are_those_of_the_methods_in_order(classifier):
    """Replay, EWC, LwF and A-GEM, with the same random numbers by hand."""
    methods = {
        "replay": Replay(per_task=20),
        "ewc": EWC(strength=5.0, samples=30),
        "lwf": LwF(),
        "agem": AGEM(per_task=20, batch_size=8),
    }
    chain = Chain(methods)
    learner = classifier(None)
    (component,) = learner.components.values()
    learner.learn_task(0, chain, steps=5)
    with torch.no_grad():
        for parameter in component.module.parameters():
            parameter += 0.1
    batch = {key: value[:16] for key, value in learner.tasks[1].items()}

    torch.manual_seed(0)
    found = chain.extend_batch(component, batch)
    torch.manual_seed(0)
    extended = methods["replay"].extend_batch(component, batch)
    assert all(torch.equal(found[key], value) for key, value in extended.items())
    assert len(found["inputs"]) == 32

    torch.manual_seed(0)
    found = chain.penalty(component, extended)
    torch.manual_seed(0)
    parts = [methods[name].penalty(component, extended) for name in ("ewc", "lwf")]
    assert min(parts) > 0
    torch.testing.assert_close(found, parts[0] + parts[1])

    grads = {name: -torch.randn_like(p) for name, p in component.module.named_parameters()}
    torch.manual_seed(0)
    found = chain.transform_gradient(component, dict(grads))
    torch.manual_seed(0)
    expected = methods["agem"].transform_gradient(component, dict(grads))
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_chain_of_one_learns_what_the_method_learns(classifier):
    learned = []
    for method in (EWC(strength=50.0), Chain({"ewc": EWC(strength=50.0)})):
        learner = classifier(method)
        for task_id in range(2):
            learner.learn_task(task_id, method, steps=10)
        learned.append(parameters(learner))
    for name, value in learned[0].items():
        assert torch.equal(learned[1][name], value)


def test_records_steps_for_the_methods_that_ask(classifier):
    class Recorder(ContinualMethod):
        def __init__(self):
            super().__init__(scope="policy")
            self.losses = []

        def after_step(self, component, step):
            self.losses.append(step.loss)

    recorder = Recorder()
    chain = Chain({"replay": Replay(), "recorder": recorder})
    learner = classifier(None)
    (component,) = learner.components.values()
    measured = gradient_step(component, learner.tasks[0], chain)
    assert recorder.losses == [measured["loss"]]
    assert not Chain({"replay": Replay()}).records_steps
    assert not Chain({"replay": Replay()}).transforms_gradients


def test_each_method_acts_on_its_own_scope(predictor, stream_learner, distributions):
    critic = predictor(nn.Linear(2, 1), distributions["unit_normal"], name="critic", role="value")
    actor = predictor(nn.Linear(2, 1), distributions["unit_normal"], name="actor")
    tasks = [{"inputs": torch.randn(20, 2), "labels": torch.randn(20, 1)}]
    chain = make("replay+ewc", **{"ewc.scope": "policy", "replay.scope": "value"})
    chain.end_task(stream_learner(actor, critic, tasks=tasks), 0)
    assert chain.acts_on("policy") and chain.acts_on("value")
    assert chain.penalty(actor, tasks[0]) is not None
    assert chain.penalty(critic, tasks[0]) is None
    assert len(chain.extend_batch(actor, tasks[0])["inputs"]) == 20
    assert len(chain.extend_batch(critic, tasks[0])["inputs"]) == 40


@pytest.mark.parametrize("builder", ["single-task", "progressive"])
@pytest.mark.parametrize("other", ["clone", "lwf"])
def test_a_penalty_of_predictions_that_are_frozen_changes_nothing(classifier, builder, other):
    name = f"{builder}+{other}"
    chained = make(name, **{f"{part}.scope": "both" for part in (builder, other)})
    learned = []
    for method in (chained, make(builder, scope="both")):
        learner = classifier(method)
        (component,) = learner.components.values()
        learner.learn_task(0, method, steps=3)
        learner.task_id = 1
        method.begin_task(learner, 1)
        measured = gradient_step(component, learner.tasks[1], method)
        assert ("penalty" in measured) == (method is chained)
        learned.append(component.module.state_dict())
    assert all(map(torch.equal, *(state.values() for state in learned)))


def test_saved_and_loaded_chain_continues_identically(classifier):
    name = "replay+ewc+packnet"
    options = {"packnet.retrain_share": 0.2, "packnet.scope": "both", "ewc.strength": 10.0}
    method, resumed_method = make(name, **options), make(name, **options)
    learner, resumed = classifier(method), classifier(resumed_method)
    for task_id in range(2):
        learner.learn_task(task_id, method, steps=5)
    (copy,) = resumed.components.values()
    copy.module.load_state_dict(parameters(learner))
    resumed_method.load_state_dict(method.state_dict())
    learner.learn_task(2, method, steps=5)
    resumed.learn_task(2, resumed_method, steps=5)
    for key, value in parameters(learner).items():
        assert torch.equal(parameters(resumed)[key], value), key


def test_options_go_to_their_methods():
    chain = make("replay+ewc", **{"ewc.strength": 3.0, "replay.ratio": 0.5})
    assert isinstance(chain, Chain)
    assert list(chain.methods) == ["replay", "ewc"]
    assert chain.methods["ewc"].options.strength == 3.0
    assert chain.methods["replay"].options.ratio == 0.5
    # Keys of the command line have underscores only.
    assert split_options("ewc+perfect-memory", {"perfect_memory.scope": "policy"}) == {
        "ewc": {},
        "perfect-memory": {"scope": "policy"},
    }


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("packnet+progressive", {}, "packnet and progressive cannot be combined"),
        ("replay+packnet", {}, "must act on all that the others act on, the value too"),
        ("ewc+ewc", {}, "names a method twice"),
        ("ewc+joint", {}, "joint cannot be combined"),
        ("ewc+", {}, "unknown method ''"),
        ("ewc+relpay", {}, "did you mean 'replay'"),
        ("replay+ewc", {"strength": 1.0}, "unknown option of replay.ewc 'strength'"),
        ("replay+ewc", {"ecw.strength": 1.0}, "did you mean 'ewc"),
        ("replay+ewc", {"ewc.strenght": 1.0}, "did you mean 'strength'"),
        ("replay+ewc", {"ewc.strength": -1.0}, "'strength' of method 'ewc' must be"),
    ],
)
def test_what_does_not_go_together_is_refused(name, options, message):
    with pytest.raises(UserError, match=message):
        make(name, **options)


def test_a_run_records_the_options_of_every_method():
    config = RunConfig(
        method="replay+ewc", method_options={"ewc.strength": 3, "replay.per-task": 5}
    )
    with pytest.raises(UserError, match="did you mean 'per_task'"):
        prepare(config)
    config = RunConfig(method="replay+ewc", method_options={"ewc.strength": 3.0})
    resolved = prepare(config).config
    assert resolved.method_options == {
        "replay.per_task": 10_000,
        "replay.ratio": 1.0,
        "replay.keep": "real",
        "replay.distill_updates": 100,
        "replay.distill_rate": 0.1,
        "replay.scope": "both",
        "ewc.strength": 3.0,
        "ewc.floor": 1e-7,
        "ewc.decay": None,
        "ewc.samples": 2048,
        "ewc.scope": "policy",
    }
    assert prepare(resolved).config == resolved
    with pytest.raises(UserError, match="option 'strength' of method 'ewc' must be a number of at"):
        prepare(RunConfig(method="replay+ewc", method_options={"ewc.strength": "much"}))
    with pytest.raises(UserError, match="did you mean 'ewc'"):
        prepare(RunConfig(method="replay+ecw"))
