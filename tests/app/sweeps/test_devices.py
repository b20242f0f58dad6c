"""A GPU for each job; the GPUs are pretended, the locks are real."""

from contextlib import ExitStack

import pytest
import torch
from omegaconf import OmegaConf

from lightning_dice.app.sweeps.devices import one_gpu


@pytest.fixture
def gpus(monkeypatch, tmp_path):
    def have(count):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return have


def job(accelerator="gpu", devices=1):
    return OmegaConf.create({"trainer": {"accelerator": accelerator, "devices": devices}})


def test_jobs_at_the_same_time_have_a_gpu_each(gpus):
    gpus(3)
    jobs = [job() for _ in range(3)]
    with ExitStack() as held:
        for number, config in enumerate(jobs):
            held.enter_context(one_gpu(config, number))
    assert [config.trainer.devices for config in jobs] == [[0], [1], [2]]


def test_a_gpu_that_a_job_gives_back_is_taken_by_the_next(gpus):
    gpus(2)
    for number in range(3):
        config = job()
        with one_gpu(config, number):
            assert config.trainer.devices == [0]


def test_more_jobs_than_gpus_take_turns(gpus):
    gpus(2)
    jobs = [job() for _ in range(4)]
    with ExitStack() as held:
        for number, config in enumerate(jobs):
            held.enter_context(one_gpu(config, number))
    assert [config.trainer.devices for config in jobs] == [[0], [1], [0], [1]]


def test_masked_gpus_are_told_apart_by_their_own_names(gpus, monkeypatch):
    gpus(2)
    first, second = job(), job()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    with one_gpu(first, 0):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,4")
        with one_gpu(second, 0):
            assert second.trainer.devices == [0]  # GPU 6, as 4 is taken
            third = job()
            with one_gpu(third, 3):
                assert third.trainer.devices == [1]  # all are taken


@pytest.mark.parametrize(
    ("count", "config"), [(1, job()), (4, job("cpu")), (4, job(devices=2)), (4, job(devices=[3]))]
)
def test_what_asks_for_something_else_is_left_alone(gpus, count, config):
    gpus(count)
    before = OmegaConf.to_container(config)
    with one_gpu(config, 0):
        assert OmegaConf.to_container(config) == before
