"""Methods by name: the nearest right name, and options that a user can act on."""

from __future__ import annotations

import pytest

from lifelong_rl.continual import METHODS, ContinualMethod, make
from lifelong_rl.continual.ewc import EWC
from lifelong_rl.errors import UserError


def test_options_reach_the_method():
    method = make("ewc", strength=3.0, decay=0.5)
    assert isinstance(method, EWC)
    assert (method.options.strength, method.options.decay) == (3.0, 0.5)


@pytest.mark.parametrize(
    ("call", "nearest"),
    [
        (lambda: make("ecw"), "'ewc'"),
        (lambda: make("ewc", strenght=1.0), "'strength'"),
        (lambda: make("ewc", scope="polcy"), "'policy'"),
        (lambda: METHODS.get("progresive"), "'progressive'"),
    ],
)
def test_wrong_names_answer_with_the_nearest(call, nearest):
    with pytest.raises(UserError, match=f"did you mean {nearest}"):
        call()


@pytest.mark.parametrize("options", [{"strength": -1.0}, {"strength": "much"}])
def test_wrong_values_name_method(options):
    with pytest.raises(UserError, match="method 'ewc'"):
        make("ewc", **options)


def test_registered_class_is_made_and_listed(fresh_registries):

    @METHODS.register("mine")
    class Mine(ContinualMethod):
        """Does nothing, in its own way."""

    assert isinstance(make("mine"), Mine)
    assert METHODS.names()[-1] == "mine"
    assert METHODS.describe("mine") == "Does nothing, in its own way."
    with pytest.raises(UserError, match="already taken"):
        METHODS.register("ewc")(Mine)


def test_registered_thing_must_be_a_method(fresh_registries):
    METHODS.register("odd")(dict)
    with pytest.raises(UserError, match="not a subclass of ContinualMethod"):
        make("odd")


def test_a_former_method_is_told_where_its_options_are(fresh_registries):
    class Reads(ContinualMethod):
        def __init__(self, *, scope: str = "policy") -> None:
            super().__init__(scope=scope)

    class Forgets(ContinualMethod):
        def __init__(self) -> None:
            self.scope = "both"

    class Sets(ContinualMethod):
        def __init__(self, *, scope: str = "both") -> None:
            super().__init__()
            self.scope = scope

    class SetsFirst(EWC):
        def __init__(self, *, strength: float = 3.0) -> None:
            self.strength = strength
            super().__init__()

    with pytest.raises(UserError, match=r"'scope' of Reads is self\.options\.scope now"):
        Reads().scope  # noqa: B018
    with pytest.raises(UserError, match=r"has to call super\(\)"):
        Forgets().acts_on("policy")
    for factory in (Sets, SetsFirst):
        METHODS.register("former")(factory)
        with pytest.raises(UserError, match=r"pass it on, as super\(\)"):
            make("former")
    Sets(scope="policy")  # what all go by
    assert not hasattr(Reads(), "anchors")
    with pytest.raises(AttributeError, match="'Reads' object has no attribute 'anchors'"):
        Reads().anchors  # noqa: B018
