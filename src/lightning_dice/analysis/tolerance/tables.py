"""The tables as files: data for programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lightning_dice.analysis.sweep.arms import DICE, Arm
from lightning_dice.analysis.sweep.gather import COLUMNS
from lightning_dice.analysis.tolerance.layout import plain_mean, rate_of
from lightning_dice.analysis.tolerance.study import Tolerance

_OWN = {"mean_scale": "E[s]"}


def tables(study: Tolerance) -> dict[str, pd.DataFrame]:
    """Each table by its name.

    The first four have the optimizer, its clipping and its other settings in columns before their
    own; a cell is empty where it means nothing.
    """
    left_out = pd.DataFrame(study.sweep.left_out, columns=["path", "reason", "detail"])
    return {
        "curves": _curves(study),
        "breakdown": _of_families(study, study.breakdowns),
        "areas": _of_families(study, study.areas.rename(columns={"mean": "area"})),
        "ranking": _ranking(study),
        "pairs": _pairs(study),
        "left_out": left_out,
    }


def _curves(study: Tolerance) -> pd.DataFrame:
    cells = [study.sweep.arm_cells(int(arm)) for arm in study.curves["arm"]]
    arms = pd.DataFrame(cells, columns=[*COLUMNS]).replace({"control": {DICE: "dice"}})
    own = study.curves.drop(columns=["subject", "arm"])
    return _beside(study, study.curves["subject"], arms.astype({"threshold": "Int64"}), own)


def _of_families(study: Tolerance, table: pd.DataFrame) -> pd.DataFrame:
    cells = [_family(study, study.families[int(family)].arm) for family in table["family"]]
    columns = [name for name in COLUMNS if name not in ("control", "threshold")]
    own = table.drop(columns=["subject", "family"])
    return _beside(study, table["subject"], pd.DataFrame(cells, columns=columns), own)


def _family(study: Tolerance, arm: Arm) -> dict[str, Any]:
    return {**arm._asdict(), "scaling": study.sweep.scalings[arm.scaling]}


def _ranking(study: Tolerance) -> pd.DataFrame:
    ranked = study.ranking.table.set_index("subject").reindex(study.order)
    ranked = ranked.rename(columns={"mean": "score"})
    whole = dict.fromkeys(("n", "best_rank", "worst_rank"), "Int64")
    tuned = pd.DataFrame(
        {
            "lr": [rate_of(study, subject) for subject in study.order],
            "plain": [plain_mean(study, subject) for subject in study.order],
        }
    )
    return _beside(study, pd.Series(study.order), tuned, ranked.astype(whole))


def _pairs(study: Tolerance) -> pd.DataFrame:
    pairs = study.ranking.pairs
    named = {
        name: [study.subjects[int(place)].name for place in pairs[name]]
        for name in ("first", "second")
    }
    return pairs.assign(**named)


def _beside(study: Tolerance, subjects: pd.Series[int], *parts: pd.DataFrame) -> pd.DataFrame:
    """The columns of the subjects, and then others of the same rows."""
    who = pd.DataFrame(
        [study.subjects[int(place)]._asdict() for place in subjects],
        columns=["optimizer", "clipping", "settings"],
    )
    both = pd.concat([part.reset_index(drop=True) for part in (who, *parts)], axis="columns")
    return both.rename(columns=_OWN).replace({None: np.nan})
