"""SavingThrowCallback as a citizen of a Trainer: state, loggers, warnings, refusals."""

import math
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.strategies import DeepSpeedStrategy
from lightning.pytorch.tuner import Tuner

from lightning_dice import DiceLightningModule, Outcome, SavingThrow, SavingThrowCallback
from lightning_dice.records import read_rolls
from lightning_dice.rules import Roller, SettingError
from support.toy import Toy, adamw, fit, loader, quiet_trainer, same, sgd

THROW = SavingThrow("d20", threshold=10)


def naturals(callback):
    return [record.natural for record in callback.rolls.recent]


def csv_logger(folder):
    return CSVLogger(folder, name="", version="")


class TestRolls:
    def test_they_are_the_rollers(self):
        callback = SavingThrowCallback(THROW, seed=11)
        fit(Toy(), [callback], max_steps=25)
        assert naturals(callback) == Roller(THROW, 11).naturals(0, 25).tolist()
        assert callback.last_roll == callback.rolls.recent[-1].roll

    def test_they_follow_optimizer_steps_when_gradients_accumulate(self):
        one, three = SavingThrowCallback(THROW, seed=2), SavingThrowCallback(THROW, seed=2)
        fit(Toy(), [one], max_steps=10)
        fit(Toy(), [three], max_steps=10, accumulate_grad_batches=3)
        assert naturals(one) == naturals(three)
        assert [record.batch for record in three.rolls.recent] == list(range(2, 30, 3))

    def test_a_last_partial_window_has_its_roll(self):
        callback = SavingThrowCallback(THROW, seed=2)
        fit(Toy(), [callback], max_steps=-1, max_epochs=1, accumulate_grad_batches=5)
        assert [record.batch for record in callback.rolls.recent] == [4, 9, 11]

    def test_two_callbacks_with_one_seed_roll_apart(self):
        ours, theirs = SavingThrowCallback(THROW, seed=0), SavingThrowCallback(seed=0, throw=EASY)
        fit(Toy(), [ours, theirs], max_steps=30)
        assert naturals(ours) == Roller(THROW, 0).naturals(0, 30).tolist()
        assert naturals(ours) != naturals(theirs)

    def test_a_second_training_counts_from_nothing(self):
        callback = SavingThrowCallback(THROW, seed=2)
        fit(Toy(), [callback], max_steps=7)
        fit(Toy(), [callback], max_steps=5)
        assert callback.rolls.tally.rolls == 5
        assert naturals(callback) == Roller(THROW, 2).naturals(0, 5).tolist()

    @pytest.mark.parametrize("granularity", ["per_accumulation_step", "per_mini_batch"])
    @pytest.mark.parametrize("clip", [None, 0.5])
    @pytest.mark.filterwarnings("ignore:gradient clipping comes after the rolls")
    def test_a_learning_rate_search_consumes_none(self, tmp_path, granularity, clip):
        class Tunable(Toy):
            lr = 0.1

            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=self.lr)

        callback = SavingThrowCallback(THROW, granularity=granularity, seed=0)
        trainer = quiet_trainer([callback], default_root_dir=tmp_path, gradient_clip_val=clip)
        model = Tunable()
        Tuner(trainer).lr_find(model, loader(), num_training=5, update_attr=False)
        assert naturals(callback) == []
        trainer.fit(model, loader())
        assert naturals(callback) == Roller(THROW, 0).naturals(0, 10).tolist()


EASY = SavingThrow("d20", threshold=5)


def test_a_learning_rate_search_on_a_dice_module(tmp_path):
    class Tunable(DiceLightningModule, Toy):
        lr = 0.1

    trainer = quiet_trainer(default_root_dir=tmp_path)
    model = Tunable(THROW, 0, optimizer=lambda p: torch.optim.SGD(p, lr=model.lr))
    Tuner(trainer).lr_find(model, loader(), num_training=5, update_attr=False)
    trainer.fit(model, loader())
    (callback,) = (c for c in trainer.callbacks if isinstance(c, SavingThrowCallback))
    assert naturals(callback) == Roller(THROW, 0).naturals(0, 10).tolist()


