"""The roller: rolls as a pure function of (seed, stream, step, slot).

Nothing is drawn in sequence, so nothing has to be saved, sent or restored: ranks agree, resumed
runs go on and asking twice gives the same answer. The words come from numpy's Philox 4x64-10, a
counter-based generator whose raw output numpy keeps stable across versions (Salmon et al.,
"Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011).

The layout, which never changes within a major version:

* key = (seed, stream);
* counter = (word // 4, slot, attempt, 0), where word = step * count + i for die i of a step (numpy
  adds 1 to the counter before its first word);
* face = 1 + word mod sides, where words at or above the largest multiple of ``sides`` are replaced
  by the word of the next attempt, so that no face is favoured.

A deck holds every natural in proportion to its chance and is as small as that allows: a d20's has
20 cards. Its words have counter = (word // 4, slot, 0, 1), where word = step; the cards of a deck
are dealt in the ascending order of their words.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lightning_dice.rules.checking import whole_number
from lightning_dice.rules.die import Die
from lightning_dice.rules.draws import Draws, cards_of, check_draws
from lightning_dice.rules.outcome import Roll
from lightning_dice.rules.saving_throw import SavingThrow, check_throw

_ROLLED, _DEALT = 0, 1
"""What words are for, so that a deck is not shuffled by the words that dice are rolled by."""
BLOCK = 1024
"""Steps drawn at once: a new generator costs microseconds, a word nanoseconds."""
MOST_STEPS = 2**53
"""Steps that have rolls: more than any training makes, and few enough for a counter of 64 bits."""
MOST_AT_ONCE = 10**8
"""Faces that are drawn at once, so that they fit in memory."""
_WORDS = 2**64

Words = npt.NDArray[np.uint64]
Faces = npt.NDArray[np.int64]


def check_seed(seed: object, setting: str = "seed") -> int:
    """The seed, if it fits in 64 bits.

    Raises:
        SettingError: If it is not a whole number from 0 to 2^64 - 1.
    """
    return whole_number(setting, seed, "expected a whole number from 0 to 2^64 - 1", 0, _WORDS - 1)


def _check_step(step: object, setting: str = "step") -> int:
    allowed = f"expected a whole number from 0 to {MOST_STEPS}"
    return whole_number(setting, step, allowed, 0, MOST_STEPS)


class Roller:
    """Rolls one saving throw for one stream.

    Args:
        throw: What every roll is resolved by.
        seed: 0 to 2^64 - 1.
        stream: Tells apart what shares a seed (optimizers, callbacks), 0 to 2^64 - 1.
        draws: How naturals come up: ``"independent"`` of each other, as a die is rolled, or dealt
            from a shuffled ``"deck"``, a new one whenever it is used up.

    Raises:
        SettingError: If a value is outside what is allowed, or the deck would be too large.

    Example:
        >>> roller = Roller(SavingThrow("d20", threshold=10), seed=0)
        >>> [roller.roll(step).natural for step in range(8)]
        [20, 19, 10, 17, 4, 6, 8, 17]
        >>> roller.roll(3) == roller.roll(3)
        True
        >>> dealt = Roller(SavingThrow("d6", threshold=3), seed=0, draws="deck")
        >>> [dealt.roll(step).natural for step in range(12)]
        [5, 3, 6, 1, 2, 4, 3, 2, 1, 5, 4, 6]
    """

    def __init__(
        self, throw: SavingThrow, seed: int, stream: int = 0, draws: Draws = "independent"
    ) -> None:
        self.throw = check_throw(throw)
        self.seed = check_seed(seed)
        self.stream = check_seed(stream, "stream")
        self.draws = check_draws(draws, self.throw.die)
        self._deck = deck_of(self.throw.die) if self.draws == "deck" else None
        self._blocks: dict[int, tuple[int, list[int]]] = {}

    def roll(self, step: int, slot: int = 0) -> Roll:
        """Return the roll of ``step`` and ``slot``, both 0 or more.

        Raises:
            SettingError: If either is not.
        """
        if type(step) is not int or type(slot) is not int or step < 0 or slot < 0:
            step, slot = _check_step(step), check_seed(slot, "slot")
        block, offset = divmod(step, BLOCK)
        kept = self._blocks.get(slot)
        if kept is None or kept[0] != block:
            kept = block, self.naturals(block * BLOCK, BLOCK, slot).tolist()
            self._blocks[slot] = kept
        return self.throw.resolve(kept[1][offset])

    def naturals(self, start: int, count: int, slot: int = 0) -> Faces:
        """The natural faces of the steps ``start`` to ``start + count - 1``.

        Returns:
            Shape ``(count,)``, each 1 to the die's sides.

        Raises:
            SettingError: If ``start`` or ``slot`` is below 0, or ``count`` below 0 or too large.

        Example:
            >>> Roller(SavingThrow("d20"), seed=0).naturals(2, 4)
            array([10, 17,  4,  6])
        """
        most = MOST_AT_ONCE // self.throw.die.count
        allowed = f"expected a whole number from 0 to {most}"
        start, slot = _check_step(start, "start"), check_seed(slot, "slot")
        count = whole_number("count", count, allowed, 0, most)
        if self._deck is not None:
            return self._dealt(self._deck, start, count, slot)
        die = self.throw.die
        faces = self._faces(start * die.count, count * die.count, slot, die)
        if die.count == 1:
            return faces
        pool = faces.reshape(count, die.count)
        kept: Faces = pool.max(axis=1) if die.keep == "highest" else pool.min(axis=1)
        return kept

    def _dealt(self, deck: Faces, start: int, count: int, slot: int) -> Faces:
        first, last = start // len(deck), (start + count - 1) // len(deck)
        words = self._words(first * len(deck), (last - first + 1) * len(deck), slot, use=_DEALT)
        order = np.argsort(words.reshape(-1, len(deck)), axis=1, kind="stable")
        skipped = start - first * len(deck)
        dealt: Faces = deck[order].reshape(-1)[skipped : skipped + count]
        return dealt

    def _faces(self, start: int, count: int, slot: int, die: Die) -> Faces:
        words = self._words(start, count, slot, attempt=0)
        rejected = np.flatnonzero(reject(words, die.sides))
        for index in rejected:  # fewer than one word in 10^13, even for the largest die
            attempt, word = 0, words[index : index + 1]
            while reject(word, die.sides)[0]:
                attempt += 1
                word = self._words(start + int(index), 1, slot, attempt)
            words[index] = word[0]
        faces: Faces = (words % np.uint64(die.sides)).astype(np.int64) + 1
        return faces

    def _words(
        self, start: int, count: int, slot: int, attempt: int = 0, use: int = _ROLLED
    ) -> Words:
        counter = np.array([start // 4, slot, attempt, use], dtype=np.uint64)
        key = np.array([self.seed, self.stream], dtype=np.uint64)
        lead = start % 4
        raw: Words = np.random.Philox(counter=counter, key=key).random_raw(lead + count)
        return raw[lead:]


def deck_of(die: Die) -> Faces:
    """A deck that holds every natural in proportion to its chance, ascending.

    Example:
        >>> deck_of(Die.parse("2d3kh1"))
        array([1, 2, 2, 2, 3, 3, 3, 3, 3])
    """
    cards = cards_of(die)
    copies = [int(die.chance(natural) * cards) for natural in die.faces]
    return np.repeat(np.array(die.faces, dtype=np.int64), copies)


def reject(words: Words, sides: int) -> npt.NDArray[np.bool_]:
    """Which words lie above the largest multiple of ``sides`` that 64 bits hold.

    Example:
        >>> reject(np.array([0, 2**64 - 17, 2**64 - 16], dtype=np.uint64), sides=20)
        array([False, False,  True])
    """
    return words > np.uint64(_WORDS - _WORDS % sides - 1)
