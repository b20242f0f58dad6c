import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="First throw")


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    # First throw

    Roll-to-Train rolls a die at every weight update, and what the die says decides how much of
    the update is applied. This notebook makes one saving throw, holds its odds against rolls, and
    then trains a small classifier of handwritten digits with it, on one core in a few seconds.
    """)
    return


@app.cell
def _():
    import logging
    import warnings

    import marimo as mo
    import matplotlib.pyplot as plt
    import torch
    from lightning.pytorch import LightningModule, Trainer, seed_everything
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    from lightning_dice import Outcome, SavingThrow, SavingThrowCallback
    from lightning_dice.rules import Roller

    torch.set_num_threads(1)
    # What Lightning says of the machine differs from one to the next.
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    # What Lightning and torch say of each other: nothing here can change it.
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
    # The digits are in memory: there is nothing that workers could do.
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    return (
        DataLoader,
        LightningModule,
        Outcome,
        Roller,
        SavingThrow,
        SavingThrowCallback,
        TensorDataset,
        Trainer,
        load_digits,
        mo,
        nn,
        plt,
        seed_everything,
        torch,
    )


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## A saving throw

    A saving throw is a die, the threshold that its total must reach, and what each outcome makes of
    the update. The number for that is the scale: 1 is the full update, 0.5 is half of it, and below
    0 it is reversed. A discard is no update at all. (Here the optimizer is plain SGD, for which a
    scaled gradient and a scaled update are the same.)

    Move the slider for other thresholds; everything below follows it. The page was made with 10.
    """)
    return


@app.cell
def _(mo):
    threshold = mo.ui.slider(1, 20, value=10, label="threshold", show_value=True)
    threshold
    return (threshold,)


@app.cell
def _(SavingThrow, threshold):
    throw = SavingThrow("d20", threshold=threshold.value)
    for _natural in (1, 2, 9, 10, 19, 20):
        _roll = throw.resolve(_natural)
        print(f"{_natural:2}  {_roll.outcome:16}  {'discard' if _roll.discard else _roll.scale}")
    return (throw,)


@app.cell(hide_code=True)
def _(mo, throw):
    _odds = throw.odds()
    mo.md(f"""
    ## Its odds, against rolls

    The odds are computed in fractions, by going through the faces. The expected scale is
    {_odds.mean}, or {float(_odds.mean):.3f} of a full step. {float(_odds.inverse):.0%} of the rolls
    reverse and {float(_odds.discard):.0%} discard. The efficiency, {_odds.efficiency} or
    {float(_odds.efficiency):.3f}, is how much of the signal the dice leave.

    A `Roller` rolls. A roll depends on the seed and on the step alone, so that these 1000 are the
    same on every machine.
    """)
    return


