"""How every number of the report is defined, a sentence each."""

from __future__ import annotations

from lightning_dice.analysis.phrases import counted
from lightning_dice.analysis.sweep.results import Results
from lightning_dice.analysis.sweep.statistics import MIN_SEEDS

_LEARNED = (
    "An arm has learned if its mean goes at least a tenth of the way from the baseline to the mean "
    "of plain in its context. Where no plain arm is surely better than the baseline, the worse end "
    "of the arm's own confidence interval must be (with fewer seeds, all of them). An arm of which "
    "more than half of the runs diverged did not learn."
)
_STANDING = (
    "At the top each arm with dice counts once: it did not learn, or it has too few seeds, or it "
    "is what its comparison with plain found."
)
ROUNDING = (
    "Metrics are logged in float32. Values that differ by less than its rounding, about half a "
    "millionth of themselves, are the same: they tie, and no test is made of such differences."
)
FEWEST = (
    f"With fewer than {MIN_SEEDS} seeds there is no interval, and with fewer than {MIN_SEEDS} "
    "pairs of seeds no test and no finding."
)
POSSIBLE = (
    "An interval ends where the metric does: an accuracy at 0 and 100 %, a loss at 0 unless some "
    "run was below."
)


def method(results: Results) -> list[str]:
    """The definitions."""
    size = results.family_size
    told = [
        "Runs are only compared within one context: the same data, model and optimizer, the same "
        "metric, and the same of every other setting but the dice's.",
        "An arm is what runs have in common that only their seed tells apart; its confidence "
        "interval is Student's t over the seeds, of the metric's last value.",
        POSSIBLE,
        FEWEST,
        ROUNDING,
        "Dice are compared with a control seed by seed: the difference is dice minus control, its "
        "confidence interval and p-value are those of the paired t test.",
        f"Holm's method corrects the p-values of all {counted(size, 'comparison')} of this report "
        "that could be tested; better and worse are said where the corrected p is under 0.05 and "
        "the interval, which is not corrected, excludes 0. Where only the interval does, dice may "
        "be better or worse, and that is not confirmed.",
        "The effect size (d_z) is the mean difference over the standard deviation of the "
        "differences.",
        "The detectable difference is the smallest one that so many pairs with this spread would "
        "show in 80 % of such sweeps, in a two-sided test at 0.05 without correction.",
        _LEARNED,
        _STANDING,
        "Dice are credited with a gain over plain only where they also beat every control that "
        "there is, among them the one with the same mean step, the Gaussian and the deck.",
        "Runs that finished without a value of the metric (it was NaN or infinite) have diverged: "
        "they are counted, but no mean can have them.",
    ]
    told += results.sweep.notes_on_targets
    tables = results.sweep.own_tables
    told += [f"The factors of {name}, by face: {factors}." for name, factors in tables.items()]
    return told