class TestSeed:
    def test_a_second_training_takes_lightnings_new_seed(self, monkeypatch):
        callback = SavingThrowCallback(THROW)
        for seed in (3, 4):
            monkeypatch.setenv("PL_GLOBAL_SEED", str(seed))
            fit(Toy(), [callback])
            assert callback.seed == seed

    def test_none_takes_lightnings(self, monkeypatch):
        monkeypatch.setenv("PL_GLOBAL_SEED", "17")
        callback = SavingThrowCallback(THROW)
        fit(Toy(), [callback])
        assert callback.seed == 17
        assert naturals(callback) == Roller(THROW, 17).naturals(0, 10).tolist()

    def test_seed_zero_of_lightning_is_a_seed(self, monkeypatch):
        monkeypatch.setenv("PL_GLOBAL_SEED", "0")
        callback = SavingThrowCallback(THROW)
        fit(Toy(), [callback])
        assert callback.seed == 0

    def test_none_without_lightnings_is_drawn_and_recorded(self, monkeypatch):
        monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
        callbacks = [SavingThrowCallback(THROW) for _ in range(2)]
        for callback in callbacks:
            fit(Toy(), [callback])
        seeds = [callback.state_dict()["settings"]["seed"] for callback in callbacks]
        assert seeds[0] != seeds[1]
        assert naturals(callbacks[0]) == Roller(THROW, seeds[0]).naturals(0, 10).tolist()


