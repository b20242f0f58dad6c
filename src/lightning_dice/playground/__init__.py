"""The page to teach with: training with and without dice, on losses of two weights.

What the page computes in JavaScript is held against the Python core and ``torch.optim`` by tests;
rules, factors and odds it has from here.
"""

from lightning_dice.playground.page import playground, write_playground

__all__ = ["playground", "write_playground"]
