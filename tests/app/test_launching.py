"""Jobs of several processes, whoever starts them: one folder each, all ranks on the same job."""

import csv
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_dice.records import read_rolls
from support.commands import Command, environment, run

pytestmark = pytest.mark.slow
BIN = Path(sys.executable).parent
JOB = [
    "experiment=digits",
    "trainer=ddp",
    "trainer.accelerator=cpu",
    "trainer.max_steps=6",
    "trainer.val_check_interval=3",
    "logger=none",
    "report=false",
]
SWEEPS = {
    "basic": ["threshold=5,12"],
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "threshold=5,12"],
    "submitit": ["hydra/launcher=submitit_local", "threshold=5,12"],
    "optuna": [
        "hydra/sweeper=optuna",
        "hydra/sweeper/sampler=random",
        "hydra.sweeper.n_trials=2",
        "hydra.sweeper.direction=maximize",
        "optimizer.lr=interval(0.01,0.2)",
    ],
}
USERS_OWN = """
import hydra
from lightning_dice import SavingThrow, SavingThrowCallback
from support.toy import Toy, adamw, fit, sgd


@hydra.main(version_base="1.3", config_path=None, config_name="own")
def main(config):
    import torch

    model = Toy(lambda parameters: torch.optim.SGD(parameters, lr=config.lr))
    fit(model, [SavingThrowCallback(SavingThrow("d20", 10), seed=0)], devices=2, strategy="ddp")
    print("trained with", config.lr)
    return float(model.losses[-1])


if __name__ == "__main__":
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store("own", {"lr": 0.1})
    main()
"""


def together(commands, folder):
    """Run commands at the same time."""
    running = [
        subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in commands
    ]
    try:
        said = [process.communicate(timeout=240)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0] * len(running), said


