"""What the command tells its reader to run is run here, word for word."""

import json
import re
import shlex
import shutil
import signal
from pathlib import Path

import pytest

from support.commands import run

pytestmark = pytest.mark.slow
TRAIN = r"(\S*/)?lightning-dice-train"
QUICK = [
    "experiment=digits",
    "trainer.max_steps=6",
    "trainer.val_check_interval=2",
    "trainer.limit_val_batches=2",
    "logger=none",
    "report=false",
    "progress=false",
]
ENDS = """
import os, signal
from lightning_dice.app.models.cnn import ImageClassifier as Model
from lightning_dice.app import train as module
def end(self, batch, index):
    if self.trainer.global_step == {step} and module.Plain(self) == {plain}:
        {how}
def is_plain(model):
    from lightning_dice.callback import SavingThrowCallback as Dice
    dice, = [one for one in model.trainer.callbacks if isinstance(one, Dice)]
    return dice.throw.odds().mean == 1
module.Plain = is_plain
Model.on_train_batch_start = end
"""


def ends(step, how="os.kill(os.getpid(), signal.SIGINT)", plain=False):
    """Code that ends a training before a step."""
    return ENDS.format(step=step, how=how, plain=plain)


def paste(text, folder):
    """Run the one command that a text ends with, as a shell does that stands in ``folder``."""
    command = re.search(rf"(?:cd (?P<there>'.+'|\S+) && )?{TRAIN} (?P<rest>.*)$", text.rstrip())
    assert command is not None, text
    there = shlex.split(command["there"] or str(folder))[0]
    done = run(shlex.split(command["rest"]), there)
    assert done.returncode == 0, done.stderr
    return done


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def folders(root):
    """The folders that hold anything but folders, from ``root``."""
    return sorted(
        {str(path.parent.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    )


class TestInterrupted:
    @pytest.mark.parametrize("name", ["outputs/a", "a b, it's [$HOME]=1"])
    def test_a_run_says_how_it_is_resumed(self, tmp_path, name):
        from lightning_dice.app.commands import override

        given = [*QUICK, "threshold=easy", override("hydra.run.dir", name)]
        done = run(given, tmp_path, before=ends(5))
        assert done.returncode == 128 + signal.SIGINT
        lines = done.stderr.splitlines()
        assert lines[:2] == ["interrupted at step 5 of 6", f"folder: {name}"]
        assert re.match(rf"resume from the last checkpoint: {TRAIN} experiment=digits ", lines[2])
        assert len(lines) == 3
        assert summary(tmp_path / name)["planned_steps"] == 6
        again = paste(lines[2], tmp_path)
        assert again.stdout.splitlines()[-1] == f"folder: {name}"
        now = summary(tmp_path / name)
        assert (now["status"], now["steps"], now["dice"]["threshold"]) == ("finished", 6, 5)
        rolls = (tmp_path / name / "rolls.csv").read_text().splitlines()
        assert len(rolls) == 7, "it went on where it was"

    @pytest.mark.parametrize("epochs", [[], ["trainer.max_steps=-1", "+trainer.max_epochs=1"]])
    def test_a_run_that_fails_does_too(self, tmp_path, epochs):
        given = [*QUICK, "report=true", "data.batch_size=256", *epochs]
        done = run(given, tmp_path, before=ends(3, "raise OSError(28, 'No space left', 'x')"))
        assert done.returncode == 1
        lines = done.stderr.splitlines()
        assert "x: No space left" in done.stderr
        of = 5 if epochs else 6  # 1438 examples
        assert lines[-3] == f"failed at step 3 of {of}"
        assert (tmp_path / lines[-2].removeprefix("report: ")).is_file()
        paste(lines[-1], tmp_path)
        (folder,) = [path.parent for path in tmp_path.rglob("summary.json")]
        assert (summary(folder)["status"], summary(folder)["steps"]) == ("finished", of)

    def test_without_a_checkpoint_it_begins_anew(self, tmp_path):
        done = run(QUICK, tmp_path, before=ends(1, "os.kill(os.getpid(), signal.SIGTERM)"))
        assert done.returncode == 128 + signal.SIGTERM
        lines = done.stderr.splitlines()
        assert lines[0].startswith("interrupted at step ")
        assert re.match(rf"there is no checkpoint yet, so this begins anew: {TRAIN} ", lines[2])
        paste(lines[2], tmp_path)
        assert len(list(tmp_path.rglob("summary.json"))) == 1

    def test_a_setting_that_is_refused_at_the_start_gets_no_command(self, tmp_path):
        """The command would be refused again."""
        done = run([*QUICK, "dice.include=[nothing]"], tmp_path)
        assert done.returncode == 1
        assert "include='nothing'" in done.stderr
        assert "lightning-dice-train" not in done.stderr

    def test_nothing_is_said_to_be_resumed_before_training(self, tmp_path):
        stops = "import os, signal\nfrom lightning_dice.app import twin\n"
        stops += "twin.train = lambda *_: os.kill(os.getpid(), signal.SIGINT)\n"
        done = run(QUICK, tmp_path, before=stops)
        assert done.returncode == 128 + signal.SIGINT
        assert done.stderr == "stopped by SIGINT before anything was trained\n"
        assert not list(tmp_path.iterdir())

    def test_several_processes_say_it_once(self, tmp_path):
        ddp = ["trainer=ddp", "trainer.accelerator=cpu", "hydra.run.dir=out"]
        done = run([*QUICK, *ddp], tmp_path, before=ends(3, "raise ArithmeticError('no')"))
        assert done.returncode == 1
        lines = done.stderr.splitlines()
        assert lines[-3:-1] == ["failed at step 3 of 6", "folder: out"]
        assert done.stderr.count("resume from the last checkpoint: ") == 1
        paste(lines[-1], tmp_path)
        assert summary(tmp_path / "out")["steps"] == 6

    def test_tasks_are_started_again_by_whoever_starts_them(self, tmp_path):
        task = {"SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
        task |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_JOB_NAME": "x"}
        task |= {"SLURM_JOB_ID": "1", "SLURM_NODELIST": "127.0.0.1", "SLURM_NODEID": "0"}
        (tmp_path / "out").mkdir()
        (tmp_path / "out/summary.json").write_text('{"status": "interrupted"}')
        done = run([*QUICK, "ckpt_path=last"], tmp_path, task)
        assert done.returncode == 1
        assert "there is no run in " in done.stderr or "no unfinished run" in done.stderr


class TestLast:
    @pytest.fixture
    def interrupted(self, tmp_path):
        done = run([*QUICK, "seed=1"], tmp_path, before=ends(3))
        assert done.returncode == 128 + signal.SIGINT
        (folder,) = [path.parent for path in tmp_path.rglob("summary.json")]
        return folder

    def test_it_is_the_newest_unfinished_run_of_the_same_settings(self, tmp_path, interrupted):
        before = folders(tmp_path)
        done = run([*QUICK, "seed=1", "ckpt_path=last"], tmp_path)
        assert done.returncode == 0, done.stderr
        assert folders(tmp_path) == before, "no second folder"
        assert summary(interrupted)["status"] == "finished"
        again = run([*QUICK, "seed=1", "ckpt_path=last"], tmp_path)
        assert again.returncode == 1
        assert "there is no unfinished run of these settings below outputs" in again.stderr
        assert folders(tmp_path) == before

    def test_another_run_is_named_with_its_command(self, tmp_path, interrupted):
        before = folders(tmp_path)
        done = run([*QUICK, "seed=2", "ckpt_path=last"], tmp_path)
        assert done.returncode == 1
        assert folders(tmp_path) == before
        assert [path.name for path in (tmp_path / "outputs").iterdir()] == [
            interrupted.parent.name
        ], "no dead folder"
        paste(done.stderr, tmp_path)
        assert summary(interrupted)["status"] == "finished"
        assert summary(interrupted)["seed"] == 1

    def test_a_run_that_may_still_be_at_it_is_not_taken(self, tmp_path, interrupted):
        now = summary(interrupted)
        (interrupted / "summary.json").write_text(json.dumps({**now, "status": "running"}))
        done = run([*QUICK, "seed=1", "ckpt_path=last"], tmp_path)
        assert done.returncode == 1
        assert "counts as running; if it was killed, resume it with: " in done.stderr
        paste(done.stderr, tmp_path)

    def test_there_may_be_none_at_all(self, tmp_path):
        done = run([*QUICK, "ckpt_path=last"], tmp_path)
        assert done.returncode == 1
        assert "ckpt_path='last': there is no " in done.stderr
        assert not list(tmp_path.iterdir())
        done = run([*QUICK, "ckpt_path=last", "hydra.run.dir=out"], tmp_path)
        assert "there is no run in out; name the folder of one" in done.stderr
        assert not list(tmp_path.iterdir())


class TestFolders:
    def test_a_start_that_is_refused_leaves_nothing(self, tmp_path):
        (tmp_path / "mine").mkdir()
        for more in ([], ["hydra.run.dir=new/er"], ["hydra.run.dir=mine"]):
            done = run([*QUICK, "threshold=99", *more], tmp_path)
            assert done.returncode == 1
            assert [path.name for path in tmp_path.rglob("*")] == ["mine"]

    def test_a_run_that_is_there_stays_as_it_was(self, tmp_path):
        given = [*QUICK, "hydra.run.dir=out"]
        assert run(given, tmp_path, before=ends(3)).returncode == 128 + signal.SIGINT
        files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        done = run([*given, "model.channels=4"], tmp_path)
        assert done.returncode == 1
        assert "holds a run already; choose another folder" in done.stderr
        assert files == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        paste(done.stderr, tmp_path)
        assert summary(tmp_path / "out")["status"] == "finished"

    @pytest.mark.parametrize("report", [True, False])
    def test_paths_are_seen_from_where_the_command_was_given(self, tmp_path, report):
        away = ["hydra.job.chdir=true", f"report={str(report).lower()}"]
        done = run([*QUICK, *away, "hydra.run.dir=outputs/a"], tmp_path)
        assert done.returncode == 0, done.stderr
        last = "report: outputs/a/report.html" if report else "folder: outputs/a"
        assert done.stdout.splitlines()[-1] == last
        more = ["ckpt_path=outputs/a/checkpoints/last.ckpt", "trainer.max_steps=9"]
        done = run([*QUICK, *away, *more, "hydra.run.dir=outputs/b"], tmp_path)
        assert done.returncode == 0, done.stderr
        assert summary(tmp_path / "outputs/b")["steps"] == 9


class TestSweeps:
    SWEEP = ("-m", *QUICK, "seed=0,1,2")
    STOPS = (
        "import os, signal\nfrom lightning_dice.app.sweeps import job\nreal = job.train\n"
        "def train(config, *more):\n"
        "    if config.seed == 1: {how}\n    return real(config, *more)\n"
        "job.train = train\n"
    )

    @pytest.mark.parametrize("sweeper", [[], ["hydra/sweeper=basic"]])
    @pytest.mark.parametrize("place", [[], ["hydra.sweep.dir='a b'"]])
    def test_a_sweep_that_is_interrupted_is_resumed(self, tmp_path, sweeper, place):
        stops = self.STOPS.format(how="os.kill(os.getpid(), signal.SIGINT)")
        done = run([*self.SWEEP, *sweeper, *place], tmp_path, before=stops)
        assert done.returncode == 128 + signal.SIGINT
        (made,) = [path.parent for path in tmp_path.rglob("summary.json")]
        started = summary(made)["started"]
        line = done.stderr.splitlines()[-1]
        assert re.match(rf"resume: {TRAIN} -m ", line)
        again = paste(line, tmp_path)
        assert len(list(tmp_path.rglob("summary.json"))) == 3
        assert summary(made)["started"] == started, "it was not trained again"
        (shown,) = [one for one in again.stdout.splitlines() if one.startswith("what they found: ")]
        words = shlex.split(shown)
        assert [Path(words[3]).name, words[4]] == ["lightning-dice", "report"]
        assert (tmp_path / words[5]).is_dir()

    def test_jobs_that_failed_are_tried_again(self, tmp_path):
        stops = self.STOPS.format(how="raise ArithmeticError('no')")
        done = run(self.SWEEP, tmp_path, before=stops)
        assert done.returncode == 1
        paste(done.stderr, tmp_path)
        assert [summary(path.parent)["status"] for path in tmp_path.rglob("summary.json")] == [
            "finished"
        ] * 3

    def test_the_last_line_names_the_command_that_fits(self, tmp_path):
        narrow = ["optimizer=sgd", "trainer.gradient_clip_val=1.0", "threshold=10", "seed=0"]
        narrow += ["control=none", "target=update", "scaling=margin", "trainer.max_steps=2"]
        done = run(["-m", "experiment=tolerance", *narrow], tmp_path)
        assert done.returncode == 0, done.stderr
        last = done.stdout.splitlines()[-1]
        assert last.endswith("lightning-dice tolerance multirun/tolerance")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished run, and one that was interrupted; made once."""
    folder = tmp_path_factory.mktemp("runs")
    assert run([*QUICK, "hydra.run.dir=done"], folder).returncode == 0
    run([*QUICK, "seed=1", "hydra.run.dir='not done'"], folder, before=ends(3))
    assert summary(folder / "not done")["status"] == "interrupted"
    return folder


class TestAfterwards:
    @pytest.fixture
    def cli(self, runs, tmp_path, monkeypatch):
        from click.testing import CliRunner

        from lightning_dice.cli import main

        shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
        for record in tmp_path.rglob(".hydra/hydra.yaml"):
            record.write_text(record.read_text().replace(str(runs), str(tmp_path)))
        quick = ["--device", "cpu", "--examples", "8"]

        def invoke(command, *folders, there=tmp_path):
            monkeypatch.chdir(there)
            more = ["--grid", "3"] if command == "landscape" else []
            return CliRunner().invoke(main, [command, *map(str, folders), *quick, *more])

        return invoke

    @pytest.mark.parametrize("command", ["stress", "landscape"])
    def test_an_unfinished_run_is_skipped_among_others(self, cli, tmp_path, command):
        done = cli(command, "done", "not done")
        assert done.exit_code == 0, done.output
        (line,) = [one for one in done.output.splitlines() if one.startswith("left out: not done")]
        paste(line, tmp_path)
        assert summary(tmp_path / "not done")["status"] == "finished"

    @pytest.mark.parametrize("command", ["stress", "landscape"])
    @pytest.mark.parametrize("absolute", [False, True])
    def test_an_unfinished_run_alone_says_how_it_is_resumed(self, cli, tmp_path, command, absolute):
        done = cli(command, tmp_path / "not done" if absolute else "not done")
        assert done.exit_code == 2
        assert "has not finished (status interrupted); resume it with: " in done.output
        paste(done.output, tmp_path)
        assert summary(tmp_path / "not done")["status"] == "finished"

    def test_from_another_folder_it_leads_to_the_runs_own(self, cli, tmp_path):
        (tmp_path / "else where").mkdir()
        done = cli("stress", "../not done", there=tmp_path / "else where")
        paste(done.output, tmp_path / "else where")
        assert summary(tmp_path / "not done")["status"] == "finished"

    def test_where_none_has_finished_one_is_resumed(self, cli, tmp_path):
        shutil.copytree(tmp_path / "not done", tmp_path / "copy")
        for command in ("stress", "landscape"):
            done = cli(command, "copy", "not done")
            assert done.exit_code == 2
            assert "has not finished (status interrupted); resume it with: " in done.output
        paste(done.output, tmp_path)

    def test_without_a_record_there_is_no_command(self, cli, tmp_path):
        record = tmp_path / "not done/.hydra/hydra.yaml"
        text = record.read_text()
        for spoilt in ("", "{", "hydra: 1", text.replace("seed=1", '"seed=\\x1b[2J"')):
            record.write_text(spoilt)
            done = cli("stress", "not done")
            assert done.exit_code == 2
            assert "has not finished (status interrupted)" in done.output
            assert "resume it" not in done.output


class TestTwin:
    TWIN = (*QUICK, "report=true", "twin=true", "hydra.run.dir=out")

    def test_both_are_trained_and_reported(self, tmp_path):
        done = run(self.TWIN, tmp_path)
        assert done.returncode == 0, done.stderr
        dice, plain = summary(tmp_path / "out"), summary(tmp_path / "out/plain")
        assert (dice["control"]["name"], plain["control"]["name"]) == ("none", "plain")
        assert dice["seed"] == plain["seed"]
        values = [one["metrics"]["val_accuracy"] for one in (dice, plain)]
        told = re.search(r"^validation accuracy: dice (\S+) .*, plain (\S+) ", done.stdout, re.M)
        assert [float(value) for value in told.groups()] == [
            pytest.approx(v, abs=1e-3) for v in values
        ]
        assert done.stdout.splitlines()[-1] == "report: out/report.html"
        page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
        assert "the same seed without dice" in page
        again = run([*QUICK, "control=plain", "hydra.run.dir=alone"], tmp_path)
        assert again.returncode == 0, again.stderr
        same = [summary(tmp_path / name)["metrics"] for name in ("alone", "out/plain")]
        assert same[0] == same[1], "it is what plain training is"

    @pytest.mark.parametrize("plain", [False, True])
    def test_either_is_resumed(self, tmp_path, plain):
        done = run(self.TWIN, tmp_path, before=ends(3, plain=plain))
        assert done.returncode == 128 + signal.SIGINT
        lines = done.stderr.splitlines()
        assert lines[-3] == f"interrupted at step 3 of 6{' of plain training' * plain}"
        dice = summary(tmp_path / "out")
        paste(lines[-1], tmp_path)
        for folder in (tmp_path / "out", tmp_path / "out/plain"):
            assert (summary(folder)["status"], summary(folder)["steps"]) == ("finished", 6)
            assert len((folder / "rolls.csv").read_text().splitlines()) == 7
        if plain:
            assert summary(tmp_path / "out") == dice, "it was not trained again"

    def test_a_twin_can_be_trained_later(self, tmp_path):
        given = [one for one in self.TWIN if not one.startswith(("twin=", "hydra.run.dir="))]
        assert run(given, tmp_path).returncode == 0
        done = run([*given, "twin=true", "ckpt_path=last"], tmp_path)
        assert done.returncode == 0, done.stderr
        assert "plain" in done.stdout
        assert len(list(Path(tmp_path, "outputs").glob("*/*"))) == 1

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (["control=plain"], "twin=True: a plain run is its own twin"),
            (["-m", "seed=0,1"], "twin=True: a sweep trains it once per seed"),
            (["-m", "seed=0,1", "hydra/sweeper=basic"], "twin=True: a sweep trains it once per"),
        ],
    )
    def test_it_is_refused_where_it_makes_no_sense(self, tmp_path, more, message):
        done = run([*more, *QUICK, "twin=true"], tmp_path)
        assert done.returncode == 1
        assert message in done.stderr