class TestFiles:
    def test_rolls_are_beside_the_loggers_files(self, tmp_path):
        callback = SavingThrowCallback(THROW, seed=0)
        fit(Toy(), [callback], logger=csv_logger(tmp_path), max_steps=7)
        assert list(read_rolls(tmp_path / "rolls.csv")) == list(callback.rolls.recent)

    def test_without_a_folder_nothing_is_written(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        fit(Toy(), [SavingThrowCallback(THROW, seed=0)])
        assert list(tmp_path.iterdir()) == []

    def test_a_second_saving_throw_has_a_file_of_its_own(self, tmp_path):
        callbacks = [SavingThrowCallback(THROW, seed=0), SavingThrowCallback(EASY, seed=0)]
        fit(Toy(), callbacks, logger=csv_logger(tmp_path))
        for callback, name in zip(callbacks, ("rolls.csv", "rolls-2.csv"), strict=True):
            assert list(read_rolls(tmp_path / name)) == list(callback.rolls.recent)

    def test_fitting_on_goes_on_in_the_same_file(self, tmp_path):
        callback = SavingThrowCallback(THROW, seed=0)
        trainer = fit(Toy(), [callback], logger=csv_logger(tmp_path), max_steps=5)
        trainer.fit_loop.epoch_loop.max_steps = 9
        trainer.fit(trainer.lightning_module, loader())
        rolls = [record.natural for record in read_rolls(tmp_path / "rolls.csv")]
        assert rolls == Roller(THROW, 0).naturals(0, 9).tolist()

    def test_an_error_in_training_loses_no_roll(self, tmp_path):
        class Breaks(Toy):
            def training_step(self, batch, batch_idx):
                if batch_idx == 4:
                    raise RuntimeError("broke")
                return super().training_step(batch, batch_idx)

        with pytest.raises(RuntimeError, match="broke"):
            fit(Breaks(), [SavingThrowCallback(THROW, seed=0)], logger=csv_logger(tmp_path))
        assert [record.step for record in read_rolls(tmp_path / "rolls.csv")] == [0, 1, 2, 3]

    def test_runs_that_share_a_loggers_folder_have_files_of_their_own(self, tmp_path):
        class Shared(DummyLogger):
            name = "shared"
            save_dir = str(tmp_path)

            def __init__(self, version):
                super().__init__()
                self._version = version

            @property
            def version(self):
                return self._version

        for version in (0, "b"):
            fit(Toy(), [SavingThrowCallback(THROW, seed=0)], logger=Shared(version), max_steps=3)
        for name in ("version_0", "b"):
            assert len(list(read_rolls(tmp_path / "shared" / name / "rolls.csv"))) == 3

    def test_a_folder_that_is_not_on_this_machine_gets_none_and_that_is_said_once(
        self, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        callback = SavingThrowCallback(THROW, scope="tensor", seed=0)
        with pytest.warns(UserWarning, match=r"memory://bucket/run.*CSVLogger\('logs'\)") as told:
            fit(Toy(), [callback], logger=CSVLogger("memory://bucket/run"), max_steps=15)
        assert len([one for one in told if "rolls are not written" in str(one.message)]) == 1
        assert list(tmp_path.iterdir()) == []
        assert callback.rolls.tally.rolls == 15 * 4

    def test_an_address_of_this_machine_is_a_folder(self, tmp_path, monkeypatch):
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        callback = SavingThrowCallback(THROW, seed=0)
        logger = CSVLogger(f"file://{tmp_path}/logs", name="", version="")
        fit(Toy(), [callback], logger=logger, max_steps=5)
        assert len(list(read_rolls(tmp_path / "logs" / "rolls.csv"))) == 5
        assert list(Path.cwd().iterdir()) == []


class TestLoggers:
    def test_hyper_parameters_reach_them(self, tmp_path):
        callbacks = [SavingThrowCallback(THROW, seed=3), SavingThrowCallback(EASY, seed=3)]
        logger = csv_logger(tmp_path)
        fit(Toy(), callbacks, logger=logger)
        assert logger.experiment.hparams == {
            "saving_throw": callbacks[0].settings,
            "saving_throw-2": callbacks[1].settings,
        }
        assert callbacks[0].settings["seed"] == 3

    def test_metrics_come_every_log_every_n_steps(self, tmp_path):
        callback = SavingThrowCallback(THROW, seed=0)
        fit(Toy(), [callback], logger=csv_logger(tmp_path), max_steps=12, log_every_n_steps=5)
        lines = (tmp_path / "metrics.csv").read_text().splitlines()
        header, rows = lines[0].split(","), [line.split(",") for line in lines[1:]]
        steps = [int(row[header.index("step")]) for row in rows if row[header.index("dice/luck")]]
        assert steps == [4, 9]
        records = list(callback.rolls.recent)[:10]
        mean = sum(record.scale or 0 for record in records) / 10
        last = dict(zip(header, rows[-1], strict=True))
        assert float(last["dice/mean_scale"]) == pytest.approx(mean, abs=1e-6)
        for outcome in Outcome:
            count = sum(record.outcome is outcome for record in records)
            assert float(last[f"dice/{outcome}"]) == count

    @pytest.mark.filterwarnings("ignore:The number of training batches")
    def test_a_run_shorter_than_that_still_has_its_rolls(self, tmp_path):
        fit(
            Toy(),
            [SavingThrowCallback(THROW, seed=0)],
            logger=csv_logger(tmp_path),
            max_steps=3,
            log_every_n_steps=50,
        )
        assert len(list(read_rolls(tmp_path / "rolls.csv"))) == 3

    def test_a_step_logs_nothing_by_itself(self, monkeypatch):
        calls = []
        monkeypatch.setattr(Toy, "log_dict", lambda self, *a, **k: calls.append(a), raising=False)
        fit(Toy(), [SavingThrowCallback(THROW, seed=0)], max_steps=10, log_every_n_steps=50)
        assert calls == []


@pytest.mark.filterwarnings(
    "ignore:You're resuming from a checkpoint that ended before the epoch",
    "ignore:Experiment logs directory",
    "ignore:Checkpoint directory",
)
class TestResume:
    def run(
        self, folder, steps, throw=THROW, seed=0, ckpt=None, granularity=None, every=4, **settings
    ):
        callback = SavingThrowCallback(
            throw, seed=seed, granularity=granularity or "per_accumulation_step"
        )
        checkpoint = ModelCheckpoint(folder, filename="last", every_n_train_steps=every)
        trainer = quiet_trainer(
            [callback, checkpoint],
            max_steps=steps,
            logger=csv_logger(folder),
            enable_checkpointing=True,
            **settings,
        )
        model = Toy(adamw)
        trainer.fit(model, loader(), ckpt_path=ckpt, weights_only=True if ckpt else None)
        return model, callback

    @pytest.mark.parametrize("granularity", ["per_accumulation_step", "per_mini_batch"])
    @pytest.mark.parametrize("accumulate", [1, 3])
    def test_it_goes_on_as_if_never_stopped(self, tmp_path, granularity, accumulate):
        epoch = 12 // accumulate
        settings = {
            "granularity": granularity,
            "accumulate_grad_batches": accumulate,
            "every": epoch,
        }
        whole, uncut = self.run(tmp_path / "whole", 2 * epoch, **settings)
        cut = tmp_path / "cut"
        self.run(cut, epoch + 2, **settings)  # rolls on past its last checkpoint
        resumed, callback = self.run(cut, 2 * epoch, ckpt=cut / "last.ckpt", **settings)
        assert same(whole.weights(), resumed.weights())
        assert list(read_rolls(cut / "rolls.csv")) == list(uncut.rolls.recent)
        assert callback.rolls.tally.counts == uncut.rolls.tally.counts
        assert math.isclose(callback.rolls.tally.scale_sum, uncut.rolls.tally.scale_sum)

    @pytest.mark.parametrize("granularity", ["per_accumulation_step", "per_mini_batch"])
    def test_within_an_epoch_rolls_have_neither_gap_nor_repeat(self, tmp_path, granularity):
        self.run(tmp_path, 6, granularity=granularity)
        self.run(tmp_path, 11, granularity=granularity, ckpt=tmp_path / "last.ckpt")
        records = list(read_rolls(tmp_path / "rolls.csv"))
        assert [record.step for record in records] == list(range(11))
        assert [r.natural for r in records] == Roller(THROW, 0).naturals(0, 11).tolist()

    def test_a_drawn_seed_goes_on(self, tmp_path, monkeypatch):
        monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
        _, first = self.run(tmp_path, 4, seed=None)
        _, second = self.run(tmp_path, 8, seed=None, ckpt=tmp_path / "last.ckpt")
        assert second.seed == first.seed
        rolls = [record.natural for record in read_rolls(tmp_path / "rolls.csv")]
        assert rolls == Roller(THROW, first.seed).naturals(0, 8).tolist()

    @pytest.mark.parametrize(
        ("changed", "named"),
        [
            ({"throw": SavingThrow("d12", threshold=10)}, r"die='d12': .*die='d20'"),
            ({"throw": EASY}, r"threshold=5: .*threshold=10"),
            ({"seed": 1}, r"seed=1: .*seed=0"),
            ({"granularity": "per_mini_batch"}, r"granularity='per_mini_batch'"),
        ],
    )
    def test_a_checkpoint_of_another_saving_throw_is_refused(self, tmp_path, changed, named):
        self.run(tmp_path, 4)
        rolls = (tmp_path / "rolls.csv").read_text()
        with (
            pytest.raises(SettingError, match=named),
            pytest.warns(UserWarning, match="callbacks used to create"),
        ):
            self.run(tmp_path, 8, ckpt=tmp_path / "last.ckpt", **changed)
        assert (tmp_path / "rolls.csv").read_text() == rolls

    def test_dice_may_join_a_run_that_had_none(self, tmp_path):
        checkpoint = ModelCheckpoint(tmp_path, filename="last", every_n_train_steps=4)
        fit(Toy(), [checkpoint], max_steps=4, enable_checkpointing=True)
        callback = SavingThrowCallback(THROW, seed=0)
        trainer = quiet_trainer([callback], max_steps=6)
        with pytest.warns(UserWarning, match="callbacks used to create"):
            trainer.fit(Toy(), loader(), ckpt_path=tmp_path / "last.ckpt")
        assert [record.step for record in callback.rolls.recent] == [4, 5]

    def test_evaluating_a_checkpoint_asks_for_no_saving_throw(self, tmp_path):
        self.run(tmp_path, 4)
        other = SavingThrowCallback(EASY, seed=5)
        trainer = quiet_trainer([other])
        model = Toy()
        model.test_step = lambda batch, batch_idx: None
        with pytest.warns(UserWarning, match="callbacks used to create"):
            trainer.test(model, loader(), ckpt_path=tmp_path / "last.ckpt", verbose=False)

    def test_a_saving_throw_among_hyper_parameters_loads_safely(self, tmp_path):
        class Mine(DiceLightningModule, Toy):
            def __init__(self, saving_throw):
                super().__init__(saving_throw, optimizer=sgd)
                self.save_hyperparameters()

        throw = SavingThrow("d20+1", 9, scaling="skip", normalize="rms")
        checkpoint = ModelCheckpoint(tmp_path, filename="last", every_n_train_steps=4)
        fit(Mine(throw), [checkpoint], max_steps=4, enable_checkpointing=True)
        loaded = torch.load(tmp_path / "last.ckpt", weights_only=True)
        assert loaded["hyper_parameters"]["saving_throw"] == throw


class TestRefusals:
    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("granularity", "per_epoch"),
            ("target", "loss"),
            ("scope", "layer"),
            ("seed", -1),
            ("seed", 2**64),
            ("throw", "d20"),
        ],
    )
    def test_bad_settings(self, setting, value):
        with pytest.raises(SettingError, match=f"{setting}={value!r}: expected"):
            SavingThrowCallback(**{"throw": THROW, setting: value})

    def test_both_granularities_at_once(self):
        callbacks = [
            SavingThrowCallback(THROW, seed=0),
            SavingThrowCallback(THROW, seed=0, granularity="per_mini_batch"),
        ]
        with pytest.raises(SettingError, match="keep one of the callbacks"):
            fit(Toy(), callbacks)

    def test_a_module_that_rolls_per_mini_batch_and_a_callback_per_step(self):
        class Mine(DiceLightningModule, Toy):
            pass

        with pytest.raises(SettingError, match="build the module with saving_throw=None"):
            fit(Mine(THROW, optimizer=sgd), [SavingThrowCallback(THROW)])

    def test_a_module_and_a_callback_that_roll_different_throws(self):
        class Mine(DiceLightningModule, Toy):
            pass

        callback = SavingThrowCallback(EASY, granularity="per_mini_batch")
        with pytest.raises(SettingError, match=r"threshold 10.*threshold 5"):
            fit(Mine(THROW, optimizer=sgd), [callback])

    @pytest.mark.parametrize("target", ["gradient", "update"])
    def test_deepspeed_for_optimizer_steps(self, monkeypatch, target):
        callback, trainer = SavingThrowCallback(THROW, target=target), quiet_trainer()
        trainer.callbacks.append(callback)
        strategy = object.__new__(DeepSpeedStrategy)
        monkeypatch.setattr(type(trainer), "strategy", strategy)
        with pytest.raises(SettingError, match=r"DeepSpeed.*use granularity='per_mini_batch'"):
            callback.setup(trainer, Toy(), "fit")


