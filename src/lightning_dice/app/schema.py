"""The types that a configuration must have; its values are in ``conf/``.

Fields without a value here are set by the YAML file that names the schema. ``None`` stands for the
library's own default and is not passed on, so that no default is written twice.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

import lightning_dice
from lightning_dice.app.tuned import register_resolver
from lightning_dice.rules import SavingThrow


def config_folder() -> Path:
    """Where the YAML files are: inside an installed package, or at the top of a checkout."""
    package = Path(lightning_dice.__file__).parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def _default(function: Callable[..., Any], parameter: str) -> Any:
    return inspect.signature(function).parameters[parameter].default


@dataclass
class SavingThrowConfig:
    die: str = MISSING
    threshold: Any = MISSING  # checked by SavingThrow, which knows what the die can reach
    scaling: Any = MISSING  # a name, or one factor per face
    normalize: str = _default(SavingThrow, "normalize")


@dataclass
class DiceConfig:
    granularity: str = MISSING
    target: str = MISSING
    scope: str = MISSING
    include: list[str] | None = None
    exclude: list[str] | None = None
    ranks: str | None = None
    seed: int | None = MISSING
    skip_discarded: bool | None = None
    changes: list[str] | None = None


@dataclass
class GPTConfig:
    _target_: str = MISSING
    context: int = MISSING
    layers: int = MISSING
    heads: int = MISSING
    width: int = MISSING
    dropout: float = MISSING
    warmup: float = MISSING


@dataclass
class CNNConfig:
    _target_: str = MISSING
    channels: int = MISSING
    side: int = MISSING
    hidden: int | None = MISSING
    dropout: float = MISSING
    warmup: float = MISSING


@dataclass
class MiniLMConfig:
    _target_: str = MISSING
    encoder: str | None = MISSING
    length: int = MISSING
    dropout: float | None = MISSING
    warmup: float = MISSING


@dataclass
class PythonDocsConfig:
    _target_: str = MISSING
    context: int = MISSING
    batch_size: int = MISSING
    val_fraction: float = MISSING
    label_noise: float = MISSING
    train_fraction: float | None = None


@dataclass
class DigitsConfig:
    _target_: str = MISSING
    batch_size: int = MISSING
    val_fraction: float = MISSING
    label_noise: float = MISSING


@dataclass
class FashionMNISTConfig:
    _target_: str = MISSING
    batch_size: int = MISSING
    label_noise: float = MISSING
    rows: int | None = MISSING
    path: str | None = MISSING


@dataclass
class RottenTomatoesConfig:
    _target_: str = MISSING
    batch_size: int = MISSING
    val_fraction: float = MISSING
    label_noise: float = MISSING
    rows: int | None = MISSING
    length: int = MISSING
    path: str | None = MISSING
    tokenizer: str | None = MISSING


@dataclass
class AdamWConfig:
    _target_: str = MISSING
    lr: float = MISSING
    betas: list[float] = MISSING
    weight_decay: float = MISSING
    eps: float | None = None
    amsgrad: bool | None = None
    foreach: bool | None = None
    fused: bool | None = None


@dataclass
class SGDConfig:
    _target_: str = MISSING
    lr: float = MISSING
    momentum: float = MISSING
    weight_decay: float = MISSING
    dampening: float | None = None
    nesterov: bool | None = None
    foreach: bool | None = None
    fused: bool | None = None


@dataclass
class RMSpropConfig:
    _target_: str = MISSING
    lr: float = MISSING
    alpha: float = MISSING
    momentum: float = MISSING
    weight_decay: float = MISSING
    eps: float | None = None
    centered: bool | None = None
    foreach: bool | None = None


@dataclass
class AdafactorConfig:
    _target_: str = MISSING
    lr: float = MISSING
    weight_decay: float = MISSING
    beta2_decay: float | None = None
    d: float | None = None
    foreach: bool | None = None


@dataclass
class MuonConfig:
    _target_: str = MISSING
    lr: float = MISSING
    momentum: float = MISSING
    weight_decay: float = MISSING
    adamw_ratio: float = MISSING
    adamw_betas: list[float] = MISSING


@dataclass
class TrainerConfig:
    accelerator: str | None = None
    devices: Any = None  # a number, a list or a string
    strategy: str | None = None
    num_nodes: int | None = None
    precision: Any = None  # 32, "bf16-mixed", ...
    max_steps: int | None = None
    max_epochs: int | None = None
    max_time: str | None = None
    accumulate_grad_batches: int | None = None
    gradient_clip_val: float | None = None
    gradient_clip_algorithm: str | None = None
    val_check_interval: Any = None  # batches, or a fraction of an epoch
    check_val_every_n_epoch: int | None = None
    limit_train_batches: Any = None
    limit_val_batches: Any = None
    overfit_batches: Any = None
    num_sanity_val_steps: int | None = None
    log_every_n_steps: int | None = None
    deterministic: bool | None = None
    benchmark: bool | None = None
    detect_anomaly: bool | None = None


@dataclass
class MetricConfig:
    name: str | None = MISSING
    unit: str | None = MISSING
    mode: str | None = MISSING


@dataclass
class TrainConfig:
    saving_throw: SavingThrowConfig = field(default_factory=SavingThrowConfig)
    dice: DiceConfig = field(default_factory=DiceConfig)
    model: Any = MISSING
    data: Any = MISSING
    optimizer: Any = MISSING
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    tuned: Any = None
    metric: MetricConfig = field(default_factory=MetricConfig)
    logger: Any = None
    seed: int = MISSING
    ckpt_path: str | None = MISSING
    changes: list[str] | None = MISSING
    control: str = MISSING
    report: bool = MISSING
    checkpoints: bool = MISSING
    trajectory: int = MISSING
    twin: bool = MISSING
    progress: bool = MISSING


def register() -> None:
    """Make the schemas known to Hydra under ``schema/``, and ``${tuned:...}`` to OmegaConf."""
    register_resolver()
    store = ConfigStore.instance()
    store.store(group="schema", name="train", node=TrainConfig)
    store.store(group="schema", name="trainer", node=TrainerConfig)
    store.store(group="schema/model", name="gpt", node=GPTConfig)
    store.store(group="schema/model", name="cnn", node=CNNConfig)
    store.store(group="schema/model", name="minilm", node=MiniLMConfig)
    store.store(group="schema/data", name="python_docs", node=PythonDocsConfig)
    store.store(group="schema/data", name="digits", node=DigitsConfig)
    store.store(group="schema/data", name="fashion_mnist", node=FashionMNISTConfig)
    store.store(group="schema/data", name="rotten_tomatoes", node=RottenTomatoesConfig)
    for group in ("model", "data"):  # which takes any setting
        own = OmegaConf.create({"_target_": MISSING}, flags={"struct": False})
        store.store(group=f"schema/{group}", name="own", node=own)
    store.store(group="schema/optimizer", name="adamw", node=AdamWConfig)
    store.store(group="schema/optimizer", name="sgd", node=SGDConfig)
    store.store(group="schema/optimizer", name="rmsprop", node=RMSpropConfig)
    store.store(group="schema/optimizer", name="adafactor", node=AdafactorConfig)
    store.store(group="schema/optimizer", name="muon", node=MuonConfig)
