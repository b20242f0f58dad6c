"""Which optimizer steps rest on nothing but discarded mini-batches."""

from __future__ import annotations


class Windows:
    """Tells whether every mini-batch that an optimizer step rests on was discarded.

    Mini-batches are counted from 0 over the whole training; a window is what was rolled for since
    the optimizer's last step, at the least the mini-batch at hand.

    Example:
        >>> windows = Windows()
        >>> windows.rolled(batch=0, discard=True)
        >>> windows.discarded(step=0, batch=0, optimizer=0)
        True
        >>> windows.rolled(batch=1, discard=False); windows.rolled(batch=2, discard=True)
        >>> windows.discarded(step=1, batch=2, optimizer=0)
        False
    """

    def __init__(self) -> None:
        self._last_rolled = -1
        self._last_kept = -1
        self._last_step: dict[int, tuple[int, int, bool]] = {}

    def rolled(self, batch: int, discard: bool) -> None:
        """Note what became of ``batch``, on all ranks together."""
        self._last_rolled = batch
        if not discard:
            self._last_kept = batch

    def discarded(self, step: int, batch: int, optimizer: int) -> bool | None:
        """Whether nothing was kept for the step ``step`` that ``optimizer`` takes in ``batch``.

        ``None`` if nothing was rolled for it: its gradients are none of ours. Asked again within
        one step (an optimizer that evaluates its closure many times), the answer stays the same.
        """
        last_step, last_batch, answer = self._last_step.get(optimizer, (-1, -1, False))
        if step == last_step:
            return answer
        before = min(last_batch, batch - 1)
        if self._last_rolled <= before:
            return None
        answer = self._last_kept <= before
        self._last_step[optimizer] = step, batch, answer
        return answer

    def foresees(self, step: int, batch: int, optimizer: int, discard: bool) -> bool:
        """Whether nothing will be kept for the step ``step``, before ``batch`` is computed.

        Args:
            step: As in ``discarded``, as are the following.
            batch: The mini-batch at hand, which may have been rolled for or not.
            optimizer: Which of the optimizers.
            discard: What will become of ``batch``.
        """
        last_step, last_batch, answer = self._last_step.get(optimizer, (-1, -1, False))
        if step == last_step:
            return answer
        kept = self._last_kept > min(last_batch, batch - 1)
        return not kept and discard
