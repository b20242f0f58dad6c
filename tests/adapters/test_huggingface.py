"""Dice in a HuggingFace Trainer: the rule, accumulation, scaler, clipping, resuming and logs."""

import json

import pytest
import torch
from transformers import TrainerCallback

from lightning_dice import SavingThrow
from lightning_dice.adapters.huggingface import SavingThrowTrainerCallback
from lightning_dice.records import read_rolls
from lightning_dice.rules import Roller, SettingError
from support import hf
from support.by_hand import EXACT, FULL, KINDS, SEED, THROW, apart, factor, leaves, train, windows
from support.toy import BATCHES, adamw, data, loss_of, momentum, network, same, sgd

TEN = SavingThrow("d20", threshold=10)


def where(kind):
    return {"granularity": kind} if kind == "per_mini_batch" else {"target": kind}


def dice(kind="gradient", throw=THROW, **settings):
    return SavingThrowTrainerCallback(throw, **{"seed": SEED, **where(kind), **settings})


def run(folder, callbacks=(), double=True, repeat=1, resume=None, **settings):
    """A training of the toy; in float64 a plain loop is matched to 12 digits."""
    settings.setdefault("kind", hf.DiceTrainer)
    trainer = hf.trainer(
        folder,
        callbacks,
        model=settings.pop("model", None) or hf.Regression(double),
        loader=hf.in_order(double, repeat),
        **settings,
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer


class TestTheRule:
    @pytest.mark.parametrize("factory", [momentum, adamw])
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_step_is_that_of_the_rule(self, tmp_path, kind, factory):
        callback = dice(kind)
        trainer = run(tmp_path, [callback], factory=factory)
        expected = train(factory, kind, windows([1] * BATCHES))
        assert apart(trainer.model.parameters(), expected) < EXACT
        scales = [factor(step) for step in range(BATCHES)]
        assert [record.scale for record in callback.rolls.recent] == scales
        assert list(read_rolls(tmp_path / "rolls.csv")) == list(callback.rolls.recent)

    @pytest.mark.parametrize("kind", KINDS)
    def test_windows_and_their_last_one_that_is_short(self, tmp_path, kind):
        """The Trainer divides a short window by what it has."""
        callback = dice(kind)
        settings = {"gradient_accumulation_steps": 5, "max_steps": -1, "num_train_epochs": 2}
        trainer = run(tmp_path, [callback], factory=momentum, **settings)
        expected = train(momentum, kind, windows([5, 5, 2], [5, 5, 2]))
        assert apart(trainer.model.parameters(), expected) < EXACT
        batches = [record.batch for record in callback.rolls.recent]
        ends = [4, 9, 11, 16, 21, 23]
        assert batches == (list(range(24)) if kind == "per_mini_batch" else ends)

    @pytest.mark.parametrize("kind", KINDS)
    def test_scale_one_changes_no_bit(self, tmp_path, kind):
        runs = []
        for callbacks in ([dice(kind, FULL)], []):
            state = torch.random.get_rng_state()
            trainer = run(tmp_path, callbacks, factory=adamw, double=False)
            runs.append((trainer.model, leaves(trainer.optimizer.state_dict())))
            torch.random.set_rng_state(state)
        assert same(runs[0][0].parameters(), runs[1][0].parameters())
        assert runs[0][1] == runs[1][1]

    @pytest.mark.parametrize("kind", ["gradient", "update"])
    def test_the_trainer_clips_first(self, tmp_path, kind):
        half = SavingThrow("d4", 2, [0.5] * 4)
        settings = {"max_grad_norm": 0.01, "max_steps": 1}
        trainer = run(tmp_path, [dice(kind, half)], factory=sgd, **settings)
        start = network().double()
        pairs = zip(trainer.model.parameters(), start.parameters(), strict=True)
        moved = torch.cat([(a - b).flatten() for a, b in pairs])
        assert moved.norm().item() == pytest.approx(0.1 * 0.5 * 0.01, rel=1e-3)

    @pytest.mark.parametrize("scope", ["param_group", "tensor"])
    def test_a_roll_for_each_slot_by_the_models_names(self, tmp_path, scope):
        callback = dice("update", scope=scope, include=["*.weight"])
        trainer = run(tmp_path, [callback], factory=momentum)
        places = {0: 0, 2: 0} if scope == "param_group" else {0: 0, 2: 2}
        names = [name for name, _ in trainer.model.named_parameters()]

        def scale(step, index):
            return factor(step, slot=places[index]) if index in places else 1.0

        twin = network().double()
        optimizer = momentum(twin.parameters())
        for step, (inputs, targets) in enumerate(data()):
            optimizer.zero_grad()
            loss_of(twin, (inputs.double(), targets.double())).backward()
            before = [p.detach().clone() for p in twin.parameters()]
            optimizer.step()
            with torch.no_grad():
                for index, (p, start) in enumerate(zip(twin.parameters(), before, strict=True)):
                    factored = scale(step, index)
                    p.copy_(start + factored * (p - start) if factored else start)
        assert apart(trainer.model.parameters(), twin.parameters()) < EXACT
        slots = (tmp_path / "slots.csv").read_text().split()[1:]
        assert slots == [f"0,{slot},{names[index]}" for index, slot in places.items()]


class Tokens(hf.Regression):
    """Sums its loss over items, and divides by as many as the window has, as language models do."""

    accepts_loss_kwargs = True

    def forward(self, inputs, labels, num_items_in_batch=None):
        errors = (self.net(inputs) - labels).square()
        return {"loss": errors.sum() / (num_items_in_batch or errors.numel())}


class TestLosses:
    """However a loss is normalised, a mini-batch's share is the scale times its own."""

    ACCUMULATE = 3

    def by_hand(self):
        net = network().double()
        optimizer = sgd(net.parameters())
        batches = [(inputs.double(), labels.double()) for inputs, labels in data()]
        for start in range(0, BATCHES, self.ACCUMULATE):
            window = range(start, start + self.ACCUMULATE)
            items = sum(batches[index][1].numel() for index in window)
            kept = [index for index in window if factor(index) is not None]
            optimizer.zero_grad()
            for index in kept:
                inputs, labels = batches[index]
                (factor(index) * (net(inputs) - labels).square().sum() / items).backward()
            if kept:
                optimizer.step()
        return net

    def check(self, folder, **settings):
        accumulate = {"gradient_accumulation_steps": self.ACCUMULATE, "max_steps": 4}
        trainer = run(folder, [dice("per_mini_batch")], factory=sgd, **accumulate, **settings)
        assert apart(trainer.model.parameters(), self.by_hand().parameters()) < EXACT

    def test_a_model_that_takes_the_number_of_items(self, tmp_path):
        self.check(tmp_path, model=Tokens(double=True))

    def test_a_loss_function_that_takes_it(self, tmp_path):
        def loss(outputs, labels, num_items_in_batch=None):
            return (outputs["predicted"] - labels).square().sum() / num_items_in_batch

        class Predicts(hf.Regression):
            def forward(self, inputs, labels=None):
                return {"predicted": self.net(inputs)}

        self.check(tmp_path, model=Predicts(double=True), more={"compute_loss_func": loss})

    def test_a_model_that_takes_the_mean(self, tmp_path):
        self.check(tmp_path)

    def test_the_logged_loss_is_the_true_one_and_a_discard_may_be_no_number(self, tmp_path):
        discards = {index for index in range(BATCHES) if factor(index) is None}
        assert discards

        class Poisoned(hf.Regression):
            calls = 0

            def forward(self, inputs, labels):
                loss = super().forward(inputs, labels)["loss"]
                self.calls += 1
                return {"loss": loss * torch.nan if self.calls - 1 in discards else loss}

        poisoned = run(tmp_path, [dice("per_mini_batch")], model=Poisoned(double=True))
        clean = run(tmp_path, [dice("per_mini_batch")])
        assert same(poisoned.model.parameters(), clean.model.parameters())

        class FirstLoss(TrainerCallback):
            def on_log(self, args, state, control, logs=None, **kwargs):
                self.loss = logs.get("loss", 0) if state.global_step == 1 else self.loss

        first = FirstLoss()
        eighth = SavingThrow("d4", 2, [0.125] * 4)
        logs = {"logging_strategy": "steps", "logging_steps": 1}
        run(tmp_path, [dice("per_mini_batch", eighth), first], **logs)
        inputs, labels = data()[0]
        true = loss_of(network().double(), (inputs.double(), labels.double())).item()
        assert first.loss == pytest.approx(true, rel=1e-3)  # it may have been rounded


class TestGradientScaler:
    """accelerate keeps the optimizer's step from before, and puts it back with each of its own."""

    OVERFLOWS = (2, 5)

    def run(self, folder, callbacks, factory):
        class Overflows(hf.Regression):
            calls = 0

            def forward(self, inputs, labels):
                self.calls += 1
                factor = torch.inf if self.calls - 1 in TestGradientScaler.OVERFLOWS else 1
                return {"loss": super().forward(inputs, labels)["loss"] * factor}

        class Scaled(hf.DiceTrainer):
            def create_accelerator_and_postprocess(self):
                super().create_accelerator_and_postprocess()
                scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=1000)
                self.accelerator.scaler = scaler

        return run(folder, callbacks, double=False, kind=Scaled, model=Overflows(), factory=factory)

    @pytest.mark.parametrize("factory", [sgd, adamw])
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_step_that_is_left_out_takes_its_roll_with_it(self, tmp_path, kind, factory):
        callback = dice(kind)
        trainer = self.run(tmp_path, [callback], factory)
        naturals = [record.natural for record in callback.rolls.recent]
        assert naturals == Roller(THROW, SEED).naturals(0, BATCHES).tolist()
        net = network()
        optimizer = factory(net.parameters())
        for step, batch in enumerate(data()):
            if step in self.OVERFLOWS:
                continue
            scale = factor(step)
            optimizer.zero_grad()
            before = [p.detach().clone() for p in net.parameters()]
            if scale is None and kind != "update":
                continue
            ((scale if kind != "update" else 1) * loss_of(net, batch)).backward()
            optimizer.step()
            if kind == "update":
                with torch.no_grad():
                    for p, start in zip(net.parameters(), before, strict=True):
                        p.copy_(start + scale * (p - start) if scale else start)
        assert apart(trainer.model.parameters(), net.parameters()) < 1e-5

    def test_afterwards_the_optimizer_is_as_before(self, tmp_path):
        trainer = self.run(tmp_path, [dice()], sgd)
        optimizer = trainer.optimizer.optimizer
        assert not optimizer._optimizer_step_pre_hooks
        optimizer.step()


