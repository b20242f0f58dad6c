"""A LightningModule whose mini-batch losses are rolled for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule
from typing_extensions import override

from lightning_dice.callback import SavingThrowCallback
from lightning_dice.choices import check_throw
from lightning_dice.rules import SavingThrow


class DiceLightningModule(LightningModule):
    """Base class: write an ordinary ``training_step``, and its loss is rolled for.

    Every mini-batch has one roll, which scales the loss on its way into ``backward``; what
    ``training_step`` returns and logs stays the true loss. The module brings its
    ``SavingThrowCallback`` along, so that recording, metrics and resuming are the callback's own.
    Where the Trainer has one already, that one rolls, and each roll applies once.

    Args:
        saving_throw: What is rolled for each mini-batch; ``None`` trains without dice.
        seed: As in ``SavingThrowCallback``.
        **kwargs: Passed on, for classes with further bases.

    Raises:
        SettingError: When training starts, if the Trainer has a callback that rolls another saving
            throw, or one with another granularity.

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
        self, saving_throw: SavingThrow | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.saving_throw = None if saving_throw is None else check_throw(saving_throw)
        self.dice_seed = seed

    @override
    def configure_callbacks(self) -> Sequence[Callback]:
        """The callback that rolls for this module, unless the Trainer has one.

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
