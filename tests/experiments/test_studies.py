"""What is said of the studies is what they found."""

import csv
import importlib.util
from pathlib import Path

import pytest

from lightning_dice.records import RollRecord

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "experiments"


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestManyGPUs:
    page = load(STUDIES / "many-gpus" / "page.py")

    def test_the_page_has_the_newest_results(self):
        shown = self.page.PAGE.read_text(encoding="utf-8")
        assert self.page.render(shown) == shown
        assert shown.count("| fsdp2 | bf16-mixed |") == len(self.page.TARGETS)

    def test_replicas_were_the_same(self):
        table = self.page.table(STUDIES / "many-gpus" / "results-2").splitlines()[4:]
        cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]
        measured = [row for row in cells if len(row) > 3]
        assert len(measured) == 24
        assert {row[3] for row in measured} == {"0"}

    def test_dice_that_send_messages_have_no_table(self, tmp_path):
        rows = (STUDIES / "many-gpus/results-2/rows.jsonl").read_text().splitlines()
        changed = rows[1].replace('"messages": 19', '"messages": 20')
        assert changed != rows[1]
        (tmp_path / "rows.jsonl").write_text("\n".join([rows[0], changed, *rows[2:]]))
        (tmp_path / "machine.txt").write_text("a machine")
        with pytest.raises(ValueError, match=r"messages \[19, 20\]"):
            self.page.table(tmp_path)


class TestInterruptions:
    @pytest.mark.parametrize("each", [1, 4])
    def test_every_run_ended_as_the_one_that_nobody_killed(self, each):
        path = STUDIES / "interruptions" / f"kills-{each}-a-run.csv"
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 50
        assert {row["same_end"] for row in rows} == {"yes"}
        runs = len({row["run"] for row in rows})
        said = path.with_suffix(".txt").read_text(encoding="utf-8")
        assert said.startswith(f"50 kills of {runs} runs, 0 with another end; ")

    def test_what_is_not_the_same_is_named(self, tmp_path):
        """The comparison can fail."""
        import torch

        study = load(STUDIES / "interruptions" / "study.py")
        ours, theirs = tmp_path / "ours", tmp_path / "theirs"
        for folder in (ours, theirs):
            (folder / "checkpoints").mkdir(parents=True)
            state = {"weight": torch.ones(2), "step": 3, "betas": (0.9, 0.95)}
            saved = dict.fromkeys(("state_dict", "optimizer_states", "lr_schedulers"), state)
            torch.save({**saved, "global_step": 3}, folder / "checkpoints/last.ckpt")
            for name in ("rolls.csv", "metrics.csv"):
                (folder / name).write_text(",".join(RollRecord._fields))
        assert study.differences(ours, theirs) == []
        (ours / "rolls.csv").write_text("")
        state["weight"] = torch.tensor([1.0, 1.0 + 1e-6])
        saved = dict.fromkeys(("state_dict", "optimizer_states", "lr_schedulers"), state)
        torch.save({**saved, "global_step": 3}, ours / "checkpoints/last.ckpt")
        assert study.differences(ours, theirs) == [*saved, "rolls.csv"]
