import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Gradients against updates")


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    # Gradients against updates

    A roll gives a scale, and the scale has to go somewhere: into the gradient that the optimizer
    sees, or into the update that it makes. Plain SGD makes no difference between the two. This
    notebook measures what arrives under four optimizers, what a discard is that is not one, and
    what either target does to the accuracy of a small classifier under AdamW.
    """)
    return


@app.cell
def _():
    import copy
    import logging
    import warnings

    import marimo as mo
    import matplotlib.pyplot as plt
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    from lightning_dice import SavingThrow
    from lightning_dice.adapters.torch_loop import attach

    torch.set_num_threads(1)
    # Dice of one scale, and hard thresholds, warn when training starts: here that is wanted.
    warnings.filterwarnings("ignore", message=r"d\d+, threshold")
    # And attach() says in one line, every time, what this notebook shows.
    logging.getLogger("lightning_dice").setLevel(logging.ERROR)
    return SavingThrow, attach, copy, load_digits, mo, nn, plt, torch


@app.cell
def _(load_digits, nn, torch):
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(digits.data, dtype=torch.float32)[order] / 16
    labels = torch.tensor(digits.target)[order]

    OPTIMIZERS = {
        "SGD": lambda weights: torch.optim.SGD(weights, lr=0.1),
        "momentum": lambda weights: torch.optim.SGD(weights, lr=0.02, momentum=0.9),
        "Adam": lambda weights: torch.optim.Adam(weights, lr=0.003),
        # Fused is the quickest on a CPU, and the same step.
        "AdamW": lambda weights: torch.optim.AdamW(weights, lr=0.003, fused=True),
    }

    def start(optimizer, seed=0):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        return model, OPTIMIZERS[optimizer](model.parameters())

    def step(model, optimizer):
        batch = torch.randint(500, len(labels), (32,))  # the first 500 are kept for the accuracy
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()

    return OPTIMIZERS, images, labels, start, step


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## What arrives of a scale

    After 50 plain steps the optimizer has a history. From there one step is made again and again,
    on the same batch: once plainly, and then with one scale in either place. A `d2` whose two faces
    have the same factor is a die that always rolls that scale. What arrives is the step made, as
    its projection on the plain one: 1 is the whole of it, and a scale that arrives is on the
    diagonal.
    """)
    return


@app.cell
def _(OPTIMIZERS, SavingThrow, attach, copy, nn, start, step, torch):
    SCALES = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)

    def after(model, optimizer, factor, target, steps=1):
        """How far the weights move in some more steps, if every roll gives this factor."""
        # A copy of both, in one go, so that the optimizer has the weights of the new model.
        model, optimizer = copy.deepcopy((model, optimizer))
        before = nn.utils.parameters_to_vector(model.parameters()).detach()
        torch.manual_seed(1)
        with attach(optimizer, SavingThrow("d2", 1, [factor, factor]), target=target, seed=0):
            for _ in range(steps):
                step(model, optimizer)
        return nn.utils.parameters_to_vector(model.parameters()).detach() - before

    arrived, moved = {}, {}
    for _name in OPTIMIZERS:
        _moment = start(_name)
        for _ in range(50):
            step(*_moment)
        _full = after(*_moment, 1.0, "update")
        for _target in ("gradient", "update"):
            for _scale in SCALES:
                _made = after(*_moment, _scale, _target)
                arrived[_name, _target, _scale] = float(_made @ _full / (_full @ _full))
        for _kind, _factor, _target in (
            ("zero gradient", 0.0, "gradient"),
            ("discard, gradient", None, "gradient"),
            ("discard, update", None, "update"),
        ):
            _length = after(*_moment, _factor, _target, steps=20).norm() / _full.norm()
            moved[_name, _kind] = float(_length)
    return SCALES, arrived, moved


