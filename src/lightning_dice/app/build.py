"""From a configuration to a saving throw, and to the task that it is rolled for."""

from __future__ import annotations

import inspect
from typing import TypeVar

import torch
from hydra.utils import get_class, instantiate
from lightning.pytorch import LightningDataModule, LightningModule
from omegaconf import DictConfig, OmegaConf

from lightning_dice.app.data.base import TaskData
from lightning_dice.app.models.base import Metric, TaskModel
from lightning_dice.app.models.cnn import ImageClassifier
from lightning_dice.app.optimizers import Offered, OptimizerFactory, hold_to
from lightning_dice.app.refusals import plain, refused
from lightning_dice.app.resumed import dice_changes
from lightning_dice.callback import SavingThrowCallback
from lightning_dice.choices import Choices
from lightning_dice.rules import Arm, SavingThrow, SettingError, control_arm
from lightning_dice.rules.controls import WITHOUT_DICE

Part = TypeVar("Part")
_HOW = (
    "needs a constructor with an argument `optimizer`, and a configure_optimizers that calls it: "
    "`return self.optimizer(self.parameters())`"
)


def build_throw(config: DictConfig) -> SavingThrow:
    """The saving throw that is configured."""
    return SavingThrow(**plain(config.saving_throw))


def build_arm(config: DictConfig) -> Arm:
    """What ``control`` makes of the saving throw."""
    return control_arm(config.control, build_throw(config))


def build_dice(config: DictConfig) -> SavingThrowCallback:
    """Build the callback that ``saving_throw``, ``control`` and ``dice`` describe.

    Raises:
        SettingError: If a value is outside what is allowed, or two of them exclude each other.
    """
    arm = build_arm(config)
    given = {key: value for key, value in plain(config.dice).items() if value is not None}
    if config.control in WITHOUT_DICE:  # there is nothing to aim or to divide
        given = {key: given[key] for key in ("granularity", "seed") if key in given}
    asked = dice_changes(config.get("changes") or [], list(Choices(arm.throw).settings()))
    given["changes"] = [*(given.get("changes") or []), *asked]
    callback = SavingThrowCallback(arm.throw, draws=arm.draws, **given)
    callback.choices.check()  # Lightning asks only when training starts, which leaves a folder.
    return callback


def build_metric(config: DictConfig) -> Metric:
    """What the task is judged by: the ``metric`` that is given, or else the model's own.

    Raises:
        SettingError: If neither says it.
    """
    given = config.get("metric") or {}
    name, mode = given.get("name"), given.get("mode")
    if name is None:
        own = getattr(_find("model", config.model, LightningModule), "metric", None)
        if isinstance(own, Metric):
            return own
        remedy = "this model does not say what it is judged by; give metric.name and metric.mode"
        raise SettingError("metric.name", None, remedy)
    if mode not in ("min", "max"):
        remedy = f"expected min or max, as less or more of {name} is better"
        raise SettingError("metric.mode", mode, remedy)
    return Metric(name, given.get("unit") or "", mode)


def build_task(
    config: DictConfig, lr_factor: float = 1.0
) -> tuple[LightningModule, LightningDataModule]:
    """The model and the data it is trained on.

    Args:
        config: The whole configuration.
        lr_factor: What the learning rate is multiplied by.

    Raises:
        SettingError: If either, or the optimizer, has a setting that it cannot use, or if the model
            takes another kind of data, or no optimizer.
    """
    model_class = _find("model", config.model, LightningModule)
    data_class = _find("data", config.data, LightningDataModule)
    check_kinds(model_class, data_class)
    if not _takes(model_class, "optimizer"):
        raise SettingError("model", model_class.__name__, _HOW)
    with refused("data", config.data):
        # Experiments say it, whatever the data.
        unused = set() if _takes(data_class, "batch_size") else {"batch_size"}
        given = {key: value for key, value in config.data.items() if key not in unused}
        data: LightningDataModule = instantiate(given)
    optimizer = _build_optimizer(config, lr_factor)
    with refused("model", config.model):
        model: LightningModule = instantiate(config.model, _partial_=True)(optimizer=optimizer)
    if not isinstance(model, TaskModel):
        hold_to(model, optimizer)
    check_side(model, data)
    return model, data


def _build_optimizer(config: DictConfig, lr_factor: float) -> Offered:
    with refused("optimizer", config.optimizer):
        given = {key: value for key, value in config.optimizer.items() if value is not None}
        factory: OptimizerFactory = instantiate(given, _partial_=True, _convert_="all")
        made = Offered(factory, lr_factor)
        made([{"params": [torch.nn.Parameter(torch.zeros(1))]}])  # refuses a bad value now
        made.used = False
    return made


def _find(group: str, node: DictConfig, kind: type[Part]) -> type[Part]:
    """The class that a node names."""
    if OmegaConf.is_missing(node, "_target_"):
        remedy = "expected the name of a class of your own, such as mine.Net"
        raise SettingError(f"{group}._target_", "???", remedy)
    with refused(group, node):
        found = get_class(node._target_)
        if not issubclass(found, kind):
            raise SettingError(f"{group}._target_", node._target_, f"is no {kind.__name__}")
        return found


def _takes(made: type[object], argument: str) -> bool:
    """Whether a constructor has that argument, be it by passing others on."""
    for init in (vars(one)["__init__"] for one in made.__mro__ if "__init__" in vars(one)):
        taken = inspect.signature(init).parameters
        if argument in taken:
            return True
        if not any(one.kind is one.VAR_KEYWORD for one in taken.values()):
            return False
    return False


def check_batches(data: LightningDataModule, processes: int = 1) -> None:
    """Refuse data that does not fill one batch to train on in each of several processes.

    Other data than this package's own is left alone: how it makes batches is not known.
    """
    if not isinstance(data, TaskData):
        return
    data.setup("fit")
    examples = len(data.train) // processes  # type: ignore[arg-type]
    if examples < data.batch_size:
        each = f" for each of {processes} processes" if processes > 1 else ""
        remedy = f"there are {examples} examples to train on{each}; expected no more than that"
        raise SettingError("data.batch_size", data.batch_size, remedy)


def check_kinds(model: type[LightningModule], data: type[LightningDataModule]) -> None:
    """Refuse a model that takes another kind of data than it is given."""
    takes, gives = (getattr(part, "kind", None) for part in (model, data))
    if None not in (takes, gives) and takes != gives:
        raise SettingError(
            "model",
            model.__name__,
            f"takes {takes}, and data={data.__name__} gives {gives}; "
            "choose model=gpt with data=python_docs, model=cnn with data=digits, model=cnn_fashion "
            "with data=fashion_mnist, or model=minilm with data=rotten_tomatoes",
        )


def check_side(model: LightningModule, data: LightningDataModule) -> None:
    """Refuse a model for images of another size than those of its data."""
    if not isinstance(model, ImageClassifier) or not isinstance(data, TaskData):
        return
    side = getattr(data, "side", model.side)
    if side != model.side:
        remedy = (
            f"the images of data={type(data).__name__} have sides of {side}; expected that, or "
            "choose model=cnn with data=digits, or model=cnn_fashion with data=fashion_mnist"
        )
        raise SettingError("model.side", model.side, remedy)
