"""Which parameters go together in an optimizer, and the optimizer that parts hidden matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_dice.extras import install_command
from lightning_dice.rules import SettingError

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]]
"""Parameters or groups of them, as every optimizer of torch takes them."""
OptimizerFactory = Callable[[Parameters], Optimizer]
Group = dict[str, Any]


class Offered:
    """A factory that knows whether it has been called.

    Args:
        func: The factory.
        factor: What the learning rates of its optimizer are multiplied by.
    """

    def __init__(self, func: OptimizerFactory, factor: float = 1.0) -> None:
        self.func = func
        self.used = False
        self._factor = factor

    def __call__(self, parameters: Parameters) -> Optimizer:
        """Make an optimizer."""
        self.used = True
        optimizer = self.func(parameters)
        for group in optimizer.param_groups if self._factor != 1 else ():
            if "lr" not in group:
                remedy = "multiplies the learning rate, and this optimizer has none"
                raise SettingError("control", "plain_mean", remedy)
            group["lr"] *= self._factor
        return optimizer


def hold_to(model: LightningModule, offered: Offered) -> None:
    """Let a model fail that makes another optimizer than the one that it was offered.

    Runs would be compared by optimizers that none of them has.
    """
    own = model.configure_optimizers

    @wraps(own)
    def configure_optimizers() -> OptimizerLRScheduler:
        made = own()
        if not offered.used:
            remedy = "its configure_optimizers makes no use of the `optimizer` that it was given"
            raise SettingError("model", type(model).__name__, remedy)
        return made

    model.configure_optimizers = configure_optimizers  # type: ignore[method-assign]


def parameter_groups(module: nn.Module, factory: OptimizerFactory) -> list[Group]:
    """Matrices, then vectors without weight decay; embeddings last where they are held apart.

    Args:
        module: Whose parameters that require gradients are grouped.
        factory: What the groups are for: ``muon`` holds embeddings apart.

    Example:
        >>> from functools import partial
        >>> net = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2))
        >>> [[tuple(p.shape) for p in group["params"]] for group in parameter_groups(net, list)]
        [[(5, 3), (2, 3)], [(2,)]]
        >>> apart = parameter_groups(net, partial(muon, lr=0.1))
        >>> [[tuple(p.shape) for p in group["params"]] for group in apart]
        [[(2, 3)], [(2,)], [(5, 3)]]
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    apart = _innermost(factory) is muon
    embeddings = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding) and apart}
    groups: list[Group] = [
        {"params": [p for p in parameters if p.ndim >= 2 and id(p) not in embeddings]},
        # Gains and biases set a scale; decay would pull it to 0 for no reason.
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    if embeddings:
        held = [p for p in parameters if id(p) in embeddings]
        groups.append({"params": held, "use_muon": False})
    return groups


def _innermost(factory: Any) -> Any:
    while hasattr(factory, "func"):  # partial, Offered
        factory = factory.func
    return factory


def muon(
    parameters: Parameters,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    adamw_ratio: float,
    adamw_betas: Sequence[float],
) -> Optimizer:
    """Muon for hidden matrices and AdamW for the other parameters, with one learning rate to tune.

    Whatever has two dimensions or more is a hidden matrix, unless its group says ``use_muon=False``
    as one of embeddings should. Source: Jordan et al., "Muon: An optimizer for hidden layers in
    neural networks" (2024).

    Args:
        parameters: Parameters or groups of them; what a group says of ``weight_decay`` holds.
        lr: Of hidden matrices, whose update has a spectral norm of about ``lr``.
        momentum: Of hidden matrices, 0 to below 1.
        weight_decay: Decoupled; a factor on the learning rate.
        adamw_ratio: The other parameters' learning rate as a share of ``lr``, above 0.
        adamw_betas: Decay rates of their two moments.

    Raises:
        SettingError: If pytorch-optimizer is not installed, or ``adamw_ratio`` is not above 0.
    """
    try:
        from pytorch_optimizer import Muon
    except ModuleNotFoundError as error:
        remedy = f"its package is missing; {install_command('muon')}"
        raise SettingError("optimizer", "muon", remedy) from error
    if not adamw_ratio > 0:
        raise SettingError("optimizer.adamw_ratio", adamw_ratio, "expected above 0")
    first, second = adamw_betas
    made = Muon(
        [part for group in _as_groups(parameters) for part in _parted(group)],
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        adamw_lr=adamw_ratio * lr,
        adamw_betas=(first, second),
        adamw_wd=weight_decay,
    )
    assert isinstance(made, Optimizer)
    return made


def _as_groups(parameters: Parameters) -> list[Group]:
    given: list[Any] = list(parameters)
    return [{"params": given}] if given and isinstance(given[0], Tensor) else given


def _parted(group: Group) -> list[Group]:
    """A group as one of hidden matrices and one of others, without those that would be empty."""
    hidden = [p for p in group["params"] if p.ndim >= 2 and group.get("use_muon", True)]
    others = [p for p in group["params"] if p.ndim < 2 or not group.get("use_muon", True)]
    return [
        {**group, "params": params, "use_muon": use_muon}
        for params, use_muon in ((hidden, True), (others, False))
        if params
    ]
