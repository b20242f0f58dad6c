"""Trains on several GPUs, with and without dice, and writes a row for each way of it.

    python experiments/many-gpus/study.py --processes 2 --out FOLDER
    python experiments/many-gpus/study.py --processes 2 --device cpu --out FOLDER   # a small trial

A process group is started for each strategy and precision, so that what one of them breaks is lost
alone. Rows are appended to ``FOLDER/rows.jsonl`` as they come.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from lightning_dice import SavingThrow, SavingThrowCallback
from lightning_dice.rules import Roller

THROW = SavingThrow("d6", 2, [None, -0.5, 0.25, 1.0, 0.75, 1.5])
SEED = 3
DICE: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "gradient, model": {},
    "gradient, tensor": {"scope": "tensor"},
    "update, model": {"target": "update"},
    "update, tensor": {"target": "update", "scope": "tensor"},
    "plain, unclipped": None,
    "mini-batch, shared": {"granularity": "per_mini_batch"},
    "mini-batch, independent": {"granularity": "per_mini_batch", "ranks": "independent"},
}
TIMED = ("plain", "plain, unclipped", "gradient, model", "update, model", "mini-batch, shared")
STRATEGIES = ("ddp", "fsdp", "fsdp2")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


class Size(NamedTuple):
    """How large a model is and how long it trains."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    context: int
    batch: int  # sequences of all processes together
    steps: int


EXACT = Size(layers=2, width=64, heads=4, vocabulary=256, context=64, batch=16, steps=20)
FAST = Size(layers=12, width=768, heads=12, vocabulary=32768, context=512, batch=32, steps=30)
TRIAL = Size(layers=2, width=64, heads=4, vocabulary=256, context=32, batch=8, steps=12)


class Block(nn.Module):
    """A transformer block."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.norm_1, self.norm_2 = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        # A bias of keys has no gradient but rounding, which AdamW would make whole steps of.
        self.attention = nn.Linear(size.width, 3 * size.width, bias=False)
        self.project = nn.Linear(size.width, size.width)
        self.mlp = nn.Sequential(
            nn.Linear(size.width, 4 * size.width), nn.GELU(), nn.Linear(4 * size.width, size.width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Attention, then a perceptron, both added to what comes in: (batch, length, width)."""
        batch, length, width = x.shape
        parts = self.attention(self.norm_1(x)).view(batch, length, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norm_2(x))