@app.cell(hide_code=True)
def _(OPTIMIZERS, SCALES, arrived, plt):
    def draw_arrived():
        figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
        for panel, target in zip(panels, ("gradient", "update"), strict=True):
            panel.plot(SCALES, SCALES, color="grey", linewidth=5, alpha=0.3, label="all of it")
            looks = zip(OPTIMIZERS, ("o-", "s-", "^-", "v--"), strict=True)
            for name, look in looks:
                panel.plot(
                    SCALES, [arrived[name, target, s] for s in SCALES], look, ms=5, label=name
                )
            panel.axhline(0, color="grey", linewidth=0.8)
            panel.set(xlabel="scale rolled", title=f"target {target}")
        panels[0].set_ylabel("share of the plain step")
        panels[1].legend()
        return figure

    draw_arrived()
    return


@app.cell(hide_code=True)
def _(OPTIMIZERS, SCALES, arrived, mo, moved):
    _off = max(abs(arrived[n, "update", s] - s) for n in OPTIMIZERS for s in SCALES)
    _rows = [
        "| optimizer | scale 0.25 | scale -0.5 | scale -1 | 20 zero gradients | 20 discards |",
        "|---|---|---|---|---|---|",
    ]
    for _name in OPTIMIZERS:
        _of = [f"{arrived[_name, 'gradient', s]:.3f}" for s in (0.25, -0.5, -1.0)]
        _zeros = f"{moved[_name, 'zero gradient']:.3g}"
        _none = max(moved[_name, f"discard, {target}"] for target in ("gradient", "update"))
        _rows.append("| " + " | ".join([_name, *_of, _zeros, f"{_none:.3g}"]) + " |")
    _momentum, _adam = (arrived[n, "gradient", -0.5] for n in ("momentum", "AdamW"))
    _said = f"""
    With target `update` all of every scale arrives, under all four: the largest difference is
    {_off:.0e}. With target `gradient` that is so for SGD alone. A gradient times -0.5 gives
    {_momentum:.2f} of the plain step with momentum and {_adam:.2f} with AdamW, forwards, as most of
    a step comes from the gradients before.

    The last two columns say how far the weights move in 20 such steps in a row, in plain steps. A
    gradient of zero is no discard: where the optimizer has a history the weights move on. A real
    discard moves nothing, whatever the target.
    """
    mo.md("\n".join([*_rows, "", *(line.strip() for line in _said.splitlines())]))
    return


@app.cell(hide_code=True)
def _(SavingThrow, mo):
    _odds = SavingThrow("d20", threshold=10).odds()
    mo.md(f"""
    ## What it does to the accuracy

    AdamW, 250 steps in batches of 32, three seeds; the same weights to start from and the same
    batches for each kind of training. The two targets differ in the mean step too. Target `update`
    leaves E[s] of the plain one, {float(_odds.mean):.2f} at threshold 10. Target `gradient` leaves
    more, as AdamW divides by the size of the gradients it was given: of a steady gradient the
    square root of the efficiency would be left, {float(_odds.efficiency) ** 0.5:.2f}. So there is a
    third kind, target `update` with `normalize="mean"`, whose mean step is the plain one.
    """)
    return


@app.cell
def _(SavingThrow, attach, images, labels, start, step, torch):
    SEEDS, THRESHOLDS = (0, 1, 2), (5, 10, 13, 15)
    KINDS = {
        "gradient": ("gradient", "none"),
        "update": ("update", "none"),
        "update, normalized": ("update", "mean"),
    }

    def train(seed, throw=None, target="gradient"):
        model, optimizer = start("AdamW", seed)
        if throw is not None:
            attach(optimizer, throw, target=target, seed=seed)
        for _ in range(250):
            step(model, optimizer)
        with torch.no_grad():
            guesses = model(images[:500]).argmax(dim=1)
        return float((guesses == labels[:500]).float().mean())

    plain = [train(seed) for seed in SEEDS]
    accuracy = {
        (kind, threshold): [
            train(seed, SavingThrow("d20", threshold, normalize=normalize), target)
            for seed in SEEDS
        ]
        for kind, (target, normalize) in KINDS.items()
        for threshold in THRESHOLDS
    }
    return KINDS, THRESHOLDS, accuracy, plain