SAVES = {"save_strategy": "steps", "save_steps": 4, "save_only_model": False}


class TestResuming:
    @pytest.mark.parametrize("restore", [False, True])
    @pytest.mark.parametrize("kind", KINDS)
    def test_it_ends_as_if_it_had_not_been_interrupted(self, tmp_path, kind, restore):
        settings = {"factory": adamw, "restore_callback_states_from_checkpoint": restore}
        straight = run(tmp_path / "straight", [dice(kind)], repeat=2, max_steps=20, **settings)
        folder = tmp_path / "parts"
        run(folder, [dice(kind)], repeat=2, max_steps=10, **SAVES, **settings)
        callback = dice(kind)
        checkpoint = str(folder / "checkpoint-8")
        resumed = run(
            folder, [callback], repeat=2, max_steps=20, resume=checkpoint, **SAVES, **settings
        )
        assert same(resumed.model.parameters(), straight.model.parameters())
        paths = [tmp_path / name / "rolls.csv" for name in ("parts", "straight")]
        assert paths[0].read_text() == paths[1].read_text()
        (used,) = (c for c in resumed.callback_handler.callbacks if type(c) is type(callback))
        assert (used is callback) == (not restore), "the Trainer makes a new one if it is asked to"
        assert used.rolls.tally.rolls == 20
        assert used.settings == callback.settings

    def test_another_saving_throw_is_refused_unless_by_name(self, tmp_path):
        run(tmp_path, [dice(throw=TEN)], max_steps=4, **SAVES)
        twelve = SavingThrow("d20", threshold=12)
        with pytest.raises(SettingError, match=r"threshold=12: .* changes=\['threshold'\]"):
            run(tmp_path, [dice(throw=twelve)], resume=str(tmp_path / "checkpoint-4"))
        callback = dice(throw=twelve, changes=["threshold"])
        run(tmp_path, [callback], resume=str(tmp_path / "checkpoint-4"))
        assert callback.rolls.tally.rolls == 8
        assert [r.step for r in read_rolls(tmp_path / "rolls.csv")] == list(range(12))

    def test_a_checkpoint_that_was_made_without_dice(self, tmp_path):
        run(tmp_path, max_steps=4, **SAVES)
        callback = dice(throw=TEN)
        run(tmp_path, [callback], resume=str(tmp_path / "checkpoint-4"))
        naturals = [record.natural for record in callback.rolls.recent]
        assert naturals == Roller(TEN, SEED).naturals(4, 8).tolist()
        assert callback.rolls.since == 4

    def test_the_state_is_json_from_which_an_equal_callback_is_made(self):
        callback = SavingThrowTrainerCallback(
            THROW, target="update", scope="tensor", include=["*.weight"], seed=3, ordinal=1
        )
        state = json.loads(json.dumps(callback.state()))
        made = SavingThrowTrainerCallback.from_state(state)
        assert made.state() == callback.state()
        assert made.choices == callback.choices


