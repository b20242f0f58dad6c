"""Names for runs: only what tells them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_dice.analysis.run import section
from lightning_dice.analysis.sweep.arms import DICE, UnreadableError, read_arm
from lightning_dice.analysis.sweep.labels import short_name
from lightning_dice.rules.controls import WITHOUT_DICE


def labels(summaries: Sequence[Mapping[str, Any]], paths: Sequence[str]) -> list[str]:
    """A name for each run.

    Args:
        summaries: Their ``summary.json``.
        paths: Their folders, for runs that nothing else tells apart.

    Example:
        >>> plain = {"control": {"name": "plain"}}
        >>> labels([{**plain, "seed": 0}, {**plain, "seed": 1}], ["a", "b"])
        ['plain, seed 0', 'plain, seed 1']
        >>> labels([plain, plain], ["a", "b"])
        ['plain, a', 'plain, b']
    """
    names = list(map(_name, summaries))
    columns = [
        [_thrown(summary, ", {}", "die") for summary in summaries],
        [_thrown(summary, ", {}", "scaling") for summary in summaries],
        [_thrown(summary, " on {}", "target") for summary in summaries],
        [f", {section(summary, 'task').get('optimizer')}" for summary in summaries],
        [f", seed {summary.get('seed')}" for summary in summaries],
        [f", {path}" for path in paths],
    ]
    for column in columns:
        longer = [name + more for name, more in zip(names, column, strict=True)]
        if len(set(longer)) > len(set(names)):
            names = longer
    return names


def _thrown(summary: Mapping[str, Any], said: str, name: str) -> str:
    """A setting of the dice in words; empty for a run without them."""
    if section(summary, "control").get("name") in WITHOUT_DICE:
        return ""
    return said.format(section(summary, "dice").get(name))


def _name(summary: Mapping[str, Any]) -> str:
    try:
        arm = read_arm(summary)
    except UnreadableError:
        return "run"
    return f"dice at {arm.threshold}" if arm.control == DICE else short_name(arm.control)