def summaries(folder):
    found = sorted(folder.rglob("summary.json"))
    return {path.parent: json.loads(path.read_text()) for path in found}


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The rolls and metrics of the job by itself."""
    folder = tmp_path_factory.mktemp("plain")
    done = run([*JOB, "hydra.run.dir=out"], folder)
    assert done.returncode == 0, done.stderr
    return what_it_left(folder / "out")


def what_it_left(folder):
    return list(read_rolls(folder / "rolls.csv")), (folder / "metrics.csv").read_text()


@pytest.mark.parametrize(
    "sweep", ["basic", "joblib", pytest.param("submitit", marks=pytest.mark.long), "optuna"]
)
def test_a_sweep_of_jobs_of_two_processes(tmp_path, sweep):
    """No second sweep folder, and each job's ranks on that job: they compare all settings."""
    done = run(["-m", *JOB, *SWEEPS[sweep], "hydra.sweep.dir=sweep"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["sweep"]
    jobs = summaries(tmp_path)
    named = ["0", "1"] if sweep == "optuna" else ["threshold=12", "threshold=5"]
    assert [folder.name for folder in jobs] == named
    for folder, summary in jobs.items():
        assert (summary["status"], summary["steps"]) == ("finished", 6)
        steps = [roll.step for roll in read_rolls(folder / "rolls.csv")]
        assert steps == list(range(6)), "one rank wrote them, once"
    if sweep == "optuna":
        best = re.search(r"Best value: (\S+)", done.stdout)[1]
        values = [summary["metrics"]["val_accuracy"] for summary in jobs.values()]
        assert float(best) == max(values), "what the ranks measured came back to the sweeper"
    else:
        assert [summary["dice"]["threshold"] for summary in jobs.values()] == [12, 5]


def test_two_processes_validate_after_the_last_step(tmp_path):
    """The value is the one that a validation within training measures there."""
    between, within = ["trainer.val_check_interval=100"], ["trainer.val_check_interval=6"]
    for name, interval in (("between", between), ("within", within)):
        done = run([*JOB, *interval, f"hydra.run.dir={name}"], tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stderr == "", "no advice about the way in which it validates"
    found = summaries(tmp_path)
    metrics = {folder.name: summary["metrics"] for folder, summary in found.items()}
    names = ("val_accuracy", "val_loss")
    assert [metrics["between"][name] for name in names] == [
        metrics["within"][name] for name in names
    ]
    table = (tmp_path / "between/metrics.csv").read_text().splitlines()
    rows = list(csv.DictReader(table))
    measured = [float(row["val_accuracy"]) for row in rows if row["val_accuracy"]]
    assert measured == [pytest.approx(metrics["between"]["val_accuracy"])]


def test_a_run_goes_on_with_another_number_of_processes(tmp_path, plain):
    start = [*JOB, "hydra.run.dir=out"]
    for more in (["trainer=cpu", "trainer.max_steps=3"], ["ckpt_path=last"]):
        done = run([*start, *more], tmp_path)
        assert done.returncode == 0, done.stderr
    assert what_it_left(tmp_path / "out")[0] == plain[0], "neither gap nor repeat"


def test_two_machines_by_torchrun(tmp_path, plain):
    """Two agents that find each other, as on two machines."""
    agent = [BIN / "torchrun", "--nnodes", 2, "--nproc-per-node", 1, "--rdzv-backend", "c10d"]
    agent += ["--rdzv-id", "test", "--rdzv-endpoint", f"127.0.0.1:{free_port()}"]
    job = ["-m", "lightning_dice.app", *JOB, "trainer.num_nodes=2", "trainer.devices=1"]
    together([[*agent, *job, "hydra.run.dir=out"]] * 2, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert what_it_left(tmp_path / "out") == plain


def slurm(tasks):
    """What ``srun`` tells each of its tasks."""
    shared = {
        "SLURM_JOB_ID": str(free_port()),
        "SLURM_JOB_NAME": "train",
        "SLURM_NODELIST": "127.0.0.1",
        "SLURM_NTASKS": str(tasks),
        "SLURM_STEP_NUM_TASKS": str(tasks),
        "SLURM_NTASKS_PER_NODE": str(tasks),
        "SLURM_NODEID": "0",
    }
    ranks = map(str, range(tasks))
    return [{**shared, "SLURM_PROCID": rank, "SLURM_LOCALID": rank} for rank in ranks]


def test_tasks_of_slurm(tmp_path, plain):
    """Each is a rank; the folder is the first one's, and the others make none."""
    tasks = [Command([*JOB, "report=true"], tmp_path, variables) for variables in slurm(2)]
    try:
        first, second = [task.communicate() for task in tasks]
    finally:
        for task in tasks:
            task.kill()
    assert (first.returncode, second.returncode) == (0, 0), (first, second)
    assert "report: " in first.stdout
    assert second.stdout + second.stderr == "", "one rank talks"
    (folder,) = summaries(tmp_path)
    assert what_it_left(folder) == plain
    assert len(list(tmp_path.rglob(".hydra"))) == 1


@pytest.mark.parametrize("more", [["trainer.devices=4"], ["trainer=cpu"]])
def test_other_tasks_than_the_trainer_is_for_are_refused(tmp_path, more):
    """Lightning would train each on a part of the data, or all of them into one folder."""
    done = run([*JOB, *more], tmp_path, slurm(2)[1])
    assert done.returncode == 1
    assert re.search(r"the Trainer is for . process.* and 2 were started", done.stderr)
    assert not summaries(tmp_path)


def test_a_batch_script_without_srun_is_a_machine_by_itself(tmp_path, plain):
    """SLURM tells it of tasks that nobody has made."""
    variables = {**slurm(2)[0], "SLURM_STEP_NUM_TASKS": "1"}
    done = run(["-m", *JOB], tmp_path, variables)
    assert done.returncode == 0, done.stderr
    (folder,) = summaries(tmp_path)
    assert what_it_left(folder) == plain


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(tmp_path, plain):
    """The same command goes on with a run, wherever it was."""
    command = [*JOB, "hydra.run.dir=out", "trainer.max_steps=6"]
    killed = (
        "from lightning_dice.app.models.cnn import ImageClassifier as Model\n"
        "def kill(self, batch, index):\n    if index == 2: import os; os._exit(9)\n"
        "Model.on_train_batch_start = kill\n"
    )
    assert run(command, tmp_path, before=killed).returncode == 1
    assert "holds a run already" in run(command, tmp_path).stderr
    done = run([*command, "ckpt_path=last"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "holds a run that has no checkpoint yet; it begins anew" in done.stderr
    assert what_it_left(tmp_path / "out") == plain


def test_a_program_whose_ranks_a_sweeper_gives_other_settings_is_refused(tmp_path):
    """Lightning runs a user's own command line again for each rank, and with it the sweep."""
    script = tmp_path / "own.py"
    script.write_text(USERS_OWN)
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    sweep = ["-m", "hydra/sweeper=optuna", "hydra/sweeper/sampler=random"]
    sweep += ["hydra.sweeper.n_trials=2", "lr=interval(0.01,0.2)"]
    done = subprocess.run(
        [sys.executable, script, *sweep],
        cwd=tmp_path,
        env=environment(PYTHONPATH=path),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode != 0
    assert "trained with" not in done.stdout
    assert re.search(r"SettingError: lr=\['0\.\d+', '0\.\d+'\]: the ranks differ", done.stderr)
