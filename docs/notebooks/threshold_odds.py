import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="The threshold's odds against real training")


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    # The threshold's odds against real training

    The odds of a saving throw are known before anything is trained. Do they say what training will
    come to? This notebook computes them for every threshold of a d20, trains a small classifier of
    handwritten digits at some of them, and holds one against the other.
    """)
    return


@app.cell
def _():
    import warnings

    import marimo as mo
    import matplotlib.pyplot as plt
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    from lightning_dice import SavingThrow
    from lightning_dice.adapters.torch_loop import attach

    torch.set_num_threads(1)
    # The hard thresholds warn when training starts; here they are what is looked at.
    warnings.filterwarnings("ignore", message="d20, threshold")
    return SavingThrow, attach, load_digits, mo, nn, plt, torch


@app.cell
def _(SavingThrow):
    odds = {threshold: SavingThrow("d20", threshold).odds() for threshold in range(1, 21)}
    for _threshold, _odds in odds.items():
        print(
            f"threshold {_threshold:2}  E[s] {_odds.mean!s:>8} = {float(_odds.mean):6.3f}"
            f"  efficiency {float(_odds.efficiency):.4f}"
        )
    return (odds,)


@app.cell(hide_code=True)
def _(mo, odds):
    _last = max(threshold for threshold, its in odds.items() if its.mean > 0)
    mo.md(f"""
    E[s] is the expected scale: under plain SGD, the expected step in units of a full one. It is
    above 0 up to threshold {_last}, and below 0 from {_last + 1} on, where training climbs.
    Efficiency, E[s] squared over E[s squared], is how much of the signal is left beside the noise
    of the dice. It does not see the sign: at threshold 20 it is {float(odds[20].efficiency):.2f}
    and the mean step is {float(odds[20].mean):.2f}, so that training
    climbs, with less noise than at threshold 10.

    ## Training

    One hidden layer of 32, 250 steps of plain SGD in batches of 32 with learning rate 0.3, and 500
    digits kept for the accuracy. Three kinds of training start from the same weights and see the
    same batches:

    * **dice**: the saving throw, attached to the optimizer;
    * **same mean step**: no dice, the learning rate times E[s]. It keeps the mean of a step and
      leaves the noise away, and is there only where E[s] is above 0;
    * **plain**: no dice, the learning rate as it is.
    """)
    return


@app.cell
def _(SavingThrow, attach, load_digits, nn, odds, torch):
    THRESHOLDS = (2, 5, 10, 12, 13, 14, 15, 17, 20)
    SEEDS = (0, 1, 2)
    LR = 0.3

    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(digits.data, dtype=torch.float32)[order] / 16
    labels = torch.tensor(digits.target)[order]

    def train(seed, lr, throw=None):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        if throw is not None:
            attach(optimizer, throw, seed=seed)
        for _ in range(250):
            batch = torch.randint(500, len(labels), (32,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        return float((model(images[:500]).argmax(dim=1) == labels[:500]).float().mean())

    plain = [train(seed, LR) for seed in SEEDS]
    dice = {
        threshold: [train(seed, LR, SavingThrow("d20", threshold)) for seed in SEEDS]
        for threshold in THRESHOLDS
    }
    same_mean = {
        threshold: [train(seed, LR * float(odds[threshold].mean)) for seed in SEEDS]
        for threshold in THRESHOLDS
        if odds[threshold].mean > 0
    }
    commonest = float(labels[:500].bincount().max() / 500)
    return SEEDS, commonest, dice, plain, same_mean


@app.cell(hide_code=True)
def _(commonest, dice, odds, plain, plt, same_mean):
    def mean(values):
        return sum(values) / len(values)

    def draw():
        figure, (top, bottom) = plt.subplots(
            2, 1, figsize=(8, 6.6), sharex=True, layout="constrained"
        )
        top.axhline(mean(plain), color="grey", linewidth=1, label="plain")
        top.axhline(commonest, color="grey", linewidth=1, linestyle=":", label="commonest digit")
        kinds = (("same mean step", same_mean, "#009E73", -0.12), ("dice", dice, "#0072B2", 0.12))
        for name, accuracy, colour, aside in kinds:
            means = [mean(shares) for shares in accuracy.values()]
            top.plot(list(accuracy), means, color=colour, label=name)
            for threshold, shares in accuracy.items():
                top.scatter([threshold + aside] * len(shares), shares, s=14, color=colour)
        top.set(ylabel="accuracy (points: seeds)", ylim=(0, 1), title="What training comes to")
        top.legend(loc="lower left")
        bottom.axhline(0, color="grey", linewidth=1)
        bottom.plot(list(odds), [float(its.mean) for its in odds.values()], "o-", color="#D55E00")
        efficiency = [float(its.efficiency) for its in odds.values()]
        bottom.plot(list(odds), efficiency, "s-", color="#CC79A7")
        bottom.text(2.6, 0.38, "E[s]", color="#D55E00")
        bottom.text(5.3, 0.68, "efficiency", color="#CC79A7")
        bottom.set(xlabel="threshold", xticks=range(1, 21), title="What the odds say")
        return figure

    draw()
    return (mean,)


@app.cell(hide_code=True)
def _(dice, mean, mo, odds, plain, same_mean):
    def table():
        rows = [
            "| threshold | E[s] | efficiency | dice | same mean step | plain less dice |",
            "|---|---|---|---|---|---|",
        ]
        for threshold, shares in dice.items():
            control = same_mean.get(threshold)
            beside = "none" if control is None else f"{mean(control):.1%}"
            its = odds[threshold]
            rows.append(
                f"| {threshold} | {float(its.mean):.3f} | {float(its.efficiency):.4f}"
                f" | {mean(shares):.1%} | {beside} | {100 * (mean(plain) - mean(shares)):.1f} |"
            )
        return "\n".join(rows)

    mo.md(table())
    return


@app.cell(hide_code=True)
def _(commonest, dice, mean, mo, odds, plain, same_mean):
    _gap = {t: 100 * (mean(shares) - mean(dice[t])) for t, shares in same_mean.items()}
    _easy = max(_gap[t] for t in (2, 5, 10))
    _back = [mean(dice[t]) for t in (17, 20)]
    mo.md(f"""
    ## What is seen

    Plain training comes to {mean(plain):.1%}; always guessing the commonest digit would be
    {commonest:.1%}.

    * **E[s] orders the thresholds.** As long as it is above 0, the lower it is the less was learned
      in these 250 steps. Where it is below 0 nothing was: {_back[0]:.1%} at threshold 17 and
      {_back[1]:.1%} at 20.
    * **Up to threshold 10 the mean step is most of the story.** Dice end at most {_easy:.1f} points
      below plain training with the same mean step.
    * **Beyond, the noise is a cost of its own**, and it grows as the efficiency falls: from
      {_gap[12]:.0f} points at threshold 12 to {_gap[13]:.0f} at 13 and {_gap[14]:.0f} at 14. At 15,
      where the efficiency is {float(odds[15].efficiency):.4f}, the same mean step still comes to
      {mean(same_mean[15]):.1%} and dice to {mean(dice[15]):.1%}.
    * **Efficiency alone says nothing about the direction.** It is higher at 20 than at 10, and
      training at 20 went backwards with it.

    This is one small model with one learning rate, and three seeds. Three seeds show differences of
    tens of points; they do not show which of two that lie close together is better: at threshold
    13 alone the dice came to between {min(dice[13]):.1%} and {max(dice[13]):.1%}. Where a threshold
    stops learning depends on the learning rate and on the number of steps, which the odds do not
    know.

    ## Exercises

    1. Give the training 1000 steps. Which thresholds catch up, and which cannot?
    2. Use `scaling="skip"`, which discards failures instead of reversing them. What are the odds at
       threshold 15 now, and does it learn?
    """)
    return


if __name__ == "__main__":
    app.run()
