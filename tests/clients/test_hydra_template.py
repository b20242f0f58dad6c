"""A project laid out as many are that use Hydra with Lightning, where nothing of ours is a script.

Its ``train.py`` instantiates what the configuration names: a module, data, callbacks and loggers.
"""

from __future__ import annotations

import pytest
import torch
import yaml

from lightning_dice import SavingThrow
from lightning_dice.records import read_rolls
from support.by_hand import apart
from support.packages import WITH_TESTS, run
from support.reference import margin_d20, scales, train
from support.toy import adamw

FILES = {
    ".project-root": "",
    "src/__init__.py": "",
    "src/models.py": """\
        from support.toy import Toy

        class Regression(Toy):
            def __init__(self, optimizer):
                super().__init__(optimizer)
                self.save_hyperparameters(logger=False)
        """,
    "src/data.py": """\
        from lightning import LightningDataModule

        from support.toy import loader

        class Data(LightningDataModule):
            def train_dataloader(self):
                return loader()
        """,
    "src/train.py": """\
        import sys
        from pathlib import Path

        import hydra
        import lightning as L
        import torch

        ROOT = Path(__file__).parents[1]
        sys.path.insert(0, str(ROOT))

        def each(group):
            return [hydra.utils.instantiate(one) for one in (group or {}).values()]

        @hydra.main(version_base="1.3", config_path="../configs", config_name="train.yaml")
        def main(cfg):
            L.seed_everything(cfg.seed, workers=True)
            data = hydra.utils.instantiate(cfg.data)
            model = hydra.utils.instantiate(cfg.model)
            trainer = hydra.utils.instantiate(
                cfg.trainer, callbacks=each(cfg.callbacks), logger=each(cfg.logger)
            )
            trainer.fit(model=model, datamodule=data)
            torch.save(list(model.parameters()), Path(cfg.paths.output_dir, "weights.pt"))

        if __name__ == "__main__":
            main()
        """,
    "configs/train.yaml": """\
        defaults:
          - _self_
          - data: default
          - model: default
          - callbacks: default
          - logger: csv
          - trainer: cpu
          - paths: default
          - hydra: default
        seed: 12
        """,
    "configs/data/default.yaml": "_target_: src.data.Data\n",
    "configs/model/default.yaml": """\
        _target_: src.models.Regression
        optimizer: {_target_: support.toy.adamw, _partial_: true}
        """,
    "configs/callbacks/default.yaml": """\
        defaults:
          - dice
          - _self_
        """,
    "configs/callbacks/dice.yaml": """\
        dice:
          _target_: lightning_dice.SavingThrowCallback
          throw:
            _target_: lightning_dice.SavingThrow
            die: d20
            threshold: 10
          include: ["*"]
        """,
    "configs/logger/csv.yaml": """\
        csv:
          _target_: lightning.pytorch.loggers.csv_logs.CSVLogger
          save_dir: ${paths.output_dir}
          name: csv/
          prefix: ""
        """,
    "configs/trainer/cpu.yaml": """\
        _target_: lightning.pytorch.trainer.Trainer
        default_root_dir: ${paths.output_dir}
        accelerator: cpu
        max_steps: 20
        enable_progress_bar: false
        """,
    "configs/paths/default.yaml": """\
        output_dir: ${hydra:runtime.output_dir}
        """,
    "configs/hydra/default.yaml": """\
        run: {dir: logs/runs/one}
        sweep: {dir: logs/multiruns, subdir: "${hydra.job.num}"}
        """,
}


@pytest.fixture
def project(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        indent = " " * 8
        lines = [line.removeprefix(indent) for line in text.splitlines()]
        path.write_text("\n".join(lines).strip() + "\n" if text else "")
    return tmp_path


def weights(folder):
    return torch.load(folder / "weights.pt", weights_only=True)


def expected(threshold):
    throw = SavingThrow("d20", threshold)
    factors = scales(throw, 12, 20, lambda natural: margin_d20(natural, threshold))
    by_hand, _ = train(adamw, 20, step_scales=factors)
    return factors, by_hand


@pytest.mark.slow
def test_a_sweep_over_thresholds_trains_as_plain_loops_do(project):
    """The dice's seed is the project's own, by seed_everything."""
    command = ["src/train.py", "-m", "callbacks.dice.throw.threshold=10,15"]
    run(command, cwd=project, env=WITH_TESTS)
    for number, threshold in enumerate((10, 15)):
        folder = project / "logs/multiruns" / str(number)
        factors, by_hand = expected(threshold)
        (path,) = folder.glob("csv/version_0/rolls.csv")
        assert [roll.scale for roll in read_rolls(path)] == factors
        assert apart(weights(folder), by_hand) <= 1e-5
        settings = yaml.safe_load((folder / ".hydra/config.yaml").read_text())
        assert settings["callbacks"]["dice"]["throw"]["threshold"] == threshold
