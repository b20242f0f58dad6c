"""One job of a sweep: trained once, by itself, and on record whatever becomes of it."""

import json
import threading
import time

import pytest
from filelock import FileLock

from lightning_dice.app.errors import JobEnded
from lightning_dice.app.summary import flat_settings
from lightning_dice.app.sweeps import job as job_module
from lightning_dice.app.sweeps import train_job
from lightning_dice.rules import SavingThrow
from support import broken

# A job writes its warnings into its folder, whatever filters say elsewhere.
pytestmark = pytest.mark.filterwarnings("default")
CHOICES = {"data": "digits", "model": "cnn", "optimizer": "sgd_digits"}
QUICK = ["experiment=digits_sweep", "trainer.max_steps=6", "trainer.val_check_interval=3"]


@pytest.fixture
def trained(composed, tmp_path):
    """Train a job into ``tmp_path / name``."""

    def train_one(*overrides, name="job"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)  # Hydra's part
        return train_job(composed(*QUICK, *overrides), folder, CHOICES, 0)

    return train_one


def load(folder):
    return json.loads((folder / "summary.json").read_text())


def test_a_job_leaves_numbers_and_no_more(trained, tmp_path):
    summary = trained("seed=3")
    assert summary == load(tmp_path / "job")
    left = {path.name for path in (tmp_path / "job").iterdir()}
    assert left == {
        "config.yaml",
        "hparams.yaml",
        "metrics.csv",
        "rolls.csv",
        "summary.json",
        "warnings.txt",
    }
    assert summary["settings"]["seed"] == summary["settings"]["dice.seed"] == 3
    assert summary["settings"]["optimizer.lr"] == 0.3
    assert not {"report", "progress", "checkpoints", "ckpt_path"} & summary["settings"].keys()


@pytest.mark.parametrize(
    "control", ["none", "plain", "plain_mean", "plain_rms", "gaussian", "deck"]
)
def test_a_summary_says_which_arm_it_is(trained, control):
    summary = trained(f"control={control}", "saving_throw.threshold=5", "target=update")
    throw = SavingThrow("d20", 5)
    told = summary["control"]
    assert told["name"] == control
    if control == "plain":
        assert told["of"] is told["odds"] is None
    else:
        assert told["of"] == throw.settings()
        assert told["odds"]["mean"] == float(throw.odds().mean)
    expected = {"plain_mean": 97 / 200, "plain_rms": float(throw.odds().mean_square) ** 0.5}
    assert told["lr_factor"] == pytest.approx(expected.get(control, 1))
    assert summary["dice"]["draws"] == ("deck" if control == "deck" else "independent")
    if control.startswith("plain"):
        assert summary["odds"]["mean"] == summary["odds"]["efficiency"] == 1
    else:
        assert summary["odds"]["mean"] == pytest.approx(97 / 200)


def test_arms_of_a_seed_share_weights_and_data(trained, tmp_path):
    """Nothing has been applied to the first mini-batch's loss."""
    first = {}
    for seed in (0, 1):
        for control in ("none", "plain", "plain_mean", "gaussian", "deck"):
            name = f"{control}-{seed}"
            trained(f"control={control}", f"seed={seed}", "trainer.log_every_n_steps=1", name=name)
            rows = (tmp_path / name / "metrics.csv").read_text().splitlines()
            column = rows[0].split(",").index("train_loss")
            first[control, seed] = rows[1].split(",")[column]
    assert len({first[key] for key in first if key[1] == 0}) == 1
    assert first["none", 0] != first["none", 1]


def test_what_has_finished_is_not_trained_again(trained, monkeypatch):
    summary = trained("saving_throw.threshold=12")
    monkeypatch.setattr(job_module, "train", None)
    assert trained("saving_throw.threshold=12") == summary


def test_a_finished_run_with_other_settings_is_no_result_of_this_job(trained, tmp_path):
    before = trained("optimizer.lr=0.2")
    message = r"holds a run with other settings: optimizer.lr=0.2 \(now 0.3\); choose another"
    with pytest.raises(JobEnded, match=message):
        trained()
    assert load(tmp_path / "job") == before


def test_a_finished_run_that_does_not_say_its_settings_is_none_either(trained, tmp_path):
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "summary.json").write_text('{"status": "finished"}')
    with pytest.raises(JobEnded, match="holds a run that does not say its settings; choose"):
        trained()


