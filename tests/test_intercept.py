"""Layers around a method: nested, removed in any order, invisible once gone."""

import copy
import gc
import inspect
import io
import itertools
import pickle
import weakref
from types import FunctionType

import pytest
import torch
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


def by_attributes(thing):
    twin = object.__new__(type(thing))
    vars(twin).update(vars(thing))
    return twin


def by_deep_attributes(thing):
    """As many classes have a ``__deepcopy__`` of their own."""
    twin = object.__new__(type(thing))
    for name, value in vars(thing).items():
        setattr(twin, name, copy.deepcopy(value))
    return twin


def by_pickle(thing):
    return pickle.loads(pickle.dumps(thing))


def by_old_pickle(thing):
    return pickle.loads(pickle.dumps(thing, protocol=0))


def by_torch(thing):
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


WAYS = [
    copy.copy,
    copy.deepcopy,
    by_attributes,
    by_deep_attributes,
    by_pickle,
    by_old_pickle,
    by_torch,
]


class Counts:
    """Tells which of several objects a method was called of."""

    def __init__(self):
        self.calls = 0

    def method(self, text):
        self.calls += 1
        return f"[{text}]"


class Overrides(Counts):
    def method(self, text):
        return f"<{super().method(text)}>"


class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.calls = torch.nn.Linear(2, 1), 0

    def method(self, text):
        self.calls += 1
        return f"[{text}]"


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", [Counts, Overrides, Module])
@pytest.mark.parametrize("way", WAYS)
class TestCopies:
    def test_a_copy_has_no_layer_and_its_own_method(self, way, kind, layers):
        thing = kind()
        plain = kind().method("x")
        removes = [intercept(thing, "method", layer("a")) for _ in range(layers)]
        twin = way(thing)
        second = way(twin)
        for one in (twin, second):
            assert one.method("x") == plain
            assert "method" not in vars(one)
            one.calls = 0
            one.method("x")
            assert (one.calls, thing.calls) == (1, 0)
        assert thing.method("x") == "a(" * layers + plain + ")" * layers
        for remove in removes:
            remove()
        assert thing.method("x") == twin.method("x") == second.method("x") == plain
        assert vars(type(thing))["method"] is kind.__dict__["method"]

    def test_a_copy_may_have_layers_of_its_own(self, way, kind, layers):
        thing, plain = kind(), kind().method("x")
        removes = [intercept(thing, "method", layer("a")) for _ in range(layers)]
        twin = way(thing)
        remove = intercept(twin, "method", layer("b"))
        assert twin.method("x") == f"b({plain})"
        assert way(twin).method("x") == plain
        for other in removes:
            other()
        assert thing.method("x") == plain
        assert twin.method("x") == f"b({plain})"
        remove()
        assert twin.method("x") == plain
        assert isinstance(vars(kind)["method"], FunctionType), "the class is as it was"

    def test_a_copy_that_is_made_within_a_layer(self, way, kind, layers):
        thing, twins = kind(), []

        def copies(inner, text):
            twins.append(way(thing))
            return inner(text)

        removes = [intercept(thing, "method", copies) for _ in range(layers)]
        thing.method("x")
        assert len(twins) == layers
        assert [twin.method("x") for twin in twins] == [kind().method("x")] * layers
        assert len(twins) == layers
        for remove in removes:
            remove()


def test_what_holds_an_object_with_layers_and_their_removal_may_be_copied():
    thing = Counts()
    held = {"thing": thing, "remove": intercept(thing, "method", layer("a"))}
    for way in (copy.deepcopy, by_pickle):
        twin = way(held)
        twin["remove"]()
        assert twin["thing"].method("x") == "[x]"
        assert thing.method("x") == "a([x])"
    held["remove"]()
    assert thing.method("x") == "[x]"


def test_a_class_may_override_a_method_that_others_have_a_layer_around():
    """The two have a layer each, and the subclass asks for its base's method by ``super()``."""

    class Base(Thing):
        def method(self, text):
            return f"[{text}]"

    class Derived(Base):
        def method(self, text):
            return f"<{super().method(text)}>"

    base, derived, bystander = Base(), Derived(), Derived()
    removes = [intercept(base, "method", layer("a")), intercept(derived, "method", layer("b"))]
    own = bystander.method
    bystander.method = lambda text: f"own {own(text)}"
    assert base.method("x") == "a([x])"
    assert derived.method("x") == "b(<[x]>)"
    assert bystander.method("x") == "own <[x]>"
    for remove in removes:
        remove()
    assert isinstance(vars(Base)["method"], FunctionType)
    assert isinstance(vars(Derived)["method"], FunctionType)


def test_others_may_put_an_attribute_over_a_layer_and_take_it_away():
    thing = Thing()
    remove = intercept(thing, "method", layer("a"))
    under = thing.method
    thing.method = lambda text: f"over {under(text)}"
    assert thing.method("x") == "over a([x])"
    second = intercept(thing, "method", layer("b"))
    assert thing.method("x") == "b(over a([x]))"
    remove()
    assert thing.method("x") == "b(over [x])"
    second()
    assert thing.method("x") == "over [x]"
    del thing.method
    assert thing.method("x") == "[x]"
    with pytest.raises(AttributeError):
        del thing.method


def test_a_method_that_its_class_makes_up_when_it_is_asked():
    class Passes:
        def __init__(self, inside):
            self.inside = inside

        def __getattr__(self, name):
            if name == "inside":
                raise AttributeError(name)
            return getattr(self.inside, name)

    one, other = Passes(Thing()), Passes(Thing())
    remove = intercept(one, "method", layer("a"))
    assert one.method("x") == "a([x])"
    assert other.method("x") == copy.deepcopy(one).method("x") == "[x]"
    remove()
    assert one.method("x") == "[x]"
    assert "method" not in vars(Passes)


def test_a_class_that_is_pickled_by_value_takes_no_layer_along():
    thing = Thing()
    intercept(thing, "method", layer("a"))
    (method,) = [pickle.loads(pickle.dumps(vars(Thing)["method"]))]
    assert method is Thing.method


def test_an_object_that_nobody_has_is_collected_with_its_layers():
    def make():
        thing = Thing()
        intercept(thing, "method", lambda inner, text: (thing, inner(text)))
        return weakref.ref(thing)

    gone = make()
    gc.collect()
    assert gone() is None


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
