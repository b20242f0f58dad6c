"""Counts of the steps and mini-batches of a loop, as seen from outside."""

from __future__ import annotations


class Clock:
    """Counts optimizer steps, and mini-batches where the loop's losses go through the dice.

    Attributes:
        step: Optimizer steps completed.
        batch: Mini-batches started; ``None`` if the loop never reports them.
        stepping: The index of the optimizer whose step is being made, or ``None``.
        halfway: Whether that step is made in stages, and waits for the next one.

    Example:
        >>> clock = Clock()
        >>> clock.evaluates(); clock.begin(0); clock.end(made=True)
        >>> clock.step, clock.at_hand
        (1, 0)
    """

    def __init__(self, step: int = 0, batch: int | None = None) -> None:
        self.step = step
        self.batch = batch
        self.stepping: int | None = None
        self.halfway = False
        self._evaluated = False  # a mini-batch was, within the step that is being made

    @property
    def at_hand(self) -> int:
        """The mini-batch at hand, or the last one; a loop that reports none has one per step."""
        return self.step if self.batch is None else max(0, self.batch - 1)

    @property
    def coming(self) -> tuple[int, int]:
        """Steps completed, and the mini-batch that the closure of a step evaluates."""
        return self.step, self.step if self.batch is None else self.batch

    def begin_mini_batch(self) -> None:
        """Count a mini-batch."""
        self.batch = (self.batch or 0) + 1

    def evaluates(self) -> None:
        """Count a mini-batch, however often a step evaluates it."""
        if not self._evaluated:
            self.begin_mini_batch()
        self._evaluated = self.stepping is not None

    def begin(self, index: int, *, halfway: bool = False) -> None:
        """Begin a step of an optimizer.

        Args:
            index: Which of the optimizers.
            halfway: Whether it is made in stages. What is evaluated between two of them is the
                mini-batch that the first stage was for.
        """
        self.stepping, self.halfway = index, halfway
        self._evaluated = halfway

    def end(self, made: bool) -> None:
        """End the step; one that was not made may be tried again, and is the same step then."""
        self.step += made
        self.stepping, self.halfway, self._evaluated = None, False, False
