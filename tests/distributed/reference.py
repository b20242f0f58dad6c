"""What groups of processes are held against: one process, and plain loops."""

from __future__ import annotations

from distributed.cases import SEED, STEPS, THROW, wide
from lightning_dice import SavingThrowCallback
from lightning_dice.rules import Roller
from support.toy import Toy, adamw, data, fit, loss_of, network

NEAR = 2e-6  # float32, summed in another order


def check(ranks):
    """All ranks are alike, in weights and in rolls; the weights of the first."""
    for rank in ranks:
        assert "error" not in rank, rank["trace"]
        assert rank["weights"] == ranks[0]["weights"], "bit-identical"
        assert rank["rolls"] == ranks[0]["rolls"]
    return ranks[0]["weights"]


def distance(ours, theirs):
    pairs = zip(ours, theirs, strict=True)
    return max(abs(a - b) for own, other in pairs for a, b in zip(own, other, strict=True))


def one_process(settings, hidden=None, **trainer):
    """What the same Trainer makes of the whole mini-batches, without other processes."""
    model = Toy(adamw)
    if hidden is not None:
        model.net = wide(hidden)
    settings = None if settings is None else {"throw": THROW, "seed": SEED, **settings}
    dice = [] if settings is None else [SavingThrowCallback(**settings)]
    fit(model, dice, max_steps=STEPS, **trainer)
    rolls = [(r.batch, r.optimizer, r.slot, r.natural) for d in dice for r in d.rolls.recent]
    return [w.double().flatten().tolist() for w in model.weights()], rolls


def by_hand(replicas, accumulate=1, hidden=None, epochs=1):
    """Replicas that roll apart, as a plain loop: the mean of s x g, a discard adding nothing."""
    net = network() if hidden is None else wide(hidden)
    optimizer = adamw(net.parameters())
    roller = Roller(THROW, SEED)
    batches = data() * epochs
    for window in range(STEPS):
        optimizer.zero_grad()
        kept = False
        for batch in range(window * accumulate, (window + 1) * accumulate):
            inputs, targets = batches[batch]
            for replica in range(replicas):
                scale = roller.roll(batch, replica).scale
                if scale is None:
                    continue
                kept = True
                mine = slice(replica, None, replicas)
                loss = loss_of(net, (inputs[mine], targets[mine]))
                (loss * scale / replicas / accumulate).backward()
        if kept:
            optimizer.step()
    return [p.detach().double().flatten().tolist() for p in net.parameters()]
