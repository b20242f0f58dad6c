"""Layers around a method: nested, removed in any order, invisible once gone."""

import copy
import inspect
import itertools

import pytest
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.model_helpers import is_overridden

from lightning_dice.intercept import intercept


class Thing:
    def method(self, text):
        return f"[{text}]"


def layer(name):
    return lambda inner, *args, **kwargs: f"{name}({inner(*args, **kwargs)})"


def test_a_layer_is_around_the_method_of_one_object():
    thing, other = Thing(), Thing()
    remove = intercept(thing, "method", layer("a"))
    assert thing.method("x") == "a([x])"
    assert thing.method(text="x") == "a([x])"
    assert other.method("x") == "[x]"
    remove()
    assert thing.method("x") == "[x]"
    assert vars(thing) == {}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_layers_nest_and_leave_in_any_order(order):
    thing, names = Thing(), "abc"
    removes = [intercept(thing, "method", layer(name)) for name in names]
    left = list(names)
    for index in order:
        removes[index]()
        removes[index]()  # twice does no harm
        left.remove(names[index])
        expected = "[x]"
        for name in left:
            expected = f"{name}({expected})"
        assert thing.method("x") == expected
    assert vars(thing) == {}


def test_what_the_object_itself_had_comes_back():
    thing = Thing()
    own = lambda text: f"own {text}"  # noqa: E731
    thing.method = own
    remove = intercept(thing, "method", layer("a"))
    assert thing.method("x") == "a(own x)"
    remove()
    assert thing.method is own


def test_lightning_still_sees_whether_the_user_overrode_a_hook():
    class Own(LightningModule):
        def configure_gradient_clipping(self, *args, **kwargs):
            """Of my own."""

    hook = "configure_gradient_clipping"
    for module, overridden in ((LightningModule(), False), (Own(), True)):
        assert is_overridden(hook, module) == overridden
        remove = intercept(module, hook, layer("a"))
        assert is_overridden(hook, module) == overridden
        remove()
        assert hook not in vars(module)


def test_a_deep_copy_does_not_drag_the_layer_along():
    thing, witness = Thing(), []
    remove = intercept(thing, "method", lambda inner, text: witness.append(text))
    twin = copy.deepcopy(thing)
    remove()
    assert thing.method("x") == "[x]"
    assert twin.method("x") == "[x]", "a removed layer is passed through, in a copy too"
    assert witness == []


def test_it_has_the_signature_of_what_was_there_through_every_layer():
    """A gradient scaler asks an optimizer's step for it."""

    class Takes:
        def knock(self, closure=None, *, hard: bool = False):
            return hard

    door = Takes()
    expected = inspect.signature(door.knock)
    removes = []
    for _ in range(3):
        removes.append(intercept(door, "knock", lambda inner, *a, **k: inner(*a, **k)))
        assert inspect.signature(door.knock) == expected
    assert door.knock(hard=True)