class Language(LightningModule):
    """A language model on tokens that are drawn at random: what it learns does not matter here."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.automatic_optimization = True
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.net = nn.ModuleDict(
                {
                    "tokens": nn.Embedding(size.vocabulary, size.width),
                    "places": nn.Embedding(size.context, size.width),
                    "blocks": nn.ModuleList(Block(size) for _ in range(size.layers)),
                    "norm": nn.LayerNorm(size.width),
                    "head": nn.Linear(size.width, size.vocabulary, bias=False),
                }
            )

    def configure_model(self) -> None:
        """Shard every block, and what is left, where the strategy is FSDP2's."""
        mesh = getattr(self.trainer.strategy, "device_mesh", None)
        if mesh is not None:
            from torch.distributed.fsdp import fully_shard

            for block in self.net["blocks"]:
                fully_shard(block, mesh=mesh["data_parallel"])
            fully_shard(self, mesh=mesh["data_parallel"])

    def loss(self, tokens: Tensor) -> Tensor:
        """Mean cross-entropy of each token given those before it."""
        x = self.net["tokens"](tokens) + self.net["places"](
            torch.arange(tokens.shape[1], device=tokens.device)
        )
        for block in self.net["blocks"]:
            x = block(x)
        logits = self.net["head"](self.net["norm"](x))[:, :-1]
        return functional.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())

    def forward(self, tokens: Tensor) -> Tensor:
        """The loss, as FSDP gathers parameters where ``forward`` is called."""
        return self.loss(tokens)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """The loss of a batch of sequences."""
        return self(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return optimizer_of(self.parameters())


def optimizer_of(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of every arm."""
    return torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.1)


def tokens_of(size: Size) -> Tensor:
    """All sequences that are trained on, in their order."""
    generator = torch.Generator().manual_seed(1)
    shape = (size.batch * size.steps, size.context)
    return torch.randint(size.vocabulary, shape, generator=generator)


def sent() -> int:
    """Collectives so far, of every process group."""
    if not dist.is_initialized():
        return 0
    groups = dist.distributed_c10d._world.pg_map
    return sum(group._get_sequence_number_for_group() for group in groups)


class Watch(Callback):
    """Times the second half of the steps, counts messages, and keeps the weights at the end."""

    def __init__(self, steps: int) -> None:
        self.first = steps // 2
        self.began, self.seconds, self.messages, self.weights = 0.0, 0.0, 0, []
        self.apart = 0.0
        self.steps = 0

    def _synchronize(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    def on_train_batch_start(self, *arguments: Any) -> None:
        """Begin where half of the steps are made."""
        batch_idx = arguments[-1]
        if batch_idx == self.first:
            self._synchronize()
            self.began, self.messages = time.perf_counter(), sent()

    def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        """End with the last step."""
        batch_idx = arguments[-1]
        if batch_idx + 1 == trainer.max_steps:
            self._synchronize()
            self.seconds = time.perf_counter() - self.began
            self.messages = sent() - self.messages

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the weights, and how far replicas are apart."""
        if pl_module.size.steps * pl_module.size.width > 10_000:
            return  # of the large model only the time is asked
        self.weights = whole_weights(pl_module, trainer)
        if trainer.world_size > 1:
            for weight in self.weights:
                own = weight.to(trainer.strategy.root_device)
                least, most = own.clone(), own.clone()
                dist.all_reduce(least, dist.ReduceOp.MIN)
                dist.all_reduce(most, dist.ReduceOp.MAX)
                self.apart = max(self.apart, float((most - least).max()))


def whole_weights(module: LightningModule, trainer: Trainer) -> list[Tensor]:
    """The weights, gathered from all shards."""
    if isinstance(trainer.strategy, FSDPStrategy):
        from torch.distributed.fsdp import FullyShardedDataParallel

        with FullyShardedDataParallel.summon_full_params(trainer.strategy.model, writeback=False):
            return [p.detach().float().cpu().clone() for p in module.parameters()]
    whole = (p.full_tensor() if isinstance(p, DTensor) else p for p in module.parameters())
    return [p.detach().float().cpu().clone() for p in whole]


def strategy_of(name: str, processes: int) -> Any:
    """A strategy by its name in the table."""
    if name == "ddp":
        return DDPStrategy()
    if name == "fsdp":
        return FSDPStrategy(auto_wrap_policy={Block})
    if name == "fsdp2":
        return ModelParallelStrategy(data_parallel_size=processes, tensor_parallel_size=1)
    return "auto"


def fit(strategy: str, precision: str, dice: str, size: Size, device: str) -> Watch:
    """Train by Lightning on all processes; what was watched."""
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    examples = TensorDataset(tokens_of(size))
    own = DistributedSampler(examples, processes, rank, shuffle=False)
    loader = DataLoader(examples, size.batch // processes, sampler=own)
    settings, watch = DICE[dice], Watch(size.steps)
    callbacks: list[Callback] = [watch]
    if settings is not None:
        callbacks.insert(0, SavingThrowCallback(THROW, seed=SEED, **settings))
    trainer = Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=processes,
        strategy=strategy_of(strategy, processes),
        precision=precision,
        # FSDP's first version refuses to clip by norm here, with dice or without.
        gradient_clip_val=1.0 if clips(strategy, dice) else None,
        max_steps=size.steps,
        use_distributed_sampler=False,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Language(size), loader)
    return watch


def clips(strategy: str, dice: str) -> bool:
    """Whether gradients are clipped: not after mini-batches' rolls, as that would undo them."""
    return strategy != "fsdp" and not dice.startswith(("mini-batch", "plain, unclipped"))


def by_hand(
    dice: str, clipped: bool, processes: int, precision: str, size: Size, device: str
) -> list[Tensor]:
    """The same training as a plain loop on one device: the rule, word for word.

    The parts of a batch are computed apart, as the replicas have them, so that rounding is alike.
    """
    settings = DICE[dice] or {}
    mini_batch = settings.get("granularity") == "per_mini_batch"
    apart = settings.get("ranks") == "independent"
    model = Language(size).to(device)
    parameters = list(model.parameters())
    optimizer, roller = optimizer_of(parameters), Roller(THROW, SEED)
    kind = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
    scaler = torch.amp.GradScaler(device, enabled=precision == "16-mixed")
    for step, tokens in enumerate(tokens_of(size).to(device).split(size.batch)):
        optimizer.zero_grad()
        kept = False
        for replica in range(processes):
            scale = roller.roll(step, replica if apart else 0).scale if mini_batch else 1.0
            if scale is None:
                continue
            kept = True
            with torch.autocast(device, kind, enabled=kind is not None):
                loss = model.loss(tokens[replica::processes])
            scaler.scale(loss * scale).backward()
        if not kept:
            continue
        scaler.unscale_(optimizer)
        for parameter in parameters:
            parameter.grad /= processes  # here, as what overflows is to be what does in a replica
        if clipped:
            nn.utils.clip_grad_norm_(parameters, 1.0)
        if mini_batch or DICE[dice] is None:
            scales = dict.fromkeys(parameters, 1.0)
        else:
            slots = range(len(parameters)) if settings.get("scope") else [0] * len(parameters)
            rolled = [roller.roll(step, slot).scale for slot in slots]
            scales = dict(zip(parameters, rolled, strict=True))
        target, before = (
            settings.get("target", "gradient"),
            [p.detach().clone() for p in parameters],
        )
        if target == "gradient":
            for parameter, scale in scales.items():
                parameter.grad = None if scale is None else parameter.grad * scale
        if any(parameter.grad is not None for parameter in parameters):
            scaler.step(optimizer)
        scaler.update()
        if target == "update":
            with torch.no_grad():
                for parameter, old in zip(parameters, before, strict=True):
                    parameter.copy_(old + (scales[parameter] or 0.0) * (parameter - old))
    return [p.detach().float().cpu() for p in parameters]


def difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest difference of a weight, relative to the largest weight of its tensor."""
    pairs = zip(ours, theirs, strict=True)
    return max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-12)) for a, b in pairs)


def rows_of(strategy: str, precision: str, options: argparse.Namespace) -> Iterator[dict]:
    """What one process group finds out: first about weights, then about speed."""
    processes = int(os.environ["WORLD_SIZE"])
    size = TRIAL if options.device == "cpu" else EXACT
    saved = reference_of(strategy, precision)
    for dice in DICE:
        row = {"strategy": strategy, "precision": precision, "dice": dice, "processes": processes}
        try:
            watch = fit(strategy, precision, dice, size, options.device)
            row |= {"replicas": watch.apart, "messages": watch.messages}
            row["from_one"] = difference(watch.weights, torch.load(saved)[dice])
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        yield row
        if "error" in row and dice == "plain":
            return  # it is refused without dice too
    size = TRIAL if options.device == "cpu" else FAST._replace(steps=options.steps)
    seconds: dict[str, list[float]] = {dice: [] for dice in TIMED}
    for _ in range(options.repeat):
        for dice in TIMED:  # interleaved, as machines have moods
            watch = fit(strategy, precision, dice, size, options.device)
            seconds[dice].append(watch.seconds)
    tokens = size.batch * size.context * (size.steps - size.steps // 2)
    for dice in TIMED if options.repeat else ():
        unclipped = not clips(strategy, dice)
        plain = seconds["plain, unclipped" if unclipped else "plain"]
        ratios = [a / b for a, b in zip(seconds[dice], plain, strict=True)]
        yield {
            "strategy": strategy,
            "precision": precision,
            "dice": dice,
            "processes": processes,
            "tokens_per_second": tokens / statistics.median(seconds[dice]),
            "ratio": statistics.median(ratios),
            "ratios": ratios,
        }


def worker(strategy: str, precision: str, options: argparse.Namespace) -> None:
    """Be one rank."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    full_precision()
    for row in rows_of(strategy, precision, options):
        if int(os.environ["RANK"]) == 0:
            write(options, row)


def reference_of(strategy: str, precision: str) -> Path:
    """Where the weights of one device are kept: of runs that clip, and of those that do not."""
    kind = "unclipped" if strategy == "fsdp" else "clipped"
    return Path(tempfile.gettempdir(), f"many-gpus-{kind}-{precision}.pt")


def full_precision() -> None:
    """Without TensorFloat-32, whose rounding would hide differences."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def references(options: argparse.Namespace) -> None:
    """What one device makes of the same mini-batches, for every strategy to be held against."""
    warnings.filterwarnings("ignore")
    full_precision()
    size = TRIAL if options.device == "cpu" else EXACT
    for precision in options.precisions:
        for strategy in ("ddp", "fsdp"):
            try:
                weights = {
                    dice: by_hand(
                        dice,
                        clips(strategy, dice),
                        options.processes,
                        precision,
                        size,
                        options.device,
                    )
                    for dice in DICE
                }
            except Exception as error:
                print(f"one device, {precision}: {error}", file=sys.stderr)  # noqa: T201
                continue
            torch.save(weights, reference_of(strategy, precision))


def write(options: argparse.Namespace, row: dict[str, Any]) -> None:
    """Append a row."""
    with Path(options.out, "rows.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def start(strategy: str, precision: str, options: argparse.Namespace) -> None:
    """Start the ranks of one process group and wait for their end."""
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", strategy, precision]
    shared = {
        **os.environ,
        "TORCHELASTIC_RUN_ID": "study",
        "WORLD_SIZE": str(options.processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    ranks = [
        subprocess.Popen(  # noqa: S603 - ourselves
            command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(options.processes)
    ]
    try:
        codes = [rank.wait(options.patience) for rank in ranks]
    except subprocess.TimeoutExpired:
        codes = ["too slow"]
    finally:
        for rank in ranks:
            rank.kill()
    if any(codes):
        row = {"strategy": strategy, "precision": precision, "processes": options.processes}
        write(options, {**row, "dice": "plain", "error": f"the processes ended with {codes}"})


def machine(options: argparse.Namespace) -> str:
    """What it ran on, and when."""
    cuda = options.device == "cuda"
    device = torch.cuda.get_device_name() if cuda else platform.machine()
    return (
        f"{options.processes} x {device}, {'NCCL' if cuda else 'gloo'}, Python "
        f"{platform.python_version()}, torch {torch.__version__}, "
        f"Lightning {lightning.__version__}, {datetime.date.today()}"
    )


def main() -> None:
    """Run the study from the command line, or a part of it that a run starts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", required=True)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60, help="of the runs that are timed")
    parser.add_argument("--patience", type=int, default=150, help="seconds for one process group")
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES)
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--references", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(*options.worker, options)
        return
    if options.references:
        references(options)
        return
    Path(options.out).mkdir(parents=True, exist_ok=True)
    Path(options.out, "machine.txt").write_text(machine(options) + "\n", encoding="utf-8")
    subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, __file__, *sys.argv[1:], "--references"],
        timeout=2 * options.patience,
        check=True,
    )
    for strategy in options.strategies:
        for precision in options.precisions:
            start(strategy, precision, options)


if __name__ == "__main__":
    main()
