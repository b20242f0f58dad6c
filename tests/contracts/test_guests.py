"""The callback beside other people's code: callbacks, tools, configurations, copies."""

import copy
import pickle
from collections import namedtuple

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from omegaconf import OmegaConf

from lightning_dice import DiceLightningModule, SavingThrow, SavingThrowCallback
from lightning_dice.adapters.huggingface import SavingThrowTrainerCallback
from lightning_dice.adapters.torch_loop import attach
from lightning_dice.rules import SettingError
from support import hf
from support.toy import Toy, adamw, fit, loader, loss_of, quiet_trainer, same, sgd

THROW = SavingThrow("d20", threshold=10)
WAYS = {
    "gradients": {},
    "updates": {"target": "update"},
    "tensors": {"scope": "tensor"},
    "mini-batches": {"granularity": "per_mini_batch"},
    "skipped": {"skip_discarded": True},
}


class TestAfterFit:
    @pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
    def test_a_step_is_as_without_dice(self, way):
        dice, model = SavingThrowCallback(THROW, seed=0, **way), Toy(sgd)
        trainer = fit(model, [dice])
        rolls = dice.rolls.tally.rolls
        before, gradient = model.weights(), [torch.ones_like(p) for p in model.parameters()]
        for parameter, own in zip(model.parameters(), gradient, strict=True):
            parameter.grad = own
        trainer.strategy.optimizer_step(trainer.optimizers[0], lambda: None, model)
        after = [weight - 0.1 * own for weight, own in zip(before, gradient, strict=True)]
        assert same(model.weights(), after)
        assert dice.rolls.tally.rolls == rolls

    def test_every_hook_may_come_once_more(self):
        dice, model = SavingThrowCallback(THROW, seed=0), Toy()
        trainer = fit(model, [dice])
        last = dice.last_roll
        dice.on_before_optimizer_step(trainer, model, trainer.optimizers[0])
        dice.on_train_batch_start(trainer, model, None, 0)
        dice.on_train_batch_end(trainer, model, None, None, 0)
        dice.on_save_checkpoint(trainer, model, {})
        dice.on_train_end(trainer, model)
        dice.on_exception(trainer, model, RuntimeError("later"))
        dice.teardown(trainer, model, "fit")
        assert dice.last_roll == last

    def test_hooks_before_any_training_do_nothing(self):
        dice, model, trainer = SavingThrowCallback(THROW, seed=0), Toy(), quiet_trainer()
        dice.on_before_optimizer_step(trainer, model, sgd(model.parameters()))
        dice.on_train_batch_end(trainer, model, None, None, 0)
        dice.on_exception(trainer, model, RuntimeError("early"))
        assert dice.last_roll is None


Key = namedtuple("Key", ["name", "number"])


@pytest.mark.filterwarnings(
    "ignore:You're resuming from a checkpoint that ended before the epoch",
    "ignore:Be aware that when using `ckpt_path`, callbacks used to create",
)
@pytest.mark.parametrize("key", [ModelCheckpoint, ("a", 1), 7, Key("a", 1), None, b"key"])
def test_other_callbacks_may_have_keys_of_any_type(tmp_path, key):
    fit(Toy(), [SavingThrowCallback(THROW, seed=0)], max_steps=4).save_checkpoint(tmp_path / "a")
    checkpoint = torch.load(tmp_path / "a", weights_only=True)
    checkpoint["callbacks"][key] = {"count": 1}
    torch.save(checkpoint, tmp_path / "b")
    for throw, seen in ((THROW, 4), (SavingThrow("d20", threshold=5), None)):
        dice = SavingThrowCallback(throw, seed=0)
        trainer = quiet_trainer([dice], max_steps=8)
        if seen is None:
            with pytest.raises(SettingError, match=r"threshold=5: .*threshold=10"):
                trainer.fit(Toy(), loader(), ckpt_path=tmp_path / "b", weights_only=False)
        else:
            trainer.fit(Toy(), loader(), ckpt_path=tmp_path / "b", weights_only=False)
            assert [record.step for record in dice.rolls.recent] == [4, 5, 6, 7]


class TakesIterator(Toy):
    def training_step(self, dataloader_iter):
        batch, _, _ = next(dataloader_iter)
        loss = loss_of(self.net, batch)
        self.log("train_loss", loss, batch_size=len(batch[0]))
        return loss


