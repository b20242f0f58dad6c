"""The matrix: no cell that is neither exact nor refused without dice too.

A part of it, in which any values of any three axes meet; ``experiments/support-matrix`` has all.
"""

import itertools
import runpy
from pathlib import Path

import pytest

from matrix.cells import OPTIMIZERS, Cell, axes, every_cell, some_cells
from matrix.run import THROW, check, compare, fit, quiet

CELLS = some_cells()
STUDY = Path(__file__).parents[2] / "experiments" / "support-matrix"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_cell_is_exact_or_refused_without_dice_too(optimizer):
    with quiet():
        outcomes = {cell: check(cell) for cell in CELLS if cell.optimizer == optimizer}
    assert {cell: result for cell, result in outcomes.items() if result.status == "wrong"} == {}
    assert any(result.status == "exact" for result in outcomes.values())
    for cell, result in outcomes.items():
        if result.status == "refused":
            assert result.reason.startswith("without dice too: "), cell
        else:
            assert result.identical, cell
            assert result.error <= (1e-12 if cell.precision == "64-true" else 1e-6), cell


def test_any_values_of_any_three_axes_meet():
    def triples(cells):
        return {t for cell in cells for t in itertools.combinations(enumerate(cell), 3)}

    assert triples(CELLS) == triples(every_cell())
    assert [set(values) for values in zip(*CELLS, strict=True)] == [set(v) for v in axes("cpu")]


class TestTheMatrixCanFail:
    """What it is for: each of these ways to be wrong is seen."""

    CELL = Cell("gradient", "model", "AdamW", "32-true", "norm", 1, "automatic")

    def status(self, cell):
        with quiet():
            return check(cell).status

    def test_it_is_right_as_it_is(self):
        assert self.status(self.CELL) == "exact"

    def test_gradients_that_are_not_scaled(self, monkeypatch):
        monkeypatch.setattr("lightning_dice.scaled_gradients.scale_gradients", lambda parts: None)
        assert self.status(self.CELL) == "wrong"

    def test_a_discard_that_zeroes(self, monkeypatch):
        from lightning_dice.gradients import scale_gradients

        def zero(parts):
            scale_gradients([(parameters, scale or 0.0) for parameters, scale in parts])

        monkeypatch.setattr("lightning_dice.scaled_gradients.scale_gradients", zero)
        assert self.status(self.CELL) == "wrong"

    def test_a_scaled_gradient_in_place_of_a_scaled_update(self):
        diced = self.CELL._replace(target="gradient")
        with quiet():
            model = fit(diced, THROW, "cpu")
            error, _ = compare(diced._replace(target="update"), model)
        assert error > 1e-3

    def test_a_roll_before_the_clip(self, monkeypatch):
        from lightning_dice import SavingThrowCallback
        from lightning_dice.gradients import scale_gradients

        early = SavingThrowCallback.on_before_optimizer_step

        def naive(self, trainer, pl_module, optimizer):
            early(self, trainer, pl_module, optimizer)
            steps = self._attached._rolling.steps[0]
            scale_gradients(steps._rolled())
            steps.next({})

        monkeypatch.setattr(SavingThrowCallback, "on_before_optimizer_step", naive)
        assert self.status(self.CELL) == "wrong"

    def test_one_roll_for_all_slots(self):
        with quiet():
            model = fit(self.CELL, THROW, "cpu")
            error, _ = compare(self.CELL._replace(scope="tensor"), model)
        assert error > 1e-3


def test_the_page_shows_the_committed_results():
    page = runpy.run_path(str(STUDY / "page.py"))
    text = page["PAGE"].read_text(encoding="utf-8")
    assert page["render"](text) == text
    for device in ("cpu", "cuda"):
        rows = page["_read"](STUDY / f"{device}.csv")
        assert rows
        assert all(row["wrong"] == "0" for row in rows)
