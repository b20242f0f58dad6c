"""A notebook, cell by cell: one that was interrupted is run again, as people do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lightning_dice.records import read_rolls
from support.by_hand import apart, factor
from support.packages import install, run
from support.reference import train
from support.toy import sgd

pytestmark = pytest.mark.long

SCRIPT = Path(__file__).parent / "scripts" / "notebook.py"
FIRST = """\
import os, signal
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning_dice import SavingThrow, SavingThrowCallback
from lightning_dice.adapters.torch_loop import attach
from support.by_hand import SEED, THROW
from support.toy import Toy, data, loss_of, network, sgd, loader

stop = 3

class Interrupt(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        interrupt(batch_idx)

def interrupt(step):
    if step == stop:
        os.kill(os.getpid(), signal.SIGINT)
"""
TRAINER = """\
dice = SavingThrowCallback(THROW, seed=SEED)
trainer = Trainer(
    max_steps=10, accelerator="cpu", callbacks=[dice, Interrupt()], enable_progress_bar=False,
    enable_model_summary=False, logger=CSVLogger(".", name="rolls", version="")
)
model = Toy(sgd)
trainer.fit(model, loader())
torch.save(list(model.parameters()), "weights.pt")
dice
"""
OWN_LOOP = """\
def train():
    net = network()
    optimizer = sgd(net.parameters())
    dice = attach(optimizer, THROW, seed=SEED, folder="rolls")
    for step, batch in enumerate(data()[:10]):
        optimizer.zero_grad()
        loss_of(net, batch).backward()
        optimizer.step()
        interrupt(step)
    torch.save(list(net.parameters()), "weights.pt")
    return dice

train()
"""
GLOBAL_LOOP = """\
net = network()
optimizer = sgd(net.parameters())
dice = attach(optimizer, THROW, seed=SEED, folder="rolls")
for step, batch in enumerate(data()[:10]):
    optimizer.zero_grad()
    loss_of(net, batch).backward()
    optimizer.step()
    interrupt(step)
dice.remove()
torch.save(list(net.parameters()), "weights.pt")
"""
HUGGINGFACE = """\
from lightning_dice.adapters.huggingface import SavingThrowTrainerCallback
from support import hf
from transformers import TrainerCallback

class Stop(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        interrupt(state.global_step - 1)

trainer = hf.trainer(
    "rolls", [SavingThrowTrainerCallback(THROW, seed=SEED), Stop()], max_steps=10
)
trainer.train()
torch.save(list(trainer.model.parameters()), "weights.pt")
trainer.optimizer
"""
CELLS = [
    pytest.param(TRAINER, id="a Trainer"),
    pytest.param(OWN_LOOP, id="a loop in a function"),
    pytest.param(GLOBAL_LOOP, id="a loop of the cell"),
    pytest.param(HUGGINGFACE, id="HuggingFace"),
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return install(tmp_path_factory.mktemp("ipython"), "ipython", alone=False)


@pytest.mark.parametrize("cell", CELLS)
def test_an_interrupted_cell_is_run_again_and_again(environment, cell, tmp_path):
    cells = [FIRST, cell, "stop = None", cell, cell]
    done = run([SCRIPT], input=json.dumps(cells), cwd=tmp_path, env=environment)
    first, interrupted, set_stop, again, once_more = json.loads(done.stdout.splitlines()[-1])
    assert first["error"] is None, first["shown"]
    assert set_stop["error"] is None
    # Lightning ends a program that is interrupted, which a notebook shows as SystemExit.
    end = str(interrupted["error"]) + interrupted["shown"]
    assert "KeyboardInterrupt" in end or "SystemExit" in end
    for end in (again, once_more):
        assert end["error"] is None, end["shown"]
    factors = [factor(step) for step in range(10)]
    expected, _ = train(sgd, 10, step_scales=factors)
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert apart(weights, expected) <= 1e-6
    (path,) = tmp_path.glob("rolls/**/rolls.csv")
    assert [record.scale for record in read_rolls(path)] == factors
