"""A packed run is the run that a plain loop with attached dice makes."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from arms import PLAIN, Arm, named
from packed import How, Pack, Run, train
from torch.nn import functional as F  # noqa: N812 - its usual name

from lightning_dice.rules import SavingThrow
from support.plain_loop import OPTIMIZERS, plain_loop

LR = {"adamw": 0.003, "rmsprop": 0.001, "sgd": 0.05}
CLOSE = {
    f"{kind}_{of}"
    for kind in ("val", "train", "test", "best_val", "best_test")
    for of in ("loss", "accuracy")
}
ARMS = [
    Arm("", SavingThrow("d20", 10, scaling), target, scope, include)
    for scaling, target, scope, include in product(
        ("margin", "skip"), ("gradient", "update"), ("model", "tensor"), ("all", "hidden")
    )
]


def end_of(regime, base, runs, **kwargs):
    """The rows and the weights at the end."""
    kept = {}
    rows = train(
        regime, base, runs, "cpu", watch=lambda step, w: kept.update(weights=w.clone()), **kwargs
    )
    return rows, kept["weights"]


@pytest.mark.parametrize("base", OPTIMIZERS)
def test_packed_runs_end_where_plain_loops_do(base, images):
    runs = [Run(arm, LR[base], seed, 7 + seed) for seed, arm in enumerate([*ARMS, PLAIN])]
    _, weights = end_of(images, base, runs)
    start = torch.stack([images.network.initial(run.seed) for run in runs])
    assert ((weights - start).norm(dim=1) > 0.02).all()
    for run, row in zip(runs, weights, strict=True):
        torch.testing.assert_close(row, plain_loop(images, base, run), atol=1e-5, rtol=0)


def test_packed_runs_of_a_gpt_end_where_plain_loops_do(text):
    names = ("plain", "t10-skip-tensor-gradient-hidden", "deck:t5-margin-tensor-update-all")
    names += ("decay-1.0", "skipupdate", "gaussian:t10-skip-model-update-hidden")
    runs = [Run(named(name), 0.003, seed, seed) for seed, name in enumerate(names)]
    _, weights = end_of(text, "adamw", runs)
    for run, row in zip(runs, weights, strict=True):
        torch.testing.assert_close(row, plain_loop(text, "adamw", run), atol=1e-5, rtol=0)


def similar(row, other):
    assert row.keys() == other.keys()
    for name, value in row.items():
        if name == "curve":
            for point, same in zip(value, other[name], strict=True):
                assert [x is None for x in point] == [x is None for x in same]
                known = [x for x in same if x is not None]
                assert [x for x in point if x is not None] == pytest.approx(known, rel=1e-4)
        else:
            near = name in CLOSE and value is not None
            assert value == (pytest.approx(other[name], rel=1e-4) if near else other[name])


@pytest.mark.parametrize("kind", ["images", "text"])
def test_a_row_does_not_depend_on_the_pack(kind, request):
    regime = replace(request.getfixturevalue(kind), steps=20)
    names = ["plain", "t10-skip-tensor-gradient-hidden", "magma", "dropout-0.2", "decay-0.3"]
    runs = [Run(named(name), 0.01, seed=i % 2, dice_seed=i) for i, name in enumerate(names)]
    together = train(regime, "adamw", runs, "cpu")
    for run, row in zip(runs, together, strict=True):
        (alone,) = train(regime, "adamw", [run], "cpu", how=How(chunk=8))
        similar(alone, row)


def test_a_run_that_diverges_spoils_no_other(images):
    regime = replace(images, steps=20)
    good, bad = Run(PLAIN, 0.01, 0, 0), Run(PLAIN, 1e30, 1, 1)
    alone, (first, second) = (
        train(regime, "sgd", [good], "cpu"),
        train(regime, "sgd", [good, bad], "cpu"),
    )
    similar(first, alone[0])
    assert not first["diverged"]
    assert second["diverged"]
    assert second["val_loss"] is None


def test_normalising_by_the_mean_is_another_learning_rate(images):
    throw = SavingThrow("d20", 10, "skip")
    divided = SavingThrow("d20", 10, "skip", normalize="mean")
    arms = [Arm("own", throw, scope="tensor"), Arm("divided", divided, scope="tensor")]
    for base, lr in LR.items():
        runs = [Run(arms[0], lr / 0.4125, 0, 0), Run(arms[1], lr, 0, 0)]
        _, weights = end_of(images, base, runs)
        torch.testing.assert_close(weights[0], weights[1], atol=1e-5, rtol=0)


def test_a_row_says_what_was_run_and_seen(images, text):
    run = Run(named("plain-0.5"), 0.01, 3, 4)
    (row,) = train(images, "adamw", [run], "cpu")
    assert (row["arm"], row["steps"], row["seed"], row["dice_seed"]) == ("plain-0.5", 20, 3, 4)
    assert [point[0] for point in row["curve"]] == list(range(2, 21, 2))
    assert row["val_loss"] == row["curve"][-1][1]
    assert 0 <= row["test_accuracy"] <= 1
    (row,) = train(text, "rmsprop", [run], "cpu")
    assert row["test_accuracy"] is None
    assert row["best_test_loss"] is not None


@pytest.mark.parametrize("kind", ["images", "text"])
def test_the_best_along_the_way_is_of_what_a_regime_is_measured_by(kind, request):
    regime, run, weights = request.getfixturevalue(kind), Run(named("plain"), 0.3, 3, 4), {}
    (row,) = train(
        regime, "adamw", [run], "cpu", watch=lambda step, w: weights.update({step + 1: w.clone()})
    )
    losses, accuracies = ([point[column] for point in row["curve"]] for column in (1, 2))
    place = losses.index(min(losses)) if kind == "text" else accuracies.index(max(accuracies))
    step, loss, accuracy, _ = row["curve"][place]
    assert row["best_step"] == step
    assert (row["best_val_loss"], row["best_val_accuracy"]) == (loss, accuracy)
    pack = Pack(regime, "adamw", [run], torch.device("cpu"), regime.load(), How())
    scores = pack.scores(weights[step], regime.load().test)
    assert row["best_test_loss"] == pytest.approx(scores.loss.item(), rel=1e-5)


def test_scores_are_those_of_the_plain_module(images):
    data = images.load()
    runs = [Run(PLAIN, 0.01, seed, 0) for seed in (0, 1)]
    rows, weights = end_of(images, "adamw", runs)
    for row, own in zip(rows, weights, strict=True):
        module = images.network.build()
        views = images.network.layout.views(own.unsqueeze(0))
        module.load_state_dict({name: view[0] for name, view in views.items()})
        logits = module(data.test.inputs)
        loss = F.cross_entropy(logits, data.test.labels).item()
        assert row["test_loss"] == pytest.approx(loss, rel=1e-4)
        right = (logits.argmax(dim=1) == data.test.labels).float().mean().item()
        assert row["test_accuracy"] == pytest.approx(right)


def test_runs_of_a_pack_have_one_length(images):
    runs = [Run(PLAIN, 0.01, 0, 0), Run(named("plain-0.5"), 0.01, 0, 0)]
    with pytest.raises(ValueError, match="same number of steps"):
        train(images, "sgd", runs, "cpu")


def test_bfloat16_comes_to_about_the_same(text):
    run = Run(PLAIN, 0.01, 0, 0)
    (exact,), (rough,) = (
        train(text, "adamw", [run], "cpu", how=How(bf16=b)) for b in (False, True)
    )
    assert rough["val_loss"] == pytest.approx(exact["val_loss"], rel=0.02)
    assert rough["val_loss"] != exact["val_loss"]