def test_an_unfinished_run_with_other_settings_is_not_gone_on_with(trained, tmp_path):
    with pytest.raises(JobEnded, match="a cosmic ray"):
        trained("data._target_=support.broken.StopsAtStep4", "checkpoints=true")
    with pytest.raises(JobEnded, match=r"holds a run with other settings: .*optimizer.lr=0.3"):
        trained("optimizer.lr=0.2")


def test_what_is_refused_says_so(trained, tmp_path):
    with pytest.raises(JobEnded, match="job: threshold=25: unreachable"):
        trained("saving_throw.threshold=25")
    summary = load(tmp_path / "job")
    assert summary["status"] == "refused"
    assert summary["error"].startswith("threshold=25: unreachable")
    assert summary["settings"]["saving_throw.threshold"] == 25
    assert summary["task"]["metric"] == "val_accuracy"
    assert "control" not in summary, "there is no such saving throw"


def test_a_control_that_is_refused_says_of_which_saving_throw(trained, tmp_path):
    with pytest.raises(
        JobEnded, match="control='plain_mean': d20, threshold 16, margin has expected scale"
    ):
        trained("control=plain_mean", "saving_throw.threshold=16")
    told = load(tmp_path / "job")["control"]
    assert told["of"]["threshold"] == 16
    assert told["lr_factor"] is None


def test_what_fails_is_on_record_with_its_traceback(trained, tmp_path):
    raises = "data._target_=support.broken.RaisesInTraining"
    with pytest.raises(JobEnded, match="job: ArithmeticError: a cosmic ray"):
        trained(raises, "seed=1")
    summary = load(tmp_path / "job")
    assert (summary["status"], summary["error"]) == ("failed", "ArithmeticError: a cosmic ray")
    assert 'raise ArithmeticError("a cosmic ray")' in (tmp_path / "job" / "error.txt").read_text()


def test_a_job_that_failed_is_tried_again(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(job_module, "train", lambda *_: 1 / 0)
    with pytest.raises(JobEnded, match="ZeroDivisionError"):
        trained()
    assert load(tmp_path / "job")["status"] == "failed"
    monkeypatch.undo()
    assert trained()["status"] == "finished"
    assert not (tmp_path / "job" / "error.txt").exists()


def test_an_interrupted_job_goes_on_from_its_checkpoint(trained, tmp_path, monkeypatch):
    whole = trained("checkpoints=true", name="whole")
    stops = "data._target_=support.broken.StopsAtStep4"
    with pytest.raises(JobEnded, match="a cosmic ray"):
        trained(stops, "checkpoints=true")
    assert load(tmp_path / "job")["status"] == "failed"
    monkeypatch.setattr(broken, "STOP", None)
    resumed = trained(stops, "checkpoints=true")
    assert resumed["metrics"] == whole["metrics"]
    rolls = [(tmp_path / name / "rolls.csv").read_text() for name in ("whole", "job")]
    assert rolls[0] == rolls[1]


def test_two_processes_do_not_train_in_one_folder(trained, tmp_path):
    (tmp_path / "job").mkdir()
    holds = threading.Event()

    def another():
        with FileLock(tmp_path / "job" / ".lock"):
            holds.set()
            time.sleep(1)

    threading.Thread(target=another).start()
    holds.wait()
    began = time.monotonic()
    assert trained()["status"] == "finished"
    assert time.monotonic() - began > 0.9


def test_warnings_are_in_the_folder_not_on_the_terminal(trained, tmp_path, capsys):
    trained("threshold=hard")
    said = capsys.readouterr()
    assert "warning" not in said.err
    lines = (tmp_path / "job" / "warnings.txt").read_text().splitlines()
    assert sum("d20, threshold 15, margin: expected scale 0.035" in line for line in lines) == 1


def test_which_devices_decides_no_result(composed):
    assert flat_settings(composed("trainer.devices=[3]"))["trainer.devices"] == 1
    assert flat_settings(composed("trainer.devices=[3]")) == flat_settings(composed())


def test_settings_leave_out_what_decides_no_result(composed):
    quiet = flat_settings(composed("report=false", "checkpoints=false", "logger=none"))
    assert quiet == flat_settings(composed("progress=false", "ckpt_path=last"))
