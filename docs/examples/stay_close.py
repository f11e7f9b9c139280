"""A continual method from outside."""

from lifelong_rl.continual import METHODS, ContinualMethod
from lifelong_rl.learning.gradient_step import parameters, trainable


@METHODS.register("stay-close")
class StayClose(ContinualMethod):
    """Pull what tasks have moved towards where the last task left it.

    Parameters that no task has moved are free: the heads of tasks to come have to be learned.
    """

    def __init__(self, *, strength: float = 1.0) -> None:
        super().__init__(scope="policy")
        self.strength = strength
        self.anchors, self.moved = {}, {}

    def begin_task(self, learner, task_id):
        self.starts = {n: parameters(c) for n, c in self.components(learner).items()}

    def penalty(self, component, batch):
        if component.name not in self.anchors:
            return None
        anchor, moved = self.anchors[component.name], self.moved[component.name]
        now = trainable(component)
        return self.strength * sum((moved[n] * (now[n] - anchor[n]).square()).sum() for n in anchor)

    def end_task(self, learner, task_id):
        for name, component in self.components(learner).items():
            now, start, before = parameters(component), self.starts[name], self.moved.get(name, {})
            self.moved[name] = {n: before.get(n, False) | (now[n] != start[n]) for n in now}
            self.anchors[name] = now

    def state_dict(self):
        return {"anchors": self.anchors, "moved": self.moved}

    def load_state_dict(self, state):
        self.anchors, self.moved = dict(state["anchors"]), dict(state["moved"])
