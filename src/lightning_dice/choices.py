"""What a person chooses about dice, whatever they train with: checked early, and by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, get_args

from lightning_dice.rules import SavingThrow, SettingError
from lightning_dice.rules.checking import flag, one_of
from lightning_dice.rules.draws import Draws, check_draws
from lightning_dice.rules.roller import check_seed
from lightning_dice.rules.saving_throw import check_throw as check_throw
from lightning_dice.rules.values import copied_by_field
from lightning_dice.scope import NameFilter, Scope
from lightning_dice.steps import Target

Granularity = Literal["per_accumulation_step", "per_mini_batch"]
Ranks = Literal["shared", "independent"]

_WORDS = {"granularity": Granularity, "target": Target, "scope": Scope, "ranks": Ranks}
_SETTINGS = (
    "granularity",
    "target",
    "scope",
    "include",
    "exclude",
    "ranks",
    "draws",
    "seed",
)


@copied_by_field
@dataclass(frozen=True)
class Choices:
    """Everything that decides the rolls and what they do; its defaults are those of all adapters.

    Args:
        throw: Die, threshold and scaling: a saving throw, or its settings by name.
        granularity: What one roll belongs to in time.
        target: What is scaled.
        scope: What one roll belongs to in space.
        include: Patterns of the names of parameters that are rolled for; ``None`` includes all.
        exclude: Patterns of names that are not, included or not.
        ranks: Whether processes share the roll of a mini-batch.
        draws: How naturals come up.
        seed: 0 to 2^64 - 1; ``None`` leaves it to whoever trains.
        skip_discarded: Whether what a discarded update would have cost is left out.

    Raises:
        SettingError: If a value is outside what is allowed.

    Example:
        >>> Choices(SavingThrow("d6", 3), target="update").settings()["target"]
        'update'
    """

    throw: SavingThrow = field(default_factory=SavingThrow)
    _: KW_ONLY
    granularity: Granularity = "per_accumulation_step"
    target: Target = "gradient"
    scope: Scope = "model"
    include: Sequence[str] | None = None
    exclude: Sequence[str] | None = None
    ranks: Ranks = "shared"
    draws: Draws = "independent"
    seed: int | None = None
    skip_discarded: bool = False
    chosen: NameFilter = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "throw", check_throw(self.throw))
        for setting, allowed in _WORDS.items():
            words = get_args(allowed)
            word = one_of(setting, getattr(self, setting), words, f"expected {' or '.join(words)}")
            put(self, setting, word)
        chosen = NameFilter(self.include, self.exclude)
        put(self, "chosen", chosen)
        put(self, "include", chosen.include)
        put(self, "exclude", chosen.exclude)
        put(self, "draws", check_draws(self.draws, self.throw.die))
        put(self, "seed", None if self.seed is None else check_seed(self.seed))
        put(self, "skip_discarded", flag("skip_discarded", self.skip_discarded))

    def settings(self, **others: Any) -> dict[str, Any]:
        """What decides the rolls and what they do, as plain values, to be kept and compared.

        Args:
            **others: Values that take the place of these, such as the seed that was drawn.
        """
        own = {setting: getattr(self, setting) for setting in _SETTINGS}
        return {**self.throw.settings(), **own, **others}

    def check(self) -> None:
        """Refuse what cannot go together, whatever trains.

        Raises:
            SettingError: On settings that a mini-batch's roll cannot have, on rolls of its own for
                each rank's optimizer step, and on leaving out what is needed.
        """
        if self.skip_discarded:
            self._check_skip()
        if self.granularity == "per_mini_batch":
            whole = {"target": "gradient", "scope": "model", "include": None, "exclude": None}
            for setting, possible in whole.items():
                if getattr(self, setting) != possible:
                    raise SettingError(
                        setting,
                        getattr(self, setting),
                        "a mini-batch's roll scales its whole loss; use "
                        f"{setting}={possible!r}, or granularity='per_accumulation_step'",
                    )
        elif self.ranks == "independent":
            raise SettingError(
                "ranks",
                "independent",
                "a step that every rank scales in its own way leaves replicas that differ; use "
                "granularity='per_mini_batch', which scales losses before they are averaged",
            )

    def _check_skip(self) -> None:
        if self.granularity == "per_mini_batch":
            raise SettingError(
                "skip_discarded",
                True,
                "others of its window may be kept, so that a discarded mini-batch is computed; use "
                "granularity='per_accumulation_step'",
            )
        if self.target == "update":
            raise SettingError(
                "skip_discarded",
                True,
                "with target='update' the optimizer's state moves on where the update is "
                "discarded, and that takes the gradient; use target='gradient'",
            )