@pytest.mark.filterwarnings(
    "ignore:Found `dataloader_iter` argument", "ignore:You are using the `dataloader_iter` step"
)
class TestDataIterator:
    @pytest.mark.parametrize("way", [n for n in WAYS if n != "skipped"])
    def test_it_trains_as_with_batches(self, way):
        models, dice = (TakesIterator(adamw), Toy(adamw)), []
        for model in models:
            dice.append(SavingThrowCallback(THROW, seed=1, **WAYS[way]))
            fit(model, [dice[-1]], max_steps=-1, max_epochs=2, log_every_n_steps=2)
        assert same(models[0].weights(), models[1].weights())
        assert list(dice[0].rolls.recent) == list(dice[1].rolls.recent)

    def test_steps_that_take_their_batches_themselves_cannot_be_skipped(self):
        dice = SavingThrowCallback(THROW, seed=0, skip_discarded=True)
        with pytest.raises(SettingError, match="take \\(batch, batch_idx\\)"):
            fit(TakesIterator(), [dice])


class TestSettingsByName:
    """A saving throw as configurations hold it."""

    settings = THROW.settings()

    @pytest.mark.parametrize(
        "given",
        [
            {"threshold": 10},
            settings,
            OmegaConf.create(settings),
            {"die": "d20", "scaling": "margin"},
        ],
    )
    def test_every_entry_takes_them(self, given, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        optimizer = sgd(Toy().parameters())
        with attach(optimizer, given, seed=0) as handle:
            assert handle.settings["die"] == "d20"
        assert SavingThrowCallback(given).throw == THROW
        assert DiceLightningModule(given).saving_throw == THROW
        assert SavingThrowTrainerCallback(given).choices.throw == THROW
        trainer = hf.trainer("unused", kind=hf.DiceTrainer, more={"saving_throw": given})
        assert [dice.choices.throw for dice in trainer._dice] == [THROW]

    def test_a_table_of_a_configuration(self):
        given = OmegaConf.create({"die": "d4", "threshold": 2, "scaling": [None, -1, 0.5, 1]})
        assert SavingThrowCallback(given).throw == SavingThrow("d4", 2, [None, -1, 0.5, 1])

    @pytest.mark.parametrize(
        ("given", "refusal"),
        [
            ({"treshold": 3}, "throw.treshold=3: expected die, threshold, scaling, normalize"),
            ({"threshold": 99}, "threshold=99: unreachable"),
            (["d20"], "throw="),
            (17, "throw=17: expected a SavingThrow"),
        ],
    )
    def test_other_settings_are_refused_by_name(self, given, refusal):
        for make in (SavingThrowCallback, DiceLightningModule):
            with pytest.raises(SettingError, match=refusal):
                make(given)


class Copies(Callback):
    """Copies the callback and the module in the middle of a training."""

    def __init__(self, dice):
        self.dice = dice
        self.copies = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == 4:
            copied = copy.deepcopy(self.dice), pickle.loads(pickle.dumps(self.dice))
            self.copies += [*copied, copy.deepcopy({"dice": self.dice})["dice"]]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_callback_is_copied_in_the_middle_of_a_training(tmp_path, way):
    dice, alone = (
        SavingThrowCallback(THROW, seed=0, **way),
        SavingThrowCallback(THROW, seed=0, **way),
    )
    copies, model, plain = Copies(dice), Toy(adamw), Toy(adamw)
    fit(model, [dice, copies], logger=CSVLogger(tmp_path, name="", version=""), max_steps=8)
    fit(plain, [alone], max_steps=8)
    assert same(model.weights(), plain.weights())
    rows = (tmp_path / "rolls.csv").read_text().splitlines()
    assert len(rows) == 1 + dice.rolls.tally.rolls
    for copied in copies.copies:
        assert copied.settings == dice.settings
        assert copied.rolls.tally.rolls == dice.rolls.tally.rolls * 5 // 8
        fit(Toy(), [copied], max_steps=3)  # it is a callback like any other
        assert copied.rolls.tally.rolls < dice.rolls.tally.rolls
    assert len((tmp_path / "rolls.csv").read_text().splitlines()) == len(rows)
