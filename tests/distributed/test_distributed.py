"""The same dice and the same weights, however many processes hold them and in whatever parts."""

import json
import pickle
import shutil
from itertools import pairwise

import pytest
from lightning.pytorch.loggers import CSVLogger

from distributed.cases import DDP, DICE, FOUR, LOOPS, SEED, STEPS, THROW, TWO
from distributed.group import start_script, train
from distributed.loops import WAYS
from distributed.reference import NEAR, by_hand, check, distance, one_process
from lightning_dice import SavingThrowCallback
from lightning_dice.records import read_rolls
from lightning_dice.rules import Roller
from support.toy import Toy, adamw, loader, quiet_trainer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SHARDED = ("ddp", "fsdp2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("distributed")


@pytest.fixture(scope="module")
def two(folder):
    return train(folder, 2, [*TWO, *LOOPS])


@pytest.fixture(scope="module")
def four(folder):
    return train(folder, 4, FOUR)


class TestTwoProcesses:
    @pytest.mark.parametrize("dice", [name for name in DICE if name != "mini_batch_apart"])
    @pytest.mark.parametrize("strategy", SHARDED)
    def test_they_do_what_one_does(self, two, strategy, dice):
        ranks = two[f"{strategy}-{dice}"]
        weights, rolls = one_process(DICE[dice])
        assert distance(check(ranks), weights) < NEAR
        assert [tuple(roll) for roll in ranks[0]["rolls"]] == rolls

    @pytest.mark.parametrize("dice", [name for name in DICE if name != "mini_batch_apart"])
    def test_so_do_two_that_share_every_tensor(self, two, dice):
        ranks = two[f"tp-{dice}"]
        weights, rolls = one_process(DICE[dice], hidden=6)
        assert distance(check(ranks), weights) < NEAR
        assert [tuple(roll) for roll in ranks[0]["rolls"]] == rolls

    @pytest.mark.parametrize("strategy", [*SHARDED, "tp"])
    def test_scale_one_changes_no_bit(self, two, strategy):
        assert check(two[f"{strategy}-ones"]) == check(two[f"{strategy}-plain"])

    @pytest.mark.parametrize("strategy", [name for name in DDP if name != "ddp"])
    @pytest.mark.parametrize("dice", ["gradient", "update", "mini_batch_apart"])
    def test_every_kind_of_ddp_does_the_same(self, two, strategy, dice):
        assert distance(check(two[f"{strategy}-{dice}"]), check(two[f"ddp-{dice}"])) < NEAR

    @pytest.mark.parametrize("strategy", SHARDED)
    def test_each_may_roll_for_its_own_mini_batch(self, two, strategy):
        ranks = two[f"{strategy}-mini_batch_apart"]
        assert distance(check(ranks), by_hand(2)) < NEAR
        roller = Roller(THROW, SEED)
        expected = [[b, 0, r, roller.roll(b, r).natural] for b in range(STEPS) for r in (0, 1)]
        assert ranks[0]["rolls"] == expected

    @pytest.mark.parametrize("strategy", SHARDED)
    def test_a_discarded_mini_batch_adds_nothing_even_if_it_is_no_number(self, two, strategy):
        assert check(two[f"{strategy}-nans"]) == check(two[f"{strategy}-mini_batch_apart"])

    @pytest.mark.parametrize("strategy", SHARDED)
    def test_windows_of_several_mini_batches(self, two, strategy):
        apart = check(two[f"{strategy}_pairs-mini_batch_apart"])
        assert distance(apart, by_hand(2, accumulate=2, epochs=2)) < NEAR
        weights, _ = one_process(
            DICE["update"], accumulate_grad_batches=2, gradient_clip_val=0.3, max_epochs=2
        )
        assert distance(check(two[f"{strategy}_pairs-update"]), weights) < NEAR

    @pytest.mark.parametrize("strategy", SHARDED)
    @pytest.mark.parametrize("window", [1, 2])
    def test_discarded_steps_left_out(self, two, strategy, window):
        ranks = two[f"{strategy}{'_pairs' if window > 1 else ''}-spared"]
        trainer = {"accumulate_grad_batches": 2, "max_epochs": 2} if window > 1 else {}
        weights, rolls = one_process({}, **trainer)
        assert distance(check(ranks), weights) < NEAR
        assert [tuple(roll) for roll in ranks[0]["rolls"]] == rolls
        discards = sum(THROW.resolve(natural).discard for *_, natural in rolls)
        assert 1 < discards < STEPS - 1
        assert [rank["left_out"] for rank in ranks] == [discards] * 2

    def test_nothing_is_sent_for_a_step_that_is_left_out(self, two):
        whole, spared = (two[f"ddp-{name}"][0]["messages"][-1] for name in ("gradient", "spared"))
        assert whole - spared == sum(
            THROW.resolve(natural).discard for *_, natural in two["ddp-spared"][0]["rolls"]
        )

    def test_a_parameter_that_no_loss_reaches_stays(self, two):
        for dice in ("mini_batch_apart", "update"):
            unused, *others = check(two[f"ddp_unused-{dice}"])
            assert unused == [1.0, 1.0]
            assert distance(others, check(two[f"ddp-{dice}"])) < NEAR

    def test_ranks_that_would_roll_apart_are_refused_on_all_of_them(self, two):
        for rank in two["ddp-seeds_apart"]:
            assert rank["error"].startswith("SettingError: seed=[6, 7]: the ranks differ")

    def test_some_have_shards_without_elements(self, two):
        assert [rank["empty"] for rank in two["fsdp2-update"]] == [0, 2]


@pytest.mark.parametrize("way", WAYS)
class TestWithoutALightningTrainer:
    def test_two_do_what_one_does_under_lightning(self, two, way):
        for name in DICE.keys() - {"ones", "mini_batch_apart"}:
            ranks = two[f"{way}-{name}"]
            weights, rolls = one_process(DICE[name])
            assert distance(check(ranks), weights) < NEAR, name
            assert [tuple(roll) for roll in ranks[0]["rolls"]] == rolls, name

    def test_each_may_roll_for_its_own_mini_batch(self, two, folder, way):
        ranks = two[f"{way}-mini_batch_apart"]
        assert distance(check(ranks), by_hand(2)) < NEAR
        rolls = list(read_rolls(folder / f"{way}-mini_batch_apart" / "rolls.csv"))
        written = [[r.batch, r.optimizer, r.slot, r.natural] for r in rolls]
        assert written == ranks[0]["rolls"], "by one of them"

    def test_dice_send_no_message(self, two, way):
        plain = two[f"{way}-plain"][0]["messages"]
        assert len(plain) == STEPS
        assert all(before < after for before, after in pairwise(plain))
        for name in DICE.keys() - {"ones"}:
            for rank in two[f"{way}-{name}"]:
                assert rank["messages"] == plain, name


@pytest.mark.parametrize("dice", ["update", "updates_of_tensors", "mini_batch_apart"])
@pytest.mark.parametrize("kind", ["whole", "sharded"])
def test_a_resumed_run_of_shards_ends_where_it_would_have(two, folder, kind, dice):
    straight, resumed = (f"fsdp2_{kind}-{dice}-{how}" for how in ("straight", "resumed"))
    assert check(two[resumed]) == check(two[straight])
    files = [folder / name / "rolls.csv" for name in (straight, resumed)]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.filterwarnings("ignore:Experiment logs directory")
@pytest.mark.parametrize("dice", ["update", "updates_of_tensors"])
def test_one_process_goes_on_where_two_with_shards_were(two, folder, tmp_path, dice):
    """The same rolls and the same weights as of one process that trained from the start."""
    two_began = folder / f"fsdp2_whole-{dice}-resumed"
    shutil.copytree(two_began, tmp_path / "run")  # its rolls after the checkpoint go
    epoch = {"max_steps": STEPS, "limit_train_batches": STEPS // 2}
    model, callback = Toy(adamw), SavingThrowCallback(THROW, seed=SEED, **DICE[dice])
    logger = CSVLogger(tmp_path, name="run", version="")
    trainer = quiet_trainer([callback], logger=logger, **epoch)
    trainer.fit(model, loader(), ckpt_path=two_began.with_suffix(".ckpt"))
    ours = [p.detach().double().flatten().tolist() for p in model.parameters()]
    weights, _ = one_process(DICE[dice], limit_train_batches=STEPS // 2)
    assert distance(ours, weights) < NEAR
    straight = folder / f"fsdp2_whole-{dice}-straight"
    files = [path / "rolls.csv" for path in (tmp_path / "run", straight)]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("strategy", ["ddp4", "fsdp2x4", "fsdp2x2_tp2"])
class TestFourProcesses:
    @pytest.mark.parametrize("dice", ["plain", "gradient", "updates_of_tensors", "mini_batch"])
    def test_they_do_what_one_does(self, four, strategy, dice):
        ranks = four[f"{strategy}-{dice}"]
        weights, rolls = one_process(DICE[dice], hidden=6 if "tp" in strategy else None)
        assert distance(check(ranks), weights) < NEAR
        assert [tuple(roll) for roll in ranks[0]["rolls"]] == rolls

    def test_each_replica_may_roll_for_its_own_mini_batch(self, four, strategy):
        apart = check(four[f"{strategy}-mini_batch_apart"])
        replicas, hidden = (2, 6) if "tp" in strategy else (4, None)
        assert distance(apart, by_hand(replicas, hidden=hidden)) < NEAR


@pytest.mark.parametrize("strategy", [*SHARDED, "tp"])
def test_dice_send_no_message(two, strategy):
    """Collectives between the first mini-batch and the end of each, DDP's own among them."""
    plain = two[f"{strategy}-plain"][0]["messages"]
    assert plain[0] > 0
    assert all(before < after for before, after in pairwise(plain))
    for dice in (name for name in DICE if f"{strategy}-{name}" in two):
        for rank in two[f"{strategy}-{dice}"]:
            assert rank["messages"] == plain, dice


def test_one_rank_writes_every_roll(two, folder):
    """The file has what every rank knows, and the slots are named as the module names them."""
    rolls = list(read_rolls(folder / "fsdp2-mini_batch_apart" / "rolls.csv"))
    assert [[r.batch, r.optimizer, r.slot, r.natural] for r in rolls] == two[
        "fsdp2-mini_batch_apart"
    ][0]["rolls"]
    slots = (folder / "fsdp2-updates_of_tensors" / "slots.csv").read_text().splitlines()
    names = [name for name, _ in Toy(adamw).named_parameters()]
    assert [line.split(",")[2] for line in slots[1:]] == names


def test_rolls_do_not_depend_on_the_number_of_processes(two, four):
    assert two["ddp-gradient"][0]["rolls"] == four["ddp4-gradient"][0]["rolls"]
    per_rank = {
        slot: [roll for roll in four["ddp4-mini_batch_apart"][0]["rolls"] if roll[2] == slot]
        for slot in range(4)
    }
    for slot in range(2):
        mine = [roll for roll in two["ddp-mini_batch_apart"][0]["rolls"] if roll[2] == slot]
        assert mine == per_rank[slot]


def test_the_reference_discards_and_inverts():
    scales = [Roller(THROW, SEED).roll(batch, rank).scale for batch in range(8) for rank in (0, 1)]
    assert {None, 0.5, -0.25, 1.0} == set(scales)


def test_what_is_sent_to_a_process_that_is_spawned_trains_as_what_was_made():
    sent = pickle.loads(pickle.dumps(SavingThrowCallback(THROW, seed=SEED, **DICE["update"])))
    model = Toy(adamw)
    quiet_trainer([sent], max_steps=STEPS).fit(model, loader())
    ours = [p.detach().double().flatten().tolist() for p in model.parameters()]
    assert ours == one_process(DICE["update"])[0]


@pytest.mark.parametrize("strategy", ["ddp", pytest.param("ddp_spawn", marks=pytest.mark.long)])
def test_a_program_whose_processes_lightning_starts(tmp_path, strategy):
    """Without a seed, one is drawn and shared: otherwise the replicas would differ."""
    start_script(tmp_path, strategy)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert len(list(read_rolls(tmp_path / "rolls.csv"))) == 10