class TestLogs:
    def test_rolls_are_in_the_history_beside_the_loss(self, tmp_path):
        callback = dice(throw=TEN)
        logs = {"logging_strategy": "steps", "logging_steps": 5}
        trainer = run(tmp_path, [callback], kind=hf.InOrder, **logs)
        rows = [row for row in trainer.state.log_history if "loss" in row]
        for row, steps in zip(rows, (5, 10), strict=True):
            records = list(callback.rolls.recent)[:steps]
            assert row["dice/mean_scale"] == pytest.approx(
                sum(r.scale or 0 for r in records) / steps
            )
            for outcome, count in callback.rolls.tally.counts.items():
                counted = sum(record.outcome is outcome for record in records)
                assert row[f"dice/{outcome}"] == counted <= count

    def test_with_the_mix_in_callbacks_that_came_before_see_them(self, tmp_path):
        class Before(TrainerCallback):
            seen = ()

            def on_log(self, args, state, control, logs=None, **kwargs):
                self.seen = (*self.seen, "dice/luck" in logs)

        before = Before()
        logs = {"logging_strategy": "steps", "logging_steps": 6}
        run(tmp_path, [before, dice(throw=TEN)], **logs)
        assert before.seen == (True, True, False), "the last one is the summary"


class TestSeeds:
    def test_none_takes_the_trainers(self, tmp_path):
        for seed in (0, 17):
            callback = dice(throw=TEN, seed=None)
            run(tmp_path, [callback], seed=seed)
            assert callback.settings["seed"] == seed

    def test_a_second_training_rolls_from_the_start(self, tmp_path):
        callback = dice(throw=TEN)
        for _ in range(2):
            run(tmp_path, [callback], max_steps=5)
            assert [r.step for r in callback.rolls.recent] == list(range(5))

    def test_a_training_that_failed_leaves_nothing_behind(self, tmp_path):
        class Fails(TrainerCallback):
            def on_step_end(self, *args, **kwargs):
                raise ArithmeticError("a cosmic ray")

        callback = dice(throw=TEN)
        trainer = hf.trainer(tmp_path, [callback, Fails()], kind=hf.DiceTrainer)
        for _ in range(2):
            with pytest.raises(ArithmeticError):
                trainer.train()
            assert callback.rolls.tally.rolls == 1

    @pytest.mark.parametrize("kind", [hf.InOrder, hf.DiceTrainer])
    def test_after_an_interruption_a_baseline_is_one(self, tmp_path, kind):
        class Interrupts(TrainerCallback):
            def on_step_end(self, *args, **kwargs):
                raise KeyboardInterrupt

        callback, interrupts = dice(throw=TEN), Interrupts()
        trainer = hf.trainer(tmp_path, [callback, interrupts], kind=kind)
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
        if kind is hf.InOrder:  # nobody tells a callback
            callback.remove()
        trainer.remove_callback(callback)
        trainer.remove_callback(interrupts)
        trainer.train()
        assert callback.rolls.tally.rolls == 1


