"""What a sweep does when a launcher itself fails; the launcher is pretended."""

import json

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from lightning_dice.app.errors import SweepEnded
from lightning_dice.app.schema import config_folder, register
from lightning_dice.app.sweeps.grid import Grid
from lightning_dice.app.sweeps.plan import one_of_each
from lightning_dice.rules import SettingError


@pytest.fixture
def grid(tmp_path):
    """A grid whose launcher is a function of a folder; sweeps into ``tmp_path``."""
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        given = [f"hydra.sweep.dir={tmp_path}", "experiment=digits_sweep"]
        config = loader.load_configuration("train", given, RunMode.MULTIRUN)

        def with_launcher(run, batch=250):
            return Grid(config, loader, Launcher(run, tmp_path), batch)

        yield with_launcher
    GlobalHydra.instance().clear()


class Launcher:
    def __init__(self, run, folder):
        self.run = run
        self.folder = folder
        self.batches = []

    def launch(self, job_overrides, initial_job_idx):
        names = [job[-1].partition("=")[2].strip("'") for job in job_overrides]
        self.batches.append((initial_job_idx, names))
        for name in names:
            (self.folder / name).mkdir(exist_ok=True)
            self.run(name, lambda status, name=name: say(self.folder / name, status))


def say(folder, status):
    if status == "running":
        (folder / ".lock").touch()
    else:
        (folder / ".lock").unlink(missing_ok=True)
    (folder / "summary.json").write_text(json.dumps({"status": status, "error": f"it {status}"}))


def load(folder):
    return json.loads((folder / "summary.json").read_text())


def test_a_launcher_is_given_so_many_jobs_at_a_time(grid):
    made = grid(lambda name, say: say("finished"), batch=2)
    made.sweep(["seed=0,1,2,3,4"])
    assert made._launcher.batches == [
        (0, ["seed=0", "seed=1"]),
        (2, ["seed=2", "seed=3"]),
        (4, ["seed=4"]),
    ]


@pytest.mark.parametrize("values", ["glob(zzz*)", "range(3,3)"])
def test_a_key_without_values_is_refused(grid, values):
    with pytest.raises(SettingError, match=r"optimizer=.*names no value to sweep over"):
        grid(None).sweep(["seed=0,1", f"optimizer={values}"])


def test_the_last_spelling_of_a_key_counts(grid):
    made = grid(lambda name, say: say("finished"))
    made.sweep(["seed=0,1,2", "++seed=3,4"])
    assert made._launcher.batches == [(0, ["seed=3", "seed=4"])]


def test_what_is_lost_twice_has_failed_and_the_rest_goes_on(grid, tmp_path):
    def run(name, say):
        say("running")
        if name == "seed=1":
            raise RuntimeError("A worker was killed. Perhaps it was out of memory.")
        say("finished")

    (tmp_path / "seed=3").mkdir()
    say(tmp_path / "seed=3", "failed")  # of an earlier try, which says nothing of this one
    made = grid(run)
    with pytest.raises(
        SweepEnded, match=r"failed: its process was lost, 2 times \(RuntimeError: A"
    ):
        made.sweep(["seed=0,1,2,3"])
    assert [names for _, names in made._launcher.batches] == [
        ["seed=0", "seed=1", "seed=2", "seed=3"],
        ["seed=1", "seed=2", "seed=3"],
        ["seed=2", "seed=3"],
    ]
    assert load(tmp_path / "seed=1")["error"] == (
        "its process was lost, 2 times (RuntimeError: A worker was killed)"
    )
    assert load(tmp_path / "seed=3")["status"] == "finished"


def test_a_launcher_that_runs_no_job_ends_the_sweep(grid):
    def run(name, say):
        raise RuntimeError("no queue of that name")

    with pytest.raises(RuntimeError, match="no queue of that name"):
        grid(run).sweep(["seed=0,1"])


def test_reasons_are_said_once_each(grid, capsys):
    ends = {"seed=0": "finished", "seed=1": "failed", "seed=2": "refused", "seed=3": "failed"}
    message = r"^failed: it failed \(seed=1 and 1 more\)$"
    with pytest.raises(SweepEnded, match=message):
        grid(lambda name, say: say(ends[name])).sweep(["seed=0,1,2,3"])
    assert capsys.readouterr().out.splitlines()[1] == "refused: it refused (seed=2)"


def test_a_sweep_that_is_interrupted_says_how_it_stands(grid, capsys):
    def run(name, say):
        if name == "seed=2":
            raise KeyboardInterrupt
        say("finished")

    with pytest.raises(KeyboardInterrupt):
        grid(run).sweep(["seed=0,1,2,3"])
    (said,) = capsys.readouterr().out.splitlines()
    assert said.startswith("2 of 4 runs have finished in ")


@pytest.mark.parametrize(
    ("experiment", "jobs"),
    [("threshold_sweep", 3060), ("die_sweep", 365), ("granularity_sweep", 100)],
)
def test_the_experiments_have_as_many_jobs_as_the_docs_say(
    grid, experiment, jobs, capsys, monkeypatch
):
    """Some of them are composed and built."""
    monkeypatch.setattr(
        "lightning_dice.app.sweeps.grid.one_of_each", lambda jobs: one_of_each(jobs)[::8]
    )
    made = grid(lambda name, say: say("finished"), batch=4000)
    params = OmegaConf.load(config_folder() / "experiment" / f"{experiment}.yaml")
    swept = [f"{key}={value}" for key, value in params.hydra.sweeper.params.items()]
    made.sweep([*swept, f"experiment={experiment}"], named=params.hydra.sweeper.params)
    ((_, names),) = made._launcher.batches
    assert len(names) == len({*names}) == jobs
    page = (config_folder().parent / "docs" / "sweeps.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| `{experiment}`"))
    assert row.endswith(f"| {jobs} |")


def test_no_jobs_at_a_time_are_refused(grid):
    with pytest.raises(SettingError, match="max_batch_size=0: expected 1 or more"):
        grid(None, batch=0)
