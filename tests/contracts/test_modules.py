"""Whatever a module does with its optimizer, its parameters and a compiler, rolls act as they do.

Trained in float64, so that a plain loop is matched to 12 digits and not to what float32 leaves.
"""

import pytest
import torch
from lightning.pytorch.callbacks import BaseFinetuning

from support.by_hand import (
    EXACT,
    KINDS,
    TARGETS,
    apart,
    dice,
    factor,
    fit_exactly,
    roll,
    train,
    windows,
)
from support.toy import BATCHES, Toy, adamw, data, loss_of, momentum


class StepsPastLightning(Toy):
    def __init__(self):
        super().__init__(adamw)
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers(use_pl_optimizer=batch_idx == 0)
        optimizer.zero_grad()
        self.manual_backward(loss_of(self.net, batch))
        optimizer.step()


@pytest.mark.parametrize("kind", TARGETS)
def test_a_step_past_lightning_is_applied_in_full_and_said_once(kind):
    model, callback = StepsPastLightning(), dice(kind)
    with pytest.warns(UserWarning, match="nothing was rolled for") as said:
        fit_exactly(model, [callback], max_epochs=1)
    assert sum("nothing was rolled for" in str(warning.message) for warning in said) == 1
    assert [record.step for record in callback.rolls.recent] == [0]
    expected = train(adamw, kind, windows([1] * 12), chosen=lambda step, _: step == 0)
    assert apart(model.weights(), expected) < EXACT


class PropagatesPastLightning(Toy):
    def __init__(self):
        super().__init__(adamw)
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        loss_of(self.net, batch).backward()
        optimizer.step()


def test_mini_batches_propagated_past_lightning_are_trained_on_in_full_and_that_is_said():
    """A discard is what was rolled; where nothing was rolled nothing was discarded."""
    model, callback = PropagatesPastLightning(), dice("per_mini_batch")
    with pytest.warns(UserWarning, match="nothing was rolled for"):
        fit_exactly(model, [callback], max_epochs=1)
    assert callback.rolls.tally.rolls == 0
    expected = train(adamw, "", windows([1] * 12), chosen=lambda *_: False)
    assert apart(model.weights(), expected) < EXACT


class Unfreezes(BaseFinetuning):
    """Trains the head alone for an epoch, and then all."""

    def freeze_before_training(self, pl_module):
        self.freeze(pl_module.net[0])

    def finetune_function(self, pl_module, epoch, optimizer):
        if epoch == 1:
            self.unfreeze_and_add_param_group(pl_module.net[0], optimizer, lr=0.02)


class Head(Toy):
    def configure_optimizers(self):
        return adamw(p for p in self.parameters() if p.requires_grad)


@pytest.mark.parametrize("scope", ["model", "param_group", "tensor"])
@pytest.mark.parametrize("kind", TARGETS)
def test_parameters_that_join_have_new_slots_and_the_old_ones_keep_theirs(kind, scope):
    model, callback = Head(), dice(kind, scope=scope)
    fit_exactly(model, [Unfreezes(), callback], max_epochs=2)
    twin = Toy().double()
    first, last = (list(twin.net[index].parameters()) for index in (0, 2))
    optimizer = adamw(last)
    slots = dict.fromkeys(last, 0)
    if scope == "tensor":
        slots[last[1]] = 1
    rolled = []
    for step, (inputs, targets) in enumerate(2 * data()):
        if step == BATCHES:
            optimizer.add_param_group({"params": first, "lr": 0.02})
            joined = {"model": [0, 0], "param_group": [1, 1], "tensor": [2, 3]}[scope]
            slots |= dict(zip(first, joined, strict=True))
        twin.zero_grad()
        loss_of(twin.net, (inputs.double(), targets.double())).backward()
        roll(optimizer, kind, {p: factor(step, slot=slot) for p, slot in slots.items()})
        rolled += [(step, slot) for slot in sorted(set(slots.values()))]
    assert [(record.step, record.slot) for record in callback.rolls.recent] == rolled
    assert apart(model.weights(), twin.weights()) < EXACT


class Silent(Toy):
    """Logs nothing, as compiled code cannot."""

    def training_step(self, batch, batch_idx):
        return loss_of(self.net, batch)


class CompiledStep(Silent):
    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        optimizer.step = torch.compile(optimizer.step, backend="eager")
        return optimizer


class CompiledPart(Silent):
    def __init__(self, factory):
        super().__init__(factory)
        self.net = torch.compile(self.net, backend="aot_eager")


# Compiled, AdamW has its learning rate in float32; SGD has not.
COMPILED = {
    "module": lambda: torch.compile(Silent(momentum), backend="aot_eager"),
    "part": lambda: CompiledPart(momentum),
    "step": lambda: CompiledStep(momentum),
}


@pytest.mark.filterwarnings(
    "ignore:.*The .grad attribute of a Tensor that is not a leaf",
    "ignore:.*torch.jit.script_method:DeprecationWarning",
)
@pytest.mark.parametrize("what", COMPILED)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_compiled_is_rolled_for_all_the_same(kind, what):
    torch._dynamo.reset()
    model, callback = COMPILED[what](), dice(kind)
    trainer = fit_exactly(model, [callback], max_epochs=1)
    assert [record.step for record in callback.rolls.recent] == list(range(12))
    expected = train(momentum, kind, windows([1] * 12))
    assert apart(model.parameters(), expected) < EXACT
    (optimizer,) = trainer.optimizers
    assert ("step" in vars(optimizer)) == (what == "step"), "the user's own stays"


@pytest.mark.parametrize("kind", TARGETS)
def test_names_do_not_tell_what_is_compiled(kind):
    torch._dynamo.reset()
    model = CompiledPart(adamw)
    assert next(name for name, _ in model.named_parameters()) == "net._orig_mod.0.weight"
    fit_exactly(
        model, [dice(kind, include=["net.0.*", "net.2.*"], exclude=["net.2.bias"])], max_epochs=1
    )
    expected = train(adamw, kind, windows([1] * 12), chosen=lambda _, name: name != "2.bias")
    assert apart(model.weights(), expected) < EXACT
