"""Trains what the app has of the study as presets, and holds it against the study's rows.

    python experiments/verdict/presets.py trainer=gpu hydra/launcher=joblib

What has been trained is not trained again; with ``--no-train`` nothing is.
"""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import pandas as pd
from arms import PLAIN
from compare import Metric, metric_of
from scipy import stats

from lightning_dice.analysis.sweep.find import find_runs
from lightning_dice.analysis.sweep.reading import FINISHED
from lightning_dice.analysis.sweep.statistics import LEVEL

RESULTS = Path(__file__).parent / "results"
SEEDS = 5
LIMIT_S = 3600.0
"""Seconds that the runs of one preset may take together."""
QUIET = ("report=false", "checkpoints=false", "progress=false", "logger=none")


class Preset(NamedTuple):
    """A preset, or what it is to be compared with, and the arm of the study that it is.

    Attributes:
        experiment: Its name.
        changes: Further overrides, between spaces.
        regime: The regime it is of.
        base: The base optimizer.
        arm: The arm's name.
    """

    experiment: str
    changes: str
    regime: str
    base: str
    arm: str

    @property
    def overrides(self) -> list[str]:
        """For the command line.

        Example:
            >>> Preset("scarce_text", "control=plain", "manual", "adamw", "plain").overrides
            ['experiment=scarce_text', 'control=plain']
        """
        return [f"experiment={self.experiment}", *self.changes.split()]

    @property
    def name(self) -> str:
        """What it and its folder are called."""
        return f"{self.experiment}-{self.arm}"


T5, T10 = "t5-skip-tensor-update-hidden", "t10-skip-tensor-update-hidden"
DECAY = "control=plain optimizer.weight_decay=0.3"
PRESETS = (
    Preset("scarce_text", "", "manual", "adamw", T5),
    Preset("scarce_text", "control=plain", "manual", "adamw", PLAIN.name),
    Preset("scarce_text", DECAY, "manual", "adamw", "decay-0.3"),
    Preset("many_passes", "", "manual_long", "rmsprop", T10),
    Preset(
        "many_passes", "control=plain optimizer.lr=0.0005", "manual_long", "rmsprop", PLAIN.name
    ),
    Preset("scarce_images", "", "fashion", "adamw", "t5-margin-tensor-update-hidden"),
    Preset("scarce_images", "control=plain optimizer.lr=0.016", "fashion", "adamw", PLAIN.name),
    Preset("scarce_images", DECAY, "fashion", "adamw", "decay-0.3"),
    Preset("wrong_labels", "", "fashion_noisy", "adamw", "t5-margin-model-update-all"),
    Preset("wrong_labels", "control=plain", "fashion_noisy", "adamw", PLAIN.name),
    Preset("pretrained", "", "reviews", "adamw", T10),
    Preset("pretrained", "control=plain", "reviews", "adamw", PLAIN.name),
)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("overrides", nargs=-1, metavar="[OVERRIDE]...")
@click.option("--runs", default="multirun/presets", type=click.Path(path_type=Path))
@click.option("--train/--no-train", default=True, help="Or only read what there is.")
@click.option("--out", default=RESULTS, type=click.Path(path_type=Path), show_default=True)
def main(overrides: tuple[str, ...], runs: Path, train: bool, out: Path) -> None:
    """Write presets.csv, a row a run, and show the table."""
    for preset in PRESETS if train else ():
        trained(preset, runs / preset.name, overrides)
    ends = pd.concat([read(preset, runs / preset.name) for preset in PRESETS])
    ends.to_csv(out / "presets.csv", index=False, float_format="%.6g")
    click.echo(table(ends, pd.read_csv(RESULTS / "tables" / "arms.csv")))


def trained(preset: Preset, folder: Path, overrides: tuple[str, ...]) -> None:
    """Train the seeds of a preset that are not there yet.

    Raises:
        subprocess.SubprocessError: If one of them fails, or they take longer than ``LIMIT_S``.
    """
    sweep = [f"seed=range(0,{SEEDS})", f"hydra.sweep.dir='{folder}'"]
    command = [sys.executable, "-m", "lightning_dice.app", "-m", *preset.overrides, *QUIET]
    command += [*sweep, *overrides]
    subprocess.run(command, check=True, timeout=LIMIT_S)  # noqa: S603 - our own command


def read(preset: Preset, folder: Path) -> pd.DataFrame:
    """What the runs of a preset came to.

    Args:
        preset: What they are of.
        folder: Of the runs, each in a folder of its own.

    Returns:
        ``preset``, ``seed``, ``value`` (by which the regime is measured), ``seconds`` and the
        versions, a row for each run that finished.
    """
    lines = []
    for _, _, run in find_runs([folder])[0]:
        if run["status"] == FINISHED:
            known = {name: run["versions"][name] for name in ("torch", "lightning", "python")}
            value = run["metrics"][run["task"]["metric"]]
            line = {"seed": run["seed"], "value": value, "seconds": run["wall_time"]}
            lines.append({"preset": preset.name} | line | known)
    return pd.DataFrame(lines)


def table(ends: pd.DataFrame, arms: pd.DataFrame) -> str:
    """The presets beside the study's arms, in Markdown.

    Args:
        ends: What ``read`` gives, of all presets.
        arms: The study's table of arms.

    Returns:
        For each preset both means with 95 % t intervals, and the p-value of their difference by
        Welch's test.
    """
    lines = [
        "| preset | arm | the study's ten seeds | preset, five seeds | p | seconds a run |",
        "|---|---|---|---|---|---|",
    ]
    for preset in PRESETS:
        metric = metric_of(preset.regime)
        own = ends[ends["preset"] == preset.name]
        key = [preset.regime, preset.base, preset.arm]
        row = arms[(arms[["regime", "base", "arm"]] == key).all(axis=1)].iloc[0]
        study = (row["test"], row["sd"], int(row["runs"]))
        here = (own["value"].mean(), own["value"].std(), len(own))
        p = stats.ttest_ind_from_stats(*study, *here, equal_var=False).pvalue
        called = " ".join([preset.experiment, *preset.changes.split()])
        cells = [f"`{called}`", preset.arm, _told(*study, metric), _told(*here, metric)]
        lines.append(f"| {' | '.join(cells)} | {p:.2f} | {own['seconds'].mean():.0f} |")
    return "\n".join(lines)


def _told(mean: float, deviation: float, count: int, metric: Metric) -> str:
    low, high = stats.t.interval(LEVEL, count - 1, mean, deviation / math.sqrt(count))
    values = (mean, low, high)
    if metric.sign > 0:
        return "{:.1f} % ({:.1f} to {:.1f})".format(*(100 * value for value in values))
    return "{:.3f} ({:.3f} to {:.3f})".format(*values)


if __name__ == "__main__":
    main()
