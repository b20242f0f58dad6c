"""A run of the study by a plain loop: the package's own dice, and torch's optimizers."""

import torch
from torch.nn.functional import cross_entropy

from lightning_dice.adapters.torch_loop import attach
from lightning_dice.app.models.base import warmup_cosine

WARMUP = 0.1
OPTIMIZERS = {
    "adamw": lambda groups, lr: torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99)),
    "rmsprop": lambda groups, lr: torch.optim.RMSprop(groups, lr=lr),
    "sgd": lambda groups, lr: torch.optim.SGD(groups, lr=lr, momentum=0.9),
}


def logits_of(module, inputs):
    """The logits of a plain module, ``(examples, classes)``."""
    config = getattr(module, "config", None)
    if config is None:
        return module(inputs).flatten(0, -2)
    read = (inputs != config.pad_token_id).long()  # an encoder of transformers
    return module(input_ids=inputs, attention_mask=read).logits


def plain_loop(regime, base, run):
    """The weights at the end, as a row."""
    network, data = regime.network, regime.load()
    steps = run.arm.steps(regime.steps)
    torch.manual_seed(run.seed)
    module = network.build()
    own = dict(module.named_parameters())
    decay = run.arm.weight_decay
    if decay is None:
        decay = 0.1 if base == "adamw" else 0.0
    groups = [
        {"params": [p for p in own.values() if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in own.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = OPTIMIZERS[base](groups, run.arm.lr_factor * run.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_cosine(step, steps, WARMUP)
    )
    if run.arm.throw is not None:
        attach(
            optimizer,
            run.arm.throw,
            target=run.arm.target,
            scope=run.arm.scope,
            include=network.hidden if run.arm.include == "hidden" else None,
            draws=run.arm.draws,
            seed=run.dice_seed,
            model=module,
        )
    for where in regime.order(data.train, run.seed, steps):
        inputs, targets = regime.take(data.train, where.unsqueeze(0))
        optimizer.zero_grad()
        cross_entropy(logits_of(module, inputs[0]), targets[0]).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network.layout.row(module)