@app.cell(hide_code=True)
def _(KINDS, THRESHOLDS, accuracy, plain, plt):
    def draw_accuracy():
        figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
        axes.axhline(sum(plain) / len(plain), color="grey", linewidth=1, label="plain")
        looks = zip(KINDS, ("#D55E00", "#0072B2", "#009E73"), "os^", strict=True)
        for aside, (kind, colour, marker) in enumerate(looks, start=-1):
            places = [place + aside * 0.12 for place in range(len(THRESHOLDS))]
            for place, threshold in zip(places, THRESHOLDS, strict=True):
                shares = accuracy[kind, threshold]
                axes.scatter([place] * len(shares), shares, color=colour, marker=marker, s=22)
            means = [sum(accuracy[kind, t]) / len(accuracy[kind, t]) for t in THRESHOLDS]
            axes.plot(places, means, color=colour, linewidth=1, label=kind)
        axes.set(ylabel="accuracy (points: seeds)", xlabel="threshold", ylim=(0, 1))
        axes.set_xticks(range(len(THRESHOLDS)), THRESHOLDS)
        axes.legend(loc="lower left")
        return figure

    draw_accuracy()
    return


@app.cell(hide_code=True)
def _(KINDS, THRESHOLDS, accuracy, mo, plain):
    _mean = {key: sum(shares) / len(shares) for key, shares in accuracy.items()}
    _rows = [
        "| threshold | " + " | ".join(KINDS) + " |",
        "|---" * (len(KINDS) + 1) + "|",
    ]
    for _threshold in THRESHOLDS:
        _cells = [
            f"{_mean[_kind, _threshold]:.1%} ({min(_seeds):.1%} to {max(_seeds):.1%})"
            for _kind in KINDS
            for _seeds in [accuracy[_kind, _threshold]]
        ]
        _rows.append(f"| {_threshold} | " + " | ".join(_cells) + " |")
    _plain = f"{sum(plain) / len(plain):.1%} ({min(plain):.1%} to {max(plain):.1%})"
    _said = f"Means of three seeds, with the lowest and the highest. Plain AdamW comes to {_plain}."
    mo.md("\n".join([*_rows, "", _said]))
    return


@app.cell(hide_code=True)
def _(accuracy, mo):
    _mean = {key: sum(shares) / len(shares) for key, shares in accuracy.items()}
    _ahead = [100 * (_mean["gradient", t] - _mean["update", t]) for t in (5, 10)]
    _normalized = 100 * (_mean["update, normalized", 13] - _mean["gradient", 13])
    _least = min(seed for (_, t), seeds in accuracy.items() if t == 15 for seed in seeds)
    _most = max(seed for (_, t), seeds in accuracy.items() if t == 15 for seed in seeds)
    mo.md(f"""
    At thresholds 5 and 10 the `gradient` target is ahead of `update`, by {_ahead[0]:.1f} and
    {_ahead[1]:.1f} points in the mean. It need not be a merit of scaling gradients: the
    difference is gone once the mean step of `update` is the plain one. At 13 the normalized
    update is ahead of `gradient` with each of the three seeds, by {_normalized:.0f} points in
    the mean. At 15 nothing learns reliably: all that is there lies between {_least:.0%} and
    {_most:.0%}.

    So a target is not better or worse by itself. With `update` a scale means what it says, and the
    mean step can be set; with `gradient` under AdamW neither is so. This is one small model, one
    learning rate and three seeds: differences of a few points are within what seeds do.

    ## Exercises

    1. Measure what arrives after 5 plain steps instead of 50. Is it more or less, and why?
    2. Give momentum a gradient times 0.25 in each of 50 steps in a row, and compare how far the
       weights got with 50 plain steps. The guide's page "Where the factor goes" has the answer.
    """)
    return


if __name__ == "__main__":
    app.run()