class TestMixIn:
    def test_a_training_step_of_ones_own_is_rolled_for(self, tmp_path):
        class Own(hf.DiceTrainer):
            def training_step(self, model, inputs, num_items_in_batch=None):
                loss = self.compute_loss(model, inputs)
                self.accelerator.backward(loss)
                return loss.detach()

        callback = dice("per_mini_batch")
        run(tmp_path, [callback], kind=Own)
        assert callback.rolls.tally.rolls == 12

    def test_it_brings_its_dice(self, tmp_path):
        trainer = run(tmp_path, more={"saving_throw": THROW, "dice_seed": SEED})
        assert (
            apart(trainer.model.parameters(), train(sgd, "per_mini_batch", windows([1] * 12)))
            < EXACT
        )

    def test_unless_the_trainer_has_some(self, tmp_path):
        callback = dice("per_mini_batch")
        run(tmp_path, [callback], more={"saving_throw": THROW})
        assert callback.rolls.tally.rolls == 12

    def test_which_have_to_be_of_the_same_kind(self, tmp_path):
        with pytest.raises(SettingError, match=r"saving_throw=.*: both at once would roll twice"):
            run(tmp_path, [dice()], more={"saving_throw": THROW})


class TestRefusals:
    def test_mini_batches_without_the_mix_in(self, tmp_path):
        start = network()
        trainer = hf.trainer(tmp_path, [dice("per_mini_batch")])
        with pytest.raises(SettingError, match="class DiceTrainer"):
            trainer.train()
        assert same(trainer.model.parameters(), start.parameters())

    def test_mini_batches_that_go_on_without_the_mix_in(self, tmp_path):
        run(tmp_path, [dice("per_mini_batch")], max_steps=4, **SAVES)
        resumed = str(tmp_path / "checkpoint-4")
        with pytest.raises(SettingError, match="class DiceTrainer"):
            run(tmp_path, [dice("per_mini_batch")], kind=hf.InOrder, resume=resumed)

    def test_another_saving_throw_than_the_callbacks(self, tmp_path):
        with pytest.raises(SettingError, match=r"saving_throw=.*: the callback rolls d6"):
            run(tmp_path, [dice("per_mini_batch")], more={"saving_throw": TEN})

    def test_settings_that_do_not_go_together(self):
        with pytest.raises(SettingError, match="target='update': a mini-batch's roll scales"):
            dice("per_mini_batch", target="update")

    def test_deepspeed(self, tmp_path):
        inside = type("DeepSpeedOptimizerWrapper", (), {"__module__": "accelerate.utils.deepspeed"})
        trainer = hf.trainer(tmp_path)
        with pytest.raises(SettingError, match="DeepSpeed holds gradients in parts of its own"):
            dice().on_train_begin(
                trainer.args,
                trainer.state,
                trainer.control,
                model=trainer.model,
                optimizer=inside(),
            )

    def test_an_optimizer_that_steps_within_backward(self, tmp_path):
        kind = type("LayerWiseDummyOptimizer", (torch.optim.SGD,), {})
        with pytest.raises(SettingError, match="it steps while gradients are computed"):
            run(tmp_path, [dice()], factory=lambda parameters: kind(parameters, lr=0.1))

    def test_two_with_one_number(self, tmp_path):
        with pytest.raises(SettingError, match="ordinal=0: the optimizer has these dice already"):
            run(tmp_path, [dice(), dice()])

    def test_clipping_after_mini_batches_is_warned_of(self, tmp_path):
        with pytest.warns(UserWarning, match="max_grad_norm=0"):
            run(tmp_path, [dice("per_mini_batch")], max_grad_norm=1.0)
