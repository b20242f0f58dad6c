"""Jobs of several processes: who starts them, what they must agree on, and what ended them."""

import json
import signal
import socket
import time
from types import SimpleNamespace

import pytest
from lightning.pytorch import Trainer
from omegaconf import OmegaConf

from lightning_dice.app.processes import Job, _root_cause, record_failure, wants_processes
from lightning_dice.rules import SettingError
from support.commands import Command

QUIET = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}


def test_a_job_reads_as_it_was_written(tmp_path):
    config = OmegaConf.create({"seed": 0, "lr": "${seed}", "list": [1, None, "a"]})
    Job(config, tmp_path, {"model": "cnn"}).write(tmp_path / "job.json")
    job = Job.read(tmp_path / "job.json")
    assert job.config == {"seed": 0, "lr": 0, "list": [1, None, "a"]}
    assert (job.folder, job.choices) == (tmp_path, {"model": "cnn"})


class TestWhoStartsThem:
    def test_one_process_is_there_already(self):
        assert not wants_processes(Trainer(devices=1, **QUIET))

    @pytest.mark.parametrize("strategy", ["ddp", "ddp_find_unused_parameters_true"])
    @pytest.mark.parametrize("devices", [1, 2])
    def test_ranks_of_one_machine_are_started(self, devices, strategy):
        assert wants_processes(Trainer(devices=devices, strategy=strategy, **QUIET))

    def test_ranks_that_somebody_started_are_not(self, monkeypatch):
        ranks = {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}
        for name, value in ranks.items():
            monkeypatch.setenv(name, value)
        assert not wants_processes(Trainer(devices=2, strategy="ddp", **QUIET))

    def test_several_machines_are_started_from_outside(self):
        trainer = Trainer(devices=2, num_nodes=3, strategy="ddp", **QUIET)
        with pytest.raises(SettingError, match=r"num_nodes=3: .* torchrun --nnodes 3 --nproc-per-"):
            wants_processes(trainer)

    @pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork", "ddp_notebook"])
    def test_copies_of_one_process_are_refused(self, run, strategy):
        with pytest.raises(SettingError, match=f"strategy='{strategy}': .* use strategy=ddp"):
            run("trainer=ddp", "trainer.accelerator=cpu", f"trainer.strategy={strategy}")


class TestWhatEndedThem:
    """One rank ends, and the others soon miss it: what is reported is what came first."""

    def failures(self, *codes):
        return {rank: SimpleNamespace(exitcode=code) for rank, code in enumerate(codes)}

    def test_a_rank_that_was_killed(self, tmp_path):
        record_failure(tmp_path / "job.json", 0, "rank 0: RuntimeError: connection closed by peer")
        said = _root_cause(self.failures(1, -signal.SIGKILL), tmp_path / "job.json")
        assert said.message == "rank 1 was ended by SIGKILL"

    def test_those_that_the_launcher_ended_are_no_cause(self, tmp_path, monkeypatch):
        """It asks them by SIGTERM, and kills what does not end in time."""
        record_failure(tmp_path / "job.json", 1, "rank 1: ValueError: boom")
        said = _root_cause(self.failures(-signal.SIGTERM, 1), tmp_path / "job.json")
        assert said.message == "rank 1: ValueError: boom"
        monkeypatch.setattr("lightning_dice.app.processes._PATIENCE", 0)
        said = _root_cause(self.failures(-signal.SIGKILL, 1), tmp_path / "job.json")
        assert said.message == "rank 1: ValueError: boom"

    def test_a_rank_that_was_asked_to_end(self, tmp_path):
        record_failure(tmp_path / "job.json", 1, "stopped by SIGTERM", signal.SIGTERM)
        time.sleep(0.01)
        record_failure(tmp_path / "job.json", 0, "rank 0: RuntimeError: connection closed by peer")
        said = _root_cause(self.failures(1, 143), tmp_path / "job.json")
        assert said[1:] == ("stopped by SIGTERM", signal.SIGTERM)
        assert _root_cause(self.failures(-15), tmp_path / "other/job.json").signal == 0

    def test_the_first_error(self, tmp_path):
        record_failure(tmp_path / "job.json", 1, "rank 1: ValueError: boom")
        time.sleep(0.01)
        record_failure(tmp_path / "job.json", 0, "rank 0: RuntimeError: connection closed by peer")
        said = _root_cause(self.failures(1, 1), tmp_path / "job.json")
        assert said[1:] == ("rank 1: ValueError: boom", 0)

    def test_a_rank_that_left_no_word(self, tmp_path):
        said = _root_cause(self.failures(3), tmp_path / "job.json")
        assert said.message == "rank 0 ended with exit status 3"


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@pytest.mark.slow
def test_ranks_of_different_configurations_all_stop_and_say_what_differs(tmp_path):
    """As when somebody starts them by hand, or a launcher gives each rank a job of its own."""
    shared = {
        "TORCHELASTIC_RUN_ID": "x",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    words = ["experiment=digits", "logger=none", "trainer=ddp", "trainer.accelerator=cpu"]
    ranks = [
        Command(
            [*words, "hydra.run.dir=out", f"threshold={threshold}", f"optimizer.lr={lr}"],
            tmp_path,
            {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank, (threshold, lr) in enumerate([(5, 0.0869), (10, 0.0843)])
    ]
    try:
        ended = [rank.communicate() for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ended] == [1, 1]
    said = [rank.stderr for rank in ended]
    for text in said:
        assert "saving_throw.threshold=[5, 10]: the ranks differ" in text
        assert "optimizer.lr [0.0869, 0.0843]" in text
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["status"] == "failed"
    assert not (tmp_path / "out/rolls.csv").exists()
