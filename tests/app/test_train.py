"""A run from its configuration to its folder."""

import json
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger
from omegaconf import OmegaConf

from lightning_dice.app.metrics_file import metrics_file
from lightning_dice.app.models.cnn import ImageClassifier
from lightning_dice.app.summary import write_summary
from lightning_dice.app.train import _let_go
from lightning_dice.records import read_rolls
from lightning_dice.rules import Roller, SavingThrow, SettingError

FILES = {"config.yaml", "rolls.csv", "metrics.csv", "summary.json", "checkpoints", "report.html"}


def load(folder):
    return json.loads((folder / "summary.json").read_text())


def test_a_run_leaves_its_files(run, tmp_path):
    returned = run("report=true")
    folder = tmp_path / "run"
    assert {path.name for path in folder.iterdir()} >= FILES | {"plots"}
    summary = load(folder)
    assert summary == json.loads(json.dumps(returned))
    assert summary["status"] == "finished"
    assert summary["steps"] == 6
    assert summary["task"] == {
        "data": "digits",
        "model": "cnn",
        "optimizer": "sgd",
        "metric": "val_accuracy",
        "unit": "share right",
        "mode": "max",
    }
    assert summary["odds"]["mean"] == pytest.approx(129 / 400)
    assert summary["metrics"].keys() >= {"val_accuracy", "val_loss", "train_loss"}
    assert summary["baseline"]["name"] == "commonest digit"
    assert summary["versions"].keys() >= {"lightning_dice", "torch", "lightning", "python"}
    assert "transformers" not in summary["versions"]
    naturals = [record.natural for record in read_rolls(folder / "rolls.csv")]
    assert naturals == Roller(SavingThrow(), 0).naturals(0, 6).tolist()
    assert sum(summary["rolls"]["outcomes"].values()) == 6
    config = OmegaConf.load(folder / "config.yaml")
    assert config.dice.seed == 0, "the configuration is resolved"
    assert (folder / "checkpoints" / "last.ckpt").exists()
    assert (folder / "checkpoints" / "best.ckpt").exists()


def test_a_run_with_several_slots_says_what_they_are(run, tmp_path):
    summary = run("target=update", "scope=tensor", "dice.exclude=[*.bias]", "report=true")
    assert summary["dice"]["scope"] == "tensor"
    assert summary["dice"]["exclude"] == ["*.bias"]
    assert summary["rolls"]["count"] == 6 * 3
    folder = tmp_path / "run"
    assert (folder / "slots.csv").read_text().splitlines() == [
        "optimizer,slot,parameter",
        "0,0,network.0.weight",
        "0,1,network.3.weight",
        "0,2,network.8.weight",
    ]
    records = list(read_rolls(folder / "rolls.csv"))
    assert [(record.step, record.slot) for record in records] == [
        (step, slot) for step in range(6) for slot in range(3)
    ]
    assert (folder / "plots" / "slots.png").is_file()
    assert "one roll for each of 3 tensors at each update" in (folder / "report.html").read_text()


def test_the_last_step_is_validated(run):
    summary = run("trainer.max_steps=4")  # validation is due after every third
    assert summary["steps"] == 4
    again = run("trainer.max_steps=4", "trainer.val_check_interval=4", name="again")
    assert summary["metrics"]["val_loss"] == again["metrics"]["val_loss"]


def test_one_seed_is_one_result_and_another_is_another(run):
    first, second = run(name="a"), run(name="b")
    assert first["metrics"] == second["metrics"]
    assert run("seed=1", name="c")["metrics"] != first["metrics"]


def test_arms_of_one_seed_share_weights_and_data_order(run, tmp_path):
    """At a learning rate of 0 nothing but the dice differs, and dice do not touch the rest."""
    still = ["optimizer.lr=0.0"]
    easy = run("threshold=easy", *still, name="easy")
    other = run("threshold=hard", "scaling=skip", "dice.seed=9", *still, name="other")
    assert easy["metrics"] == other["metrics"]
    assert easy["rolls"] != other["rolls"]


def test_wandb_is_let_go_only_once_it_has_begun():
    ended = []

    class Experiment:
        def finish(self):
            ended.append(1)

    class FakeWandb(WandbLogger):
        def __init__(self, experiment):
            self._experiment = experiment

    for experiment in (None, Experiment()):
        _let_go(SimpleNamespace(loggers=[FakeWandb(experiment)]))
    assert ended == [1]


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch")
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
class TestResume:
    def test_in_the_same_folder(self, run, tmp_path):
        run()
        summary = run("ckpt_path=last", "trainer.max_steps=12", "report=true")
        assert summary["status"] == "finished"
        assert summary["steps"] == 12
        records = list(read_rolls(tmp_path / "run" / "rolls.csv"))
        assert [record.step for record in records] == list(range(12))
        header, *rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
        steps = [int(row.split(",")[header.split(",").index("step")]) for row in rows]
        assert steps == sorted(steps)
        assert {1, 3, 5, 7, 9, 11} <= set(steps)
        assert summary["rolls"]["count"] == 12

    def test_with_another_die_is_refused_and_nothing_is_lost(self, run, tmp_path):
        run()
        files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
        kept = {path: path.read_bytes() for path in files}
        with pytest.raises(SettingError, match=r"die='d12': the checkpoint was trained with die="):
            run("ckpt_path=last", "die=d12")
        assert {path: path.read_bytes() for path in files} == kept

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("model.channels=8", "holds another model"),
            ("trainer.precision=soft", "^trainer="),
            ("data.batch_size=5000", "data.batch_size=5000"),
        ],
    )
    def test_what_is_refused_leaves_the_run_alone(self, run, tmp_path, override, message):
        run()
        files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
        kept = {path: path.read_bytes() for path in files}
        with pytest.raises(SettingError, match=message):
            run("ckpt_path=last", override)
        assert {path: path.read_bytes() for path in files} == kept

    def test_the_last_step_is_saved(self, run, tmp_path):
        run("trainer.max_steps=4")  # validation, and with it a checkpoint, is due after the third
        run("ckpt_path=last", "trainer.max_steps=8")
        records = list(read_rolls(tmp_path / "run" / "rolls.csv"))
        assert [record.step for record in records] == list(range(8))
        header, *rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
        place, step = (header.split(",").index(name) for name in ("dice/mean_scale", "step"))
        steps = [row.split(",")[step] for row in rows if row.split(",")[place]]
        assert steps == ["1", "3", "5", "7"]

    def test_a_missing_checkpoint(self, run):
        with pytest.raises(SettingError, match=r"ckpt_path='last': there is no checkpoint at"):
            run("ckpt_path=last")

    def test_a_file_that_is_no_checkpoint(self, run, tmp_path):
        (tmp_path / "x.ckpt").write_text("not a checkpoint")
        with pytest.raises(SettingError, match="cannot be read as a checkpoint"):
            run(f"ckpt_path={tmp_path / 'x.ckpt'}")


