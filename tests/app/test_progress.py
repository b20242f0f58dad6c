"""What a person sees: a picture on a terminal, plain lines in a log file."""

import io
import json

import pytest
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console

from lightning_dice import SavingThrow, SavingThrowCallback
from lightning_dice.app import progress
from lightning_dice.app.progress import DiceProgressBar, describe
from lightning_dice.records import RollRecord
from lightning_dice.rules import control_arm
from support.toy import Toy, fit, loader, quiet_trainer

THROW = SavingThrow("d20", 10)


class Validated(Toy):
    def validation_step(self, batch, batch_idx):
        self.log("val_loss", 0.25)

    def val_dataloader(self):
        return loader()


def run(console, callbacks=None, **settings):
    dice = SavingThrowCallback(THROW, seed=0)
    bar = DiceProgressBar(console)
    callbacks = [dice] if callbacks is None else callbacks
    fit(Validated(), [*callbacks, bar], max_steps=6, enable_progress_bar=True, **settings)
    return console.file.getvalue(), dice


def log_file():
    return Console(file=io.StringIO(), width=80)


def terminal(width=80):
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)


class TestLogFile:
    def test_each_validation_leaves_one_plain_line(self):
        settings = {"val_check_interval": 3, "check_val_every_n_epoch": None}
        text, dice = run(log_file(), num_sanity_val_steps=0, **settings)
        lines = text.splitlines()
        assert [line.split()[1] for line in lines] == ["3/6", "6/6"]
        assert "val_loss 0.250" in lines[0]
        assert describe(dice.last_roll, "gradient") in lines[1]
        for outcome, count in dice.rolls.tally.counts.items():
            assert f"{str(outcome).replace('_', ' ')} {count}" in lines[1]
        assert f"observed scale of gradients {dice.rolls.tally.mean_scale:.3f}" in lines[1]
        assert "\x1b" not in text

    def test_without_dice_it_is_an_ordinary_line(self):
        text, _ = run(log_file(), callbacks=[], val_check_interval=6, num_sanity_val_steps=0)
        assert text.split()[:4] == ["step", "6/6", "train_loss", text.split()[3]]


class TestSeveralRolls:
    """One roll for each slot at every step: what came up, in one line."""

    @pytest.mark.parametrize(
        ("scope", "whose"), [("tensor", "4 tensors"), ("param_group", "1 parameter group")]
    )
    def test_the_line_counts_them(self, scope, whose):
        dice = SavingThrowCallback(THROW, scope=scope, seed=0)
        text, _ = run(log_file(), [dice], val_check_interval=6, num_sanity_val_steps=0)
        rolls = dice.last_roll
        mean = sum(roll.scale or 0 for roll in rolls) / len(rolls)
        assert f"rolled for {whose}: " in text
        assert f"; mean scale {mean:.3g}  critical failure" in text
        told = text.partition(": ")[2].partition(";")[0].split(", ")
        assert sum(int(part.split()[0]) for part in told) == len(rolls)

    def test_an_optimizer_without_slots_leaves_the_tallies(self):
        dice = SavingThrowCallback(THROW, scope="tensor", seed=0)
        assert [str(line) for line in progress._dice(dice)] == ["no roll yet"]
        dice.rolls.append(RollRecord(0, 0, 0, 0, *THROW.resolve(20)))
        (line,) = progress._dice(dice)
        assert str(line).endswith("critical success 1  observed scale of gradients 1.000")


class TestTerminal:
    def test_the_picture_has_the_bar_the_last_roll_and_the_tallies(self):
        text, dice = run(terminal(), limit_val_batches=0)
        last = text.rsplit("training", 1)[1]
        assert "6/6" in last
        assert "rolled" in last
        squeezed = " ".join(last.split())
        assert describe(dice.last_roll, "gradient") in squeezed
        assert f"observed scale of gradients {dice.rolls.tally.mean_scale:.3f}" in squeezed

    def test_nothing_else_is_printed(self, capsys):
        run(terminal(), limit_val_batches=0)
        assert capsys.readouterr().out == ""

    def test_an_error_gives_the_terminal_back(self):
        class Breaks(Toy):
            def training_step(self, batch, batch_idx):
                raise RuntimeError("broke")

        console = terminal()
        bar = DiceProgressBar(console)
        with pytest.raises(RuntimeError, match="broke"):
            fit(Breaks(), [bar], enable_progress_bar=True)
        assert bar._live is None
        assert console.file.getvalue().endswith("\x1b[?25h"), "the cursor is shown again"

    def test_a_step_draws_nothing(self, monkeypatch):
        """The clock draws; a step must not."""
        bar, drawn = DiceProgressBar(terminal()), []
        monkeypatch.setattr(bar, "_picture", lambda trainer: drawn.append(1) or "")
        fit(Toy(), [bar], max_steps=100, enable_progress_bar=True, log_every_n_steps=50)
        assert len(drawn) < 20


@pytest.mark.parametrize("widgets", [True, False])
def test_a_notebook_needs_a_widget_to_redraw(monkeypatch, widgets):
    console = Console(file=io.StringIO(), force_jupyter=True)
    monkeypatch.setattr(progress, "find_spec", lambda name: widgets or None)
    assert progress._redraws(console) == widgets


def test_disabled_it_is_silent():
    bar = DiceProgressBar(log_file())
    bar.disable()
    trainer = quiet_trainer([bar], enable_progress_bar=True, num_sanity_val_steps=0)
    trainer.fit(Validated(), loader())
    assert bar._console.file.getvalue() == ""
    assert isinstance(bar, ProgressBar)


def test_every_roll_has_words():
    throw = SavingThrow("d20+2", 10)
    words = {natural: describe(throw.resolve(natural), "update") for natural in range(1, 21)}
    assert words[1] == "rolled 1 (3): critical failure, discard"
    assert words[7] == "rolled 7 (9): failure, update times -0.05"
    assert words[8] == "rolled 8 (10): success, update times 0.5"
    assert words[20] == "rolled 20 (22): critical success, update times 1"
    assert len(json.dumps(words)) < 2000


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        ({"target": "update"}, "update"),
        ({"target": "gradient"}, "gradient"),
        ({"granularity": "per_mini_batch"}, "gradient"),
    ],
)
def test_a_line_says_what_was_scaled(settings, target):
    dice = SavingThrowCallback(SavingThrow("d4", 2, [0.5] * 4), seed=0, **settings)
    text, _ = run(log_file(), [dice], val_check_interval=6, num_sanity_val_steps=0)
    assert f"{target} times 0.5  critical failure" in text
    assert f"observed scale of {target}s 0.500" in text


def test_training_without_dice_shows_none():
    full = SavingThrowCallback(control_arm("plain", THROW).throw, target="update", seed=0)
    text, _ = run(log_file(), [full], val_check_interval=6, num_sanity_val_steps=0)
    assert "no dice: every update in full" in text
    assert "critical" not in text
