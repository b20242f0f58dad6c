"""What groups of processes train: strategies x dice, and the loops that they are held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch.strategies import (
    DDPStrategy,
    DeepSpeedStrategy,
    ModelParallelStrategy,
    Strategy,
)
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from distributed.loops import loops
from lightning_dice import SavingThrow, SavingThrowCallback
from lightning_dice.rules import Roller
from lightning_dice.trainer_state import replica_of
from support.toy import BATCH, Toy, adamw, data

THROW = SavingThrow("d4", 2, [None, 0.5, -0.25, 1.0])
ONES = SavingThrow("d4", 2, [1.0] * 4)
SEED = 6
STEPS = 12


class Unused(Toy):
    """The toy with a parameter that no loss reaches."""

    def __init__(self) -> None:
        super().__init__(adamw)
        self.unused = nn.Parameter(torch.ones(2))


class ShardedToy(Toy):
    """The toy, sharded by FSDP2 and by tensor parallelism as its strategy has it.

    Args:
        hidden: Its width; tensor parallelism needs one that it can divide.
    """

    def __init__(self, hidden: int | None = None) -> None:
        super().__init__(adamw)
        if hidden is not None:
            self.net = wide(hidden)

    def configure_model(self) -> None:
        mesh = getattr(self.trainer.strategy, "device_mesh", None)
        if mesh is None:
            return  # one process
        if mesh["tensor_parallel"].size() > 1:
            plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
            parallelize_module(self.net, mesh["tensor_parallel"], plan)
        if mesh["data_parallel"].size() > 1:
            for layer in (self.net[0], self.net[2]):
                fully_shard(layer, mesh=mesh["data_parallel"])
            fully_shard(self.net, mesh=mesh["data_parallel"])


def wide(hidden: int) -> nn.Sequential:
    generator = torch.Generator().manual_seed(7)
    net = nn.Sequential(nn.Linear(3, hidden), nn.Tanh(), nn.Linear(hidden, 1))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
    return net


class NaNs(ShardedToy):
    """A replica whose discarded mini-batches have a loss that is no number."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        rank, replicas = replica_of(self.trainer)
        rolled = Roller(THROW, SEED).roll(batch_idx, rank if replicas > 1 else 0)
        return loss * torch.nan if rolled.discard else loss


class Part(NamedTuple):
    """One call of ``fit`` in a case."""

    max_steps: int
    resumes: Path | None = None
    saves: Path | None = None


