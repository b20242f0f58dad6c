"""Tolerance sweeps made by hand: several optimizers, of which each withstands so much."""

import math
from itertools import product

import numpy as np

from lightning_dice.rules import SavingThrow
from support.sweeps import ACCURACY, Folder, odds_of

BREAKS_AT = {
    "pure_sgd": 0.14,
    "sgd": 0.05,
    "adamw": 0.2,
    "rmsprop": 0.26,
    "adafactor": 0.1,
    "muon": 0.0,
}
"""The mean scale at which half of what could be learned is lost."""


def left_of(odds, middle):
    """A made-up truth: what is left of what plain learns, by the mean scale."""
    return 1 / (1 + math.exp(-25 * (odds["mean"] - middle)))


def write_tolerance(
    path,
    optimizers=("sgd", "adamw"),
    clips=(1.0,),
    thresholds=(2, 8, 14),
    scalings=("margin",),
    targets=("update",),
    seeds=range(5),
    spread=0.01,
    task=ACCURACY,
    points=1,
):
    """A whole sweep; the folder can be added to."""
    folder = Folder(path)
    random = np.random.default_rng(0)

    def final(left):
        noise = spread * random.standard_normal()
        if task["mode"] == "max":
            return float(np.clip(0.1 + 0.86 * left + noise, 0, 1))
        return float(3.5 - 1.8 * left + noise)

    for optimizer, clip, seed in product(optimizers, clips, seeds):
        settings = {} if len(clips) == 1 else {"trainer.gradient_clip_val": clip}
        more = {"optimizer": optimizer, "seed": seed, "settings": settings, "points": points}
        more |= {"task": task, "baseline": 0.1 if task == ACCURACY else 3.5}
        middle = BREAKS_AT[optimizer] + (0.04 if clip is None else 0)
        folder.add(final(1), control="plain", **more)
        for scaling, threshold in product(scalings, thresholds):
            throw = SavingThrow("d20", threshold, scaling)
            odds = odds_of(throw)
            if odds["mean"] > 0:
                folder.add(
                    final(1 - 0.1 * (1 - odds["mean"])), control="plain_mean", throw=throw, **more
                )
            for target in targets:
                folder.add(final(left_of(odds, middle)), throw=throw, target=target, **more)
    return folder