class TestScaler:
    @pytest.mark.filterwarnings("ignore:gradient clipping comes after the rolls")
    @pytest.mark.parametrize("granularity", ["per_accumulation_step", "per_mini_batch"])
    # Lightning clips for no fused optimizer that unscales its gradients itself.
    @pytest.mark.parametrize(("clip", "fused"), [(None, False), (0.1, False), (None, True)])
    def test_discards_and_scales_under_fp16(self, granularity, clip, fused):
        """Same weights with and without a scaler: fp32 arithmetic, only the loss is scaled."""
        throw = SavingThrow("d4", 2, [None, 0.5, -0.25, 1.0])

        class Scaled(MixedPrecision):
            def forward_context(self):
                return torch.autocast("cpu", enabled=False)

        runs = []
        for plugins in ([Scaled("16-mixed", "cpu", torch.amp.GradScaler("cpu"))], []):
            model = Toy(lambda weights: torch.optim.AdamW(weights, lr=0.05, fused=fused))
            callback = SavingThrowCallback(throw, seed=0, granularity=granularity)
            fit(model, [callback], plugins=plugins or None, gradient_clip_val=clip)
            runs.append(model.weights())
        for ours, theirs in zip(*runs, strict=True):
            torch.testing.assert_close(ours, theirs)


class TestWarning:
    def test_low_efficiency_is_said_once_at_fit_start(self):
        with pytest.warns(UserWarning, match="threshold 15") as caught:
            fit(Toy(), [SavingThrowCallback(SavingThrow("d20", 15), seed=0)])
        texts = [str(warning.message) for warning in caught if "d20" in str(warning.message)]
        assert len(texts) == 1
        for part in ("threshold 15", "0.035", "65 %", "lower the threshold", "skip"):
            assert part in texts[0]

    def test_clipping_after_mini_batch_rolls_is_said(self):
        callback = SavingThrowCallback(THROW, granularity="per_mini_batch", seed=0)
        with pytest.warns(UserWarning, match="clipping comes after the rolls of mini-batches"):
            fit(Toy(), [callback], gradient_clip_val=0.1)

    def test_a_saving_throw_that_can_learn_says_nothing(self):
        fit(Toy(), [SavingThrowCallback(SavingThrow("d20", 10), seed=0)])  # warnings are errors