@dataclass(frozen=True)
class Case:
    """One training on several ranks.

    Attributes:
        strategy: Makes the strategy.
        settings: Of the callback; ``None`` trains without dice.
        replicas: How many mini-batches are computed at a time.
        trainer: What else the Trainer is given.
        interrupted: Whether it stops half-way, and a second Trainer goes on.
        apart: Whether each rank has a seed of its own.
    """

    strategy: Callable[[], Strategy]
    settings: dict[str, Any] | None = field(default_factory=dict)
    replicas: int = 2
    model: Callable[[], Toy] = lambda: Toy(adamw)
    trainer: dict[str, Any] = field(default_factory=dict)
    interrupted: bool = False
    apart: bool = False

    def dice(self, rank: int) -> SavingThrowCallback | None:
        if self.settings is None:
            return None
        settings = {"throw": THROW, "seed": SEED, **self.settings}
        if self.apart:
            settings["seed"] += rank
        return SavingThrowCallback(**settings)

    def loader(self, rank: int, world_size: int) -> DataLoader[Any]:
        """Batches that together are the toy's own, in their order; Lightning would shuffle."""
        examples = TensorDataset(*(torch.cat(parts) for parts in zip(*data(), strict=True)))
        replica = rank * self.replicas // world_size
        own = DistributedSampler(examples, self.replicas, replica, shuffle=False)
        return DataLoader(examples, BATCH // self.replicas, sampler=own)

    def parts(self, folder: Path) -> list[Part]:
        if not self.interrupted:
            return [Part(STEPS)]
        half = folder.with_suffix(".ckpt")
        return [Part(STEPS // 2, saves=half), Part(STEPS, resumes=half)]


def ddp(**options: Any) -> Callable[[], Strategy]:
    return lambda: DDPStrategy(process_group_backend="gloo", **options)


def model_parallel(data_parallel: int, tensor_parallel: int = 1, whole: bool = True) -> Any:
    return lambda: ModelParallelStrategy(
        data_parallel, tensor_parallel, save_distributed_checkpoint=not whole
    )


class DeepSpeedOnCPU(DeepSpeedStrategy):
    """DeepSpeed's own engine on processors, which Lightning's strategy leaves to GPUs."""

    @property
    def root_device(self) -> torch.device:
        return torch.device("cpu", 0)

    def setup_environment(self) -> None:
        assert self.accelerator is not None
        self.accelerator.setup_device(self.root_device)
        self.set_world_ranks()
        self._init_deepspeed_distributed()


def deepspeed(stage: int) -> Callable[[], Strategy]:
    def strategy() -> Strategy:
        made = DeepSpeedOnCPU(stage=stage, process_group_backend="gloo")
        if stage == 3:  # otherwise parameters as small as a toy's are left whole
            made.config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
        return made

    return strategy


MINI_BATCH = {"granularity": "per_mini_batch"}
APART = {**MINI_BATCH, "ranks": "independent"}
DICE: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "ones": {"throw": ONES},
    "gradient": {},
    "update": {"target": "update"},
    "gradients_of_tensors": {"scope": "tensor"},
    "updates_of_tensors": {"target": "update", "scope": "tensor"},
    "updates_of_weights": {"target": "update", "scope": "tensor", "include": ["*.weight"]},
    "mini_batch": MINI_BATCH,
    "mini_batch_apart": APART,
}
"""Settings that every way of sharding is tried with."""
DDP = {
    "ddp": ddp(),
    "ddp_static_graph": ddp(static_graph=True),
    "ddp_bucket_view": ddp(gradient_as_bucket_view=True),
    "ddp_hook": ddp(ddp_comm_hook=default_hooks.allreduce_hook),
}


def two() -> dict[str, Case]:
    """The cases of two processes."""
    cases = {}
    for dice, settings in DICE.items():
        cases[f"ddp-{dice}"] = Case(ddp(), settings)
        cases[f"fsdp2-{dice}"] = Case(model_parallel(2), settings, model=ShardedToy)
        if dice not in ("mini_batch_apart",):
            cases[f"tp-{dice}"] = Case(
                model_parallel(1, 2), settings, replicas=1, model=lambda: ShardedToy(6)
            )
    for name, strategy in DDP.items():
        for dice in ("gradient", "update", "mini_batch_apart") if name != "ddp" else ():
            cases[f"{name}-{dice}"] = Case(strategy, DICE[dice])
    unused = ddp(find_unused_parameters=True)
    cases["ddp_unused-mini_batch_apart"] = Case(unused, APART, model=Unused)
    cases["ddp_unused-update"] = Case(unused, DICE["update"], model=Unused)
    for dice in ("update", "mini_batch_apart"):
        pairs = {"accumulate_grad_batches": 2, "gradient_clip_val": 0.3}
        if dice != "update":
            del pairs["gradient_clip_val"]
        pairs["max_epochs"] = 2
        cases[f"ddp_pairs-{dice}"] = Case(ddp(), DICE[dice], trainer=pairs)
        cases[f"fsdp2_pairs-{dice}"] = Case(
            model_parallel(2), DICE[dice], model=ShardedToy, trainer=pairs
        )
    spared = {"skip_discarded": True}
    windows = {"accumulate_grad_batches": 2, "max_epochs": 2}
    for name, strategy, model in (
        ("ddp", ddp(), lambda: Toy(adamw)),
        ("fsdp2", model_parallel(2), ShardedToy),
    ):
        cases[f"{name}-spared"] = Case(strategy, spared, model=model)
        cases[f"{name}_pairs-spared"] = Case(strategy, spared, model=model, trainer=windows)
    cases["ddp-nans"] = Case(ddp(), APART, model=lambda: NaNs(None))
    cases["fsdp2-nans"] = Case(model_parallel(2), APART, model=lambda: NaNs(None))
    for whole in (True, False):
        for dice in ("update", "updates_of_tensors", "mini_batch_apart"):
            kind = "whole" if whole else "sharded"
            strategy, epoch = model_parallel(2, whole=whole), {"limit_train_batches": STEPS // 2}
            cases[f"fsdp2_{kind}-{dice}-straight"] = Case(
                strategy, DICE[dice], model=ShardedToy, trainer=epoch
            )
            cases[f"fsdp2_{kind}-{dice}-resumed"] = Case(
                strategy, DICE[dice], model=ShardedToy, trainer=epoch, interrupted=True
            )
    cases["ddp-seeds_apart"] = Case(ddp(), {}, apart=True)
    return cases


def four() -> dict[str, Case]:
    """The cases of four processes: replicas, shards (some of them empty), and both at once."""
    cases = {}
    for dice in ("plain", "gradient", "updates_of_tensors", "mini_batch", "mini_batch_apart"):
        cases[f"ddp4-{dice}"] = Case(ddp(), DICE[dice], replicas=4)
        cases[f"fsdp2x4-{dice}"] = Case(model_parallel(4), DICE[dice], replicas=4, model=ShardedToy)
        cases[f"fsdp2x2_tp2-{dice}"] = Case(
            model_parallel(2, 2), DICE[dice], model=lambda: ShardedToy(6)
        )
    return cases


class Groups(Toy):
    """The toy with an optimizer of two groups, which DeepSpeed steps one by one."""

    def __init__(self) -> None:
        super().__init__(adamw)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        weights = [p for p in self.parameters() if p.ndim > 1]
        biases = [p for p in self.parameters() if p.ndim == 1]
        return self.factory([{"params": weights}, {"params": biases}])


def with_deepspeed() -> dict[str, Case]:
    """The cases of two processes under DeepSpeed, which parts the state further in each stage."""
    cases = {}
    for stage in (0, 1, 2, 3):
        strategy = deepspeed(stage)
        pairs = {"accumulate_grad_batches": 2, "max_epochs": 2}
        cases[f"stage{stage}-plain"] = Case(strategy, None)
        cases[f"stage{stage}-mini_batch"] = Case(strategy, MINI_BATCH)
        cases[f"stage{stage}-mini_batch_apart"] = Case(strategy, APART)
        cases[f"stage{stage}-nans"] = Case(strategy, APART, model=lambda: NaNs(None))
        cases[f"stage{stage}-groups"] = Case(strategy, APART, model=Groups)
        cases[f"stage{stage}-pairs"] = Case(strategy, APART, trainer=pairs)
    for name, settings in (("gradient", {}), ("update", {"target": "update"})):
        cases[f"refused-{name}"] = Case(deepspeed(2), settings)
    return cases


LOOPS = loops({name: own for name, own in DICE.items() if name != "ones"}, THROW, SEED)
TWO, FOUR, DEEPSPEED = two(), four(), with_deepspeed()
CASES: dict[str, Case] = {**TWO, **FOUR, **DEEPSPEED}