def test_a_folder_that_holds_a_run_is_refused(run, tmp_path):
    run()
    before = (tmp_path / "run" / "summary.json").read_bytes()
    with pytest.raises(SettingError, match="holds a run already; choose another folder"):
        run("seed=1")
    assert (tmp_path / "run" / "summary.json").read_bytes() == before


def test_a_folder_that_cannot_be_made_is_refused(run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingError, match=r"hydra\.run\.dir=.*cannot be made"):
        run(name="file/run")


def test_a_failed_run_says_so(run, tmp_path, monkeypatch):
    def breaks(self, batch, batch_idx):
        raise ArithmeticError("broke")

    monkeypatch.setattr("lightning_dice.app.models.ImageClassifier.training_step", breaks)
    with pytest.raises(ArithmeticError):
        run("report=true")
    summary = load(tmp_path / "run")
    assert (summary["status"], summary["error"]) == ("failed", "ArithmeticError: broke")
    assert (tmp_path / "run" / "report.html").exists()


def test_a_failed_rank_asks_others_for_nothing(run, tmp_path, monkeypatch):
    """Metrics are means over ranks: to read them is to wait for ranks that may train on."""
    asked = []
    metrics = Trainer.callback_metrics.fget

    def counted(trainer):
        asked.append(trainer)
        return metrics(trainer)

    def breaks(self, batch, batch_idx):
        if self.global_step == 4:
            asked.clear()
            raise ArithmeticError("broke")

    monkeypatch.setattr(Trainer, "callback_metrics", property(counted))
    monkeypatch.setattr(ImageClassifier, "on_train_batch_start", breaks)
    with pytest.raises(ArithmeticError):
        run()
    assert not asked
    assert "val_loss" in load(tmp_path / "run")["metrics"], "of the validation at step 3"


def test_an_interrupted_run_says_so(run, tmp_path, monkeypatch):
    def interrupts(self, batch, batch_idx):
        raise KeyboardInterrupt

    monkeypatch.setattr("lightning_dice.app.models.ImageClassifier.training_step", interrupts)
    with pytest.raises(SystemExit):
        run("report=true")
    summary = load(tmp_path / "run")
    assert (summary["status"], summary["error"]) == ("interrupted", "stopped by SIGINT")
    assert (tmp_path / "run" / "report.html").exists()


def test_a_seed_that_numpy_cannot_take_is_refused(run):
    with pytest.raises(SettingError, match=r"seed=4294967296: expected .* 2\^32 - 1"):
        run("seed=4294967296")


def test_per_mini_batch_rolls_belong_to_batches(run, tmp_path):
    batches = ["granularity=per_mini_batch", "trainer.accumulate_grad_batches=2"]
    summary = run(*batches, "report=true")
    assert summary["steps"] == 6
    assert summary["rolls"]["count"] == 12


def test_not_a_number_is_null_in_a_summary(tmp_path):
    write_summary(tmp_path, {"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": None}})
    assert load(tmp_path) == {"a": None, "b": [None, 1.5], "c": {"d": None}}


class TestMetricsFile:
    def write(self, folder, steps, next_step):
        logger = metrics_file(folder, next_step)
        for step in steps:
            logger.log_metrics({"loss": torch.tensor(step / 2)}, step=step)
        logger.save()

    def rows(self, folder):
        return [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]

    def test_rows_before_the_checkpoint_stay_and_later_ones_are_measured_again(self, tmp_path):
        self.write(tmp_path, [0, 1, 2, 3], next_step=0)
        self.write(tmp_path, [2, 3], next_step=2)
        assert self.rows(tmp_path)[1:] == [["0.0", "0"], ["0.5", "1"], ["1.0", "2"], ["1.5", "3"]]

    def test_a_crash_while_resuming_loses_nothing(self, tmp_path):
        self.write(tmp_path, [0, 1], next_step=0)
        (tmp_path / "metrics.csv").rename(tmp_path / "metrics.before.csv")
        self.write(tmp_path, [2], next_step=2)
        assert self.rows(tmp_path)[1:] == [["0.0", "0"], ["0.5", "1"], ["1.0", "2"]]
        assert not (tmp_path / "metrics.before.csv").exists()

    def test_a_row_cut_short_is_left_out(self, tmp_path):
        (tmp_path / "metrics.csv").write_text("loss,step\n0.5,0\n0.7")
        self.write(tmp_path, [1], next_step=1)
        assert self.rows(tmp_path) == [["loss", "step"], ["0.5", "0"], ["0.5", "1"]]
