"""A LightningModule whose mini-batch losses are rolled for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.utilities import rank_zero_info

from lightning_dice.callback import SavingThrowCallback
from lightning_dice.choices import check_throw
from lightning_dice.rules import SavingThrow, ThrowSettings
from lightning_dice.rules.roller import check_seed

_OF_LIGHTNING = (
    "{} is a module of the package lightning; for a Trainer of pytorch_lightning derive it from "
    "lightning_dice.module.DiceModuleMixin and pytorch_lightning.LightningModule"
)


class DiceModuleMixin:
    """Mix-in that makes a module of any Lightning package bring its own dice.

    ``DiceLightningModule`` is this and a ``LightningModule`` of ``lightning``. A module for the
    Trainer of ``pytorch_lightning`` is ``class Mine(DiceModuleMixin, pytorch_lightning.\
LightningModule)``.

    Args:
        saving_throw: The saving throw that is rolled for each mini-batch, or its settings by name;
            ``None`` trains without dice.
        seed: As in ``SavingThrowCallback``.
        *args: Passed on, for classes with further bases.
        **kwargs: Passed on.

    Raises:
        SettingError: If ``saving_throw`` is neither; when training starts, if the Trainer has a
            callback that rolls another saving throw, or one with another granularity.
    """

    def __init__(
        self,
        saving_throw: SavingThrow | ThrowSettings | None = None,
        seed: int | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.saving_throw = None if saving_throw is None else check_throw(saving_throw)
        self.dice_seed = None if seed is None else check_seed(seed)

    def configure_callbacks(self) -> Sequence[Callback]:
        """Return the callback that rolls for this module, unless the Trainer has one.

        A subclass that overrides this hook returns its own callbacks and these.
        """
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        if self.saving_throw is None or any(isinstance(c, SavingThrowCallback) for c in callbacks):
            return []
        return [
            SavingThrowCallback(
                self.saving_throw, granularity="per_mini_batch", seed=self.dice_seed
            )
        ]


class DiceLightningModule(DiceModuleMixin, LightningModule):
    """Base class: write an ordinary ``training_step``, and its loss is rolled for.

    Every mini-batch has one roll, which scales the loss on its way into ``backward``; what
    ``training_step`` returns and logs stays the true loss. The module brings its
    ``SavingThrowCallback`` along, so that recording, metrics and resuming are the callback's own.
    Where the Trainer has one already, that one rolls, and each roll applies once.

    Args:
        saving_throw: The saving throw that is rolled for each mini-batch, or its settings by name;
            ``None`` trains without dice.
        seed: As in ``SavingThrowCallback``.
        **kwargs: Passed on, for classes with further bases.

    Raises:
        SettingError: If ``saving_throw`` is neither; when training starts, if the Trainer has a
            callback that rolls another saving throw, or one with another granularity.

    Example:
        >>> import torch
        >>> class Mine(DiceLightningModule):
        ...     def __init__(self, saving_throw=None):
        ...         super().__init__(saving_throw)
        ...         self.layer = torch.nn.Linear(8, 1)
        ...     def training_step(self, batch, batch_idx):
        ...         return self.layer(batch).square().mean()
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.1)
        >>> Mine(saving_throw=SavingThrow("d20", threshold=10)).saving_throw.threshold
        10
    """

    def __init__(
        self,
        saving_throw: SavingThrow | ThrowSettings | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(saving_throw, seed, **kwargs)
        if "pytorch_lightning" in sys.modules:
            rank_zero_info(_OF_LIGHTNING.format(type(self).__name__))