@app.cell
def _(Outcome, Roller, mo, throw):
    def count(rolls):
        rows = ["| outcome | expected | rolled |", "|---|---|---|"]
        for outcome in Outcome:
            expected = float(throw.odds().probability[outcome]) * len(rolls)
            rolled = sum(roll.outcome == outcome for roll in rolls)
            rows.append(f"| {outcome} | {expected:.0f} | {rolled} |")
        mean = sum(roll.scale or 0 for roll in rolls) / len(rolls)  # a discard counts as 0
        rows.append(f"| mean scale | {float(throw.odds().mean):.3f} | {mean:.3f} |")
        return "\n".join(rows)

    roller = Roller(throw, seed=0)
    mo.md(count([roller.roll(step) for step in range(1000)]))
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## A training

    An ordinary classifier: 64 pixels in, ten digits out. The only line about dice is the callback
    that the `Trainer` is given. It is trained three times from the same weights, with the same
    batches: without dice, with them, and without them at a learning rate times the mean scale,
    which is the same mean step. One digit in five is kept for the accuracy.
    """)
    return


@app.cell
def _(
    DataLoader,
    LightningModule,
    SavingThrowCallback,
    TensorDataset,
    Trainer,
    load_digits,
    nn,
    seed_everything,
    throw,
    torch,
):
    class Classifier(LightningModule):
        def __init__(self, lr):
            super().__init__()
            self.lr = lr
            self.network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

        def training_step(self, batch, batch_idx):
            images, labels = batch
            return nn.functional.cross_entropy(self.network(images), labels)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=self.lr)

    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    held_out = torch.arange(len(labels)) % 5 == 0

    def train(callbacks, lr=0.2):
        seed_everything(0, verbose=False)
        model = Classifier(lr)
        data = TensorDataset(images[~held_out], labels[~held_out])
        trainer = Trainer(
            callbacks=callbacks,
            max_epochs=5,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, DataLoader(data, batch_size=32, shuffle=True))
        guesses = model.network(images[held_out]).argmax(dim=1)
        return float((guesses == labels[held_out]).float().mean())

    dice = SavingThrowCallback(throw, seed=0)
    accuracy = {"without dice": train([]), "with dice": train([dice])}
    if throw.odds().mean > 0:  # at 0 or below there is no such learning rate
        accuracy["without dice, same mean step"] = train([], lr=0.2 * float(throw.odds().mean))
    return accuracy, dice


@app.cell(hide_code=True)
def _(accuracy, dice, mo, throw):
    _tally = dice.rolls.tally
    _rows = ["| training | accuracy |", "|---|---|"]
    _rows += [f"| {_name} | {_share:.1%} |" for _name, _share in accuracy.items()]
    _counts = ", ".join(f"{_count} {_outcome}" for _outcome, _count in _tally.counts.items())
    _said = f"The callback counted {_tally.rolls} rolls: {_counts}. Their mean scale was "
    _odds = throw.odds()
    _error = (float(_odds.mean_square - _odds.mean**2) / _tally.rolls) ** 0.5
    _said += f"{_tally.mean_scale:.3f}; expected were {float(_odds.mean):.3f}, give or take a "
    _said += f"standard error of {_error:.3f}. This is one seed, of which nothing follows yet: the "
    _said += "notebook `threshold_odds.py` compares more of them."
    mo.md("\n".join([*_rows, "", _said]))
    return


@app.cell(hide_code=True)
def _(Outcome, dice, plt, throw):
    COLOURS = dict(zip(Outcome, ("#D55E00", "#E69F00", "#56B4E9", "#0072B2"), strict=True))

    def draw(records):
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
        for outcome, colour in COLOURS.items():
            chosen = [record for record in records if record.outcome == outcome]
            steps, scales = [r.step for r in chosen], [r.scale or 0 for r in chosen]
            left.scatter(steps, scales, s=12, color=colour, label=outcome.replace("_", " "))
        left.set(xlabel="step", ylabel="scale", title="Every roll (a discard is drawn at 0)")
        left.legend(fontsize=8, loc="center right")
        total, means = 0.0, []
        for count, record in enumerate(records, start=1):
            total += record.scale or 0
            means.append(total / count)
        right.plot(means, color="#0072B2", label="rolled")
        right.axhline(float(throw.odds().mean), color="#D55E00", linestyle="--", label="E[s]")
        right.set(xlabel="step", ylabel="mean scale so far", title="The mean so far")
        right.legend()
        return figure

    draw(dice.rolls.recent)
    return


@app.cell(hide_code=True)
def _(Outcome, SavingThrow, mo):
    _advantage = SavingThrow("2d20kh1", threshold=10).odds()
    _failure = float(_advantage.probability[Outcome.FAILURE])
    mo.md(f"""
    ## Exercises

    1. Roll with advantage: `2d20kh1` keeps the higher of two dice. Before you run it, guess how
       often a roll then reverses against threshold 10.
    2. Move the threshold to 15. What becomes of the accuracy, and of the training without dice at
       the same mean step?

    <details><summary>Answer to the first</summary>
    <p>{_failure:.0%} of the rolls, instead of 40%: both dice have to fall below 10, and not both
    on 1, as a natural 1 is a discard. The expected scale is {float(_advantage.mean):.3f}.</p>
    </details>
    """)
    return


if __name__ == "__main__":
    app.run()
