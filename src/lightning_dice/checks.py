"""What a saving throw refuses of a Trainer, as early as it can be known, with the remedy."""

from __future__ import annotations

from collections.abc import Sequence

from lightning.pytorch import LightningModule, Trainer

from lightning_dice.choices import Choices
from lightning_dice.deepspeed_engine import uses_deepspeed
from lightning_dice.rules import SavingThrow, SettingError
from lightning_dice.trainer_state import takes_iterator


def check_setup(
    choices: Choices,
    granularities: Sequence[str],
    trainer: Trainer,
    pl_module: LightningModule,
) -> None:
    """Refuse what cannot be done right.

    Args:
        choices: The callback's own.
        granularities: Those of all saving throws in the Trainer.
        trainer: The Trainer.
        pl_module: The module to be trained.

    Raises:
        SettingError: On both granularities at once, on settings that mini-batches cannot have, on
            a module and a callback that disagree, on rolls for optimizer steps of DeepSpeed, and on
            skipping steps that only the module itself knows.
    """
    brought = getattr(pl_module, "saving_throw", None)
    if not isinstance(brought, SavingThrow):
        brought = None
    if len(set(granularities)) > 1 or (brought and "per_accumulation_step" in granularities):
        raise SettingError(
            "granularity",
            "per_mini_batch and per_accumulation_step",
            "both at once would roll twice for one gradient; keep one of the callbacks"
            + (", or build the module with saving_throw=None" if brought else ""),
        )
    if brought is not None and brought != choices.throw:
        raise SettingError(
            "saving_throw",
            str(brought),
            f"the callback rolls {choices.throw}; give both the same, or the module "
            "saving_throw=None",
        )
    choices.check()
    if choices.skip_discarded and not pl_module.automatic_optimization:
        raise SettingError(
            "skip_discarded",
            True,
            "only the module itself knows what a step of manual optimization computes; use "
            "automatic optimization, or leave it out",
        )
    if choices.skip_discarded and takes_iterator(pl_module):
        raise SettingError(
            "skip_discarded",
            True,
            "a training_step with dataloader_iter takes its batches itself, so a step that is "
            "skipped would leave them for the next one; take (batch, batch_idx), or leave it out",
        )
    if choices.granularity == "per_accumulation_step" and uses_deepspeed(trainer):
        raise SettingError(
            "granularity",
            choices.granularity,
            "DeepSpeed holds gradients in parts of its own, out of reach of a roll; use "
            "granularity='per_mini_batch', or strategy='fsdp' or 'ddp'",
        )
