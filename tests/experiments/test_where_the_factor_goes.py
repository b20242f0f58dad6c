"""The study does what its page says, and the page says what was measured."""

from __future__ import annotations

import csv
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "experiments" / "where-the-factor-goes"
PAGE = ROOT / "docs" / "where-the-factor-goes.md"
ARMS = ("naive", "gradient", "update")


class Results(list):
    """The rows of ``results.csv``."""

    def __init__(self, folder):
        with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
            super().__init__(csv.DictReader(file))

    def values(self, **wanted):
        rows = (row for row in self if all(row[key] == wanted[key] for key in wanted))
        found = [float(row["value"]) for row in rows]
        assert found, f"nothing was measured for {wanted}"
        return found

    def median(self, **wanted):
        return statistics.median(self.values(**wanted))

    def pairs(self, **wanted):
        """Scales with what was measured; a discard counts as 0."""
        rows = (row for row in self if all(row[key] == wanted[key] for key in wanted))
        return [(float(row["scale"] or 0), float(row["value"])) for row in rows]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    done = subprocess.run(
        [sys.executable, STUDY / "study.py", "--out", folder, "--seeds", "1", "--rolls", "8"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout
    assert "arning" not in done.stdout
    assert {path.name for path in folder.iterdir()} == {
        "results.csv",
        "results.json",
        "where-the-factor-goes.png",
    }
    return Results(folder)


@pytest.fixture(params=["fresh", "committed"])
def results(request):
    return Results(STUDY) if request.param == "committed" else request.getfixturevalue("fresh")


@pytest.mark.slow
@pytest.mark.parametrize("case", ["one step", "one step, clipped", "d20 run"])
def test_an_update_is_the_scale_whatever_the_optimizer(results, case):
    pairs = results.pairs(case=case, arm="update")
    assert {-1, 1} <= {round(scale / abs(scale)) for scale, _ in pairs if scale}
    for scale, made in pairs:
        assert made == pytest.approx(scale, abs=1e-5)


@pytest.mark.slow
def test_adamw_makes_a_step_forwards_of_every_scaled_gradient(results):
    for case in ("one step", "d20 run"):
        pairs = results.pairs(case=case, optimizer="AdamW", arm="naive")
        assert any(scale < 0 for scale, _ in pairs)
        assert all(made > 0 for _, made in pairs)
    assert results.median(case="one step", optimizer="AdamW", arm="naive", scale="0.25") > 0.9
    assert results.median(case="one step", optimizer="AdamW", arm="naive", scale="-0.5") > 0.5


@pytest.mark.slow
def test_adamw_divides_a_constant_factor_out_and_sgd_does_not(results):
    every = {"case": "every step", "scale": "0.25"}
    assert results.median(optimizer="AdamW", arm="naive", **every) == pytest.approx(1, abs=1e-3)
    for name, arm in (("AdamW", "update"), ("momentum SGD", "naive"), ("momentum SGD", "update")):
        assert results.median(optimizer=name, arm=arm, **every) == pytest.approx(0.25, abs=0.05)


@pytest.mark.slow
def test_clipping_leaves_the_sign_of_a_scaled_gradient_and_all_of_ours(results):
    for scale, made in results.pairs(case="one step, clipped", arm="naive"):
        assert made == pytest.approx((scale > 0) - (scale < 0), abs=1e-4)
    for scale, made in results.pairs(case="one step, clipped", arm="gradient"):
        assert made == pytest.approx(scale, abs=1e-5)


@pytest.mark.slow
def test_without_momentum_and_clipping_all_are_the_same(results):
    for scale, made in results.pairs(case="one step", optimizer="SGD"):
        assert made == pytest.approx(scale, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["AdamW", "momentum SGD"])
def test_a_gradient_of_zero_moves_weights_and_a_discard_does_not(results, optimizer):
    discards = {"case": "discards", "optimizer": optimizer}
    assert results.median(arm="naive", quantity="distance", step="20", **discards) > 5
    for arm in ("gradient", "update"):
        assert set(results.values(arm=arm, quantity="distance", **discards)) == {0}
        assert set(results.values(arm=arm, quantity="weights changed", **discards)) == {0}
    assert set(results.values(arm="gradient", quantity="state changed", **discards)) == {0}
    assert min(results.values(arm="update", quantity="state changed", **discards)) > 0


@pytest.mark.parametrize("path", [PAGE, STUDY / "README.md"], ids=["page", "card"])
def test_the_table_is_what_was_measured(path):
    results, shown = Results(STUDY), 0
    _, _, table = path.read_text(encoding="utf-8").partition("| case | optimizer | scale |")
    for line in table.partition("\n\n")[0].splitlines()[2:]:
        case, optimizer, scale, *numbers = (cell.strip() for cell in line.strip("|").split("|"))
        wanted = {"case": case, "optimizer": optimizer}
        if scale == "discard":
            wanted |= {"step": "20", "quantity": "distance"}
        else:
            wanted["scale"] = str(float(scale))
        for arm, number in zip(ARMS, numbers, strict=True):
            places = len(number.partition(".")[2])
            measured = results.median(arm=arm, **wanted)
            assert round(measured, places or None) == float(number), line
            assert places or not measured, "a number without decimals is exactly that"
            shown += 1
    assert shown == 33


@pytest.mark.parametrize("path", [PAGE, STUDY / "README.md"], ids=["page", "card"])
def test_the_text_says_what_the_run_with_a_d20_was(path):
    pairs = Results(STUDY).pairs(case="d20 run", arm="naive")
    inverse = [made for scale, made in pairs if scale < 0]
    assert all(made > 0 for made in inverse)
    text = " ".join(path.read_text(encoding="utf-8").split())
    assert f"{len(inverse)} of {len(pairs)} rolls reversed" in text
    assert f"median of {statistics.median(inverse):.2f} of the full step" in text
