"""Dice in use: rolls on demand, each recorded once."""

from __future__ import annotations

from collections.abc import Collection

from lightning_dice.records import RollLog, RollRecord
from lightning_dice.rules import Roll, Roller, SavingThrow
from lightning_dice.rules.draws import Draws


class Dice:
    """Rolls one saving throw for a training run and records every roll once.

    Optimizers have dice of their own, and so does each of several saving throws in one training;
    they share the seed and differ in their stream.

    Args:
        throw: What is rolled.
        seed: 0 to 2^64 - 1.
        log: Where rolls are recorded.
        ordinal: Tells apart several saving throws in one training; the first is 0.
        draws: How naturals come up, as in ``Roller``.

    Example:
        >>> dice = Dice(SavingThrow("d20", threshold=10), seed=0, log=RollLog())
        >>> dice.roll(1, step=1, batch=1) == dice.roll(1, step=1, batch=1)  # one step, one roll
        True
        >>> [roll.natural for roll in dice.newest], dice.log.tally.rolls
        ([19], 1)
    """

    def __init__(
        self,
        throw: SavingThrow,
        seed: int,
        log: RollLog,
        ordinal: int = 0,
        draws: Draws = "independent",
    ) -> None:
        self.throw = throw
        self.seed = seed
        self.log = log
        self.ordinal = ordinal
        self.draws: Draws = draws
        self.newest: list[Roll] = []
        self._rollers: dict[int, Roller] = {}
        self._rolled: dict[int, tuple[int, list[Roll]]] = {}

    def roll(
        self,
        key: int,
        *,
        step: int,
        batch: int,
        optimizer: int = 0,
        slots: Collection[int] = (0,),
    ) -> list[Roll]:
        """The rolls of ``key``, one a slot; asking again for the same key records nothing more.

        Args:
            key: What the rolls belong to: the index of an optimizer step or of a mini-batch.
            step: Optimizer steps completed so far, for the record.
            batch: Mini-batches completed so far, for the record.
            optimizer: Index of the optimizer that the rolls are for.
            slots: The slots that are rolled for.
        """
        known, rolls = self._rolled.get(optimizer, (-1, []))
        if known == key:
            return rolls
        roller = self._roller(optimizer)
        rolls = [roller.roll(key, slot) for slot in slots]
        for slot, roll in zip(slots, rolls, strict=True):
            self.log.append(RollRecord(step, batch, optimizer, slot, *roll))
        self._rolled[optimizer] = key, rolls
        self.newest = rolls or self.newest
        return rolls

    def scales(
        self, key: int, *, optimizer: int = 0, slots: Collection[int] = (0,)
    ) -> list[float | None]:
        """Return the scales of ``key``, one per slot, without rolling: nothing is recorded."""
        roller = self._roller(optimizer)
        return [roller.roll(key, slot).scale for slot in slots]

    def _roller(self, optimizer: int) -> Roller:
        roller = self._rollers.get(optimizer)
        if roller is None:
            stream = self.ordinal << 32 | optimizer
            roller = Roller(self.throw, self.seed, stream, self.draws)
            self._rollers[optimizer] = roller
        return roller
