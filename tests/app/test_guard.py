"""What ranks compare before they train: everything that one of them may have otherwise."""

from types import SimpleNamespace

import pytest

from lightning_dice.app import guard
from lightning_dice.app.guard import SameEverywhere
from lightning_dice.rules import SettingError

TWO = SimpleNamespace(world_size=2)
"""A Trainer of two processes."""


@pytest.mark.parametrize(
    "other", ["checkpoints=false", "optimizer.lr=0.5", "report=false", "trainer.devices=[1]"]
)
def test_any_difference_between_ranks_is_refused(composed, other, monkeypatch):
    """A rank that keeps checkpoints waits for ever for one that keeps none."""
    mine, theirs = SameEverywhere(composed(), 0), SameEverywhere(composed(other), 0)
    monkeypatch.setattr(guard, "gather", lambda own, _: [own, theirs._settings])
    with pytest.raises(SettingError, match=f"^{other.partition('=')[0]}="):
        mine.setup(TWO, None, "fit")


def test_only_one_rank_has_loggers(composed, monkeypatch):
    mine, theirs = SameEverywhere(composed(), 0), SameEverywhere(composed("logger=none"), 0)
    monkeypatch.setattr(guard, "gather", lambda own, _: [own, theirs._settings])
    mine.setup(TWO, None, "fit")
