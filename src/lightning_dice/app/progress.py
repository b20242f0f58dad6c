"""What a person sees while training runs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text
from typing_extensions import override

from lightning_dice.analysis.phrases import counted
from lightning_dice.callback import SavingThrowCallback
from lightning_dice.rules import Outcome, Roll
from lightning_dice.steps import Target
from lightning_dice.trainer_state import logs_now

COLOURS = {
    Outcome.CRITICAL_FAILURE: "bold red",
    Outcome.FAILURE: "yellow",
    Outcome.SUCCESS: "cyan",
    Outcome.CRITICAL_SUCCESS: "bold green",
}
PER_SECOND = 4


class DiceProgressBar(ProgressBar):
    """One bar for the whole training, and under it the last roll and running tallies.

    The picture is drawn by the clock, not by the step, so that it costs the training nothing. In a
    log file, or a notebook without ``ipywidgets``, where nothing can be redrawn, each validation
    leaves one plain line instead.

    Args:
        console: Where to draw; by default standard output, or the notebook.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[SavingThrowCallback(), DiceProgressBar()], logger=False,
        ...                   accelerator="cpu", enable_checkpointing=False)
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self._console = console or Console()
        self._enabled = True
        self._live: Live | None = None
        self._shown: dict[str, float] = {}

    @override
    def disable(self) -> None:
        self._enabled = False

    @override
    def enable(self) -> None:
        self._enabled = True

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            expand=True,
        )
        self._task = self._bar.add_task("training", total=_steps(trainer))
        if self._enabled and _redraws(self._console):
            self._live = Live(
                console=self._console,
                refresh_per_second=PER_SECOND,
                get_renderable=lambda: self._picture(trainer),
            )
            self._live.start()

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        # Metrics are read here, never in the drawing thread, which must not wait for a device.
        if logs_now(trainer):
            self._read_metrics(trainer)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._read_metrics(trainer)
        if self._enabled and self._live is None and trainer.state.fn == "fit":
            done, total = trainer.global_step, _steps(trainer)
            line = [Text(f"step {done}/{total or '?'}"), *self._words(trainer)]
            self._console.print(Text("  ").join(line), soft_wrap=True)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._stop()

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _read_metrics(self, trainer: Trainer) -> None:
        metrics = trainer.callback_metrics
        self._shown = {k: float(v) for k, v in metrics.items() if not k.startswith("dice")}

    def _picture(self, trainer: Trainer) -> RenderableType:
        self._bar.update(self._task, completed=trainer.global_step)
        return Group(self._bar, *self._words(trainer))

    def _words(self, trainer: Trainer) -> list[Text]:
        """A line each for the metrics, and for the last roll and the tallies of every throw."""
        metrics = "  ".join(f"{name} {value:.3f}" for name, value in self._shown.items())
        lines = [Text(metrics)] if metrics else []
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        for callback in callbacks:
            if isinstance(callback, SavingThrowCallback):
                lines += _dice(callback)
        return lines


def _redraws(console: Console) -> bool:
    """Whether what was drawn can be drawn over; in a notebook it takes a widget to do so."""
    if console.is_jupyter:
        return find_spec("ipywidgets") is not None
    return console.is_terminal


def _dice(callback: SavingThrowCallback) -> list[Text]:
    rolls, tally = callback.last_roll, callback.rolls.tally
    if all(factor == 1 for factor in callback.throw.factors):  # a control that trains without dice
        return [Text("no dice: every update in full")]
    if tally.mean_scale is None:
        return [Text("no roll yet")]
    counts = [
        Text(f"{str(outcome).replace('_', ' ')} {count}", COLOURS[outcome])
        for outcome, count in tally.counts.items()
    ]
    choices = callback.choices
    observed = Text(f"observed scale of {choices.target}s {tally.mean_scale:.3f}")
    tallies = Text("  ").join([*counts, observed])
    if rolls is None:  # the optimizer that stepped has no slot, or the run was just resumed
        return [tallies]
    if isinstance(rolls, list):
        return [_several(rolls, choices.scope), tallies]
    return [Text(describe(rolls, choices.target), COLOURS[rolls.outcome]), tallies]


def _several(rolls: Sequence[Roll], scope: str) -> Text:
    """The newest rolls of a scope with slots: how often each outcome came up, and their mean."""
    counts = {outcome: sum(roll.outcome == outcome for roll in rolls) for outcome in COLOURS}
    words = [
        Text(counted(count, str(outcome).replace("_", " ")), COLOURS[outcome])
        for outcome, count in counts.items()
        if count
    ]
    whose = counted(len(rolls), "tensor" if scope == "tensor" else "parameter group")
    mean = sum(roll.scale or 0.0 for roll in rolls) / len(rolls)
    text = Text(f"rolled for {whose}: ") + Text(", ").join(words)
    return text + Text(f"; mean scale {mean:.3g}")


def describe(roll: Roll, target: Target) -> str:
    """Describe a roll, and what it does to its target, in a few words.

    Example:
        >>> describe(Roll(17, 19, Outcome.SUCCESS, 0.95), "update")
        'rolled 17 (19): success, update times 0.95'
        >>> describe(Roll(5, 5, Outcome.FAILURE, -0.25), "gradient")
        'rolled 5: failure, gradient times -0.25'
        >>> describe(Roll(1, 1, Outcome.CRITICAL_FAILURE, None), "update")
        'rolled 1: critical failure, discard'
    """
    total = "" if roll.total == roll.natural else f" ({roll.total})"
    effect = "discard" if roll.scale is None else f"{target} times {roll.scale:.3g}"
    return f"rolled {roll.natural}{total}: {str(roll.outcome).replace('_', ' ')}, {effect}"


def _steps(trainer: Trainer) -> int | None:
    """Optimizer steps in all, where that is known."""
    total = trainer.estimated_stepping_batches
    return None if total == float("inf") else int(total)
