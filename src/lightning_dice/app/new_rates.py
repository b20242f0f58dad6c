"""The settings of an optimizer that goes on from a checkpoint, where they were changed."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch.optim.lr_scheduler import LambdaLR
from typing_extensions import override

from lightning_dice.app.console import complain
from lightning_dice.rules import SettingError

Group = dict[str, Any]


class NewRates(Callback):
    """Lets a schedule of another length hold, and the changed settings of an optimizer.

    The optimizer's state in the checkpoint would replace them. A learning rate that is a function
    of the step is computed anew; another one in the middle of its schedule changes by the same
    factor as the one that the schedule began with.

    Args:
        renews: Whether the settings of the optimizer were changed. If not, a learning rate that
            goes on otherwise than it was to is told, as nobody asked for it.
    """

    def __init__(self, renews: bool) -> None:
        self._renews = renews
        self._wanted: list[list[Group]] = []

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Optimizers are made by now, and the checkpoint's state of them is not restored yet.
        self._wanted = [
            [{key: value for key, value in group.items() if key != "params"} for group in groups]
            for groups in (optimizer.param_groups for optimizer in trainer.optimizers)
        ]

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 0:
            return
        schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
        if self._renews:
            for optimizer, wanted in zip(trainer.optimizers, self._wanted, strict=True):
                for group, new in zip(optimizer.param_groups, wanted, strict=True):
                    _renew(group, new)
            for scheduler in schedulers:
                if hasattr(scheduler, "base_lrs"):
                    groups = scheduler.optimizer.param_groups
                    scheduler.base_lrs = [group.get("initial_lr", group["lr"]) for group in groups]
        for scheduler in schedulers:
            if isinstance(scheduler, LambdaLR):
                self._follow(scheduler)

    def _follow(self, scheduler: LambdaLR) -> None:
        """Compute the learning rates of this step, as the schedule may have another length now."""
        step, groups = scheduler.last_epoch, scheduler.optimizer.param_groups
        before = [group["lr"] for group in groups]
        rates = [
            base * factor(step)
            for base, factor in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
        ]
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate
        scheduler._last_lr = rates
        if not self._renews and rates != before:
            _tell(
                "note: the learning rate follows a schedule over all steps, whose number has "
                f"changed: it goes on at {rates[0]:.3g}, and was to go on at {before[0]:.3g}"
            )


@rank_zero_only
def _tell(line: str) -> None:
    complain(line)


def _renew(group: Group, new: Group) -> None:
    start = "initial_lr" if "initial_lr" in group else "lr"
    then, now = group.get(start), new.get(start)
    if then != now and then is not None and now is not None:
        if then == 0:
            remedy = "the checkpoint was trained with 0, from which no other follows; start anew"
            raise SettingError("optimizer.lr", float(now), remedy)
        group["lr"] = now if start == "lr" else group["lr"] * (now / then)
    group.update({key: value for key, value in new.items() if key != "lr"})
