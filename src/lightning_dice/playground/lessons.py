"""The lessons of the page: a preset, a question, something to try, an answer to reveal."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_dice.rules import SavingThrow
from lightning_dice.rules.words import percent


@dataclass(frozen=True)
class Lesson:
    """One lesson.

    Attributes:
        id: Its name in the page's address.
        short: Its name on a button.
        title: What it is about.
        preset: The race that it starts with, in the words of the page's address.
        question: What to look for.
        steps: How many steps that takes.
        trial: What to try then.
        button: The same on a button.
        attempt: What that changes, in the words of the address; it is tried from the start.
        answer: Paragraphs; their numbers are the rules' own.
    """

    id: str
    short: str
    title: str
    preset: str
    question: str
    steps: int
    trial: str
    button: str
    attempt: str
    answer: tuple[str, ...]


def _mean(throw: SavingThrow) -> str:
    mean = throw.odds().mean
    return f"{mean}, which is {float(mean):.3g}"


_EASY, _HARD = SavingThrow("d20", 10), SavingThrow("d20", 15)
_SKIP = SavingThrow("d20", 15, "skip")

LESSONS = (
    Lesson(
        id="saving-throw",
        short="A saving throw",
        title="What is a saving throw?",
        preset="surface=bowl&optimizer=sgd&lr=0.03&threshold=10",
        question="The same bowl twice, the same start, the same optimizer. On the right a d20 is "
        "rolled before every step. Which of the four outcomes do you see, and what does each do to "
        "the ball? Press Step to go slowly.",
        steps=40,
        trial="Make the save easier: at threshold 5 fewer rolls fail.",
        button="Threshold 5, from the start",
        attempt="threshold=5",
        answer=(
            "A 1 is a critical failure: the update is discarded. A 20 applies it in full. From the "
            "threshold on the roll is a success and the step is scaled by the total over 20. Below "
            "it the roll fails and the step is reversed: the further below, the further uphill.",
            "So the right ball takes shorter steps, and some of them backwards. It still arrives, "
            f"since the expected scale is above 0: E[s] is {_mean(_EASY)}, at threshold 10, and "
            f"{_mean(SavingThrow('d20', 5))}, at threshold 5.",
        ),
    ),
    Lesson(
        id="threshold-15",
        short="Threshold 15",
        title="Why does threshold 15 go nowhere?",
        preset="surface=bowl&optimizer=sgd&lr=0.03&threshold=15",
        question="The classic game asks for a 15. Six faces of twenty reach it. What happens to "
        "the ball, and where on the right could you have read it before the first step?",
        steps=200,
        trial="The same faces, but let failures be discarded instead of reversed: scaling skip.",
        button="Scaling skip, from the start",
        attempt="scaling=skip",
        answer=(
            f"Failures cancel successes. The expected scale E[s] is {_mean(_HARD)}, of a step: two "
            "hundred steps of the die are worth about seven of plain training. Meanwhile every "
            "single step is large, so what you see is mostly noise: the efficiency E[s]²/E[s²] is "
            f"{float(_HARD.odds().efficiency):.2g}, as much signal as keeping "
            f"{percent(_HARD.odds().efficiency)} of the updates.",
            "With skip no step goes backwards. It fails just as often and learns: E[s] is "
            f"{_mean(_SKIP)}, and the efficiency {float(_SKIP.odds().efficiency):.3g}.",
        ),
    ),
    Lesson(
        id="adamw",
        short="AdamW ignores it",
        title="Why does AdamW ignore your roll?",
        preset="surface=bowl&optimizer=adamw&lr=0.1&threshold=10",
        question="The die scales the gradient, and AdamW gets it. Compare “rolled” with “arrived” "
        "at every step. Does a roll of −0.3 go backwards?",
        steps=100,
        trial="Scale the update that the optimizer makes instead of the gradient that it sees.",
        button="Target update, from the start",
        attempt="target=update",
        answer=(
            "AdamW divides a running mean of gradients by their running size. Scale the gradient "
            "and both are scaled; what is left of one roll is a tenth of the running mean. So most "
            "steps go forwards almost in full, whatever was rolled, also when the roll reverses "
            "the gradient.",
            "With target update the optimizer makes its own step and the weights move by the scale "
            "times that: what is rolled is what arrives, to the last digit, for every optimizer.",
        ),
    ),
    Lesson(
        id="clipping",
        short="Clipping erases it",
        title="How does clipping erase the roll?",
        preset="surface=bowl&optimizer=sgd&lr=0.1&threshold=10&clip=after&clipnorm=1",
        question="Gradients are clipped to norm 1 here, after they were scaled: that is what "
        "happens when a callback scales gradients and the trainer clips them afterwards. What is "
        "left of the roll?",
        steps=30,
        trial="Clip first, roll second, as lightning-dice does.",
        button="Clip before the roll, from the start",
        attempt="clip=before",
        answer=(
            "Only its sign, while gradients are large. Clipping sets any longer gradient to length "
            "1: a roll of 0.5 and a roll of 1 end at the same length, and so do −0.1 and −0.45. "
            "Successes and failures move equally far, so the ball wanders up and down.",
            "Clip first and the optimizer sees the scale times the clipped gradient: rolled and "
            "arrived are the same again.",
        ),
    ),
    Lesson(
        id="discard",
        short="Discard is not zero",
        title="A discard is not a zero",
        preset="surface=bowl&optimizer=momentum&lr=0.01&threshold=15&scaling=skip&discard=zero",
        question="Failures are discarded here, by setting the gradient to zero: “no update”. Watch "
        "“arrived” when the roll says discard. Does the ball stand still?",
        steps=60,
        trial="Leave the update out instead: no gradient, no step.",
        button="No update, from the start",
        attempt="discard=out",
        answer=(
            "Momentum does not stop for a gradient of zero: the ball rolls on with nine tenths of "
            "its speed. Adam’s running mean pushes on too, and AdamW’s weight decay still shrinks "
            "the weights.",
            "A discard in lightning-dice leaves weights and optimizer as they were, bit for bit: a "
            "discarded roll arrives as 0.",
        ),
    ),
    Lesson(
        id="saddle",
        short="Leaving a saddle",
        title="Which noise helps to leave a saddle?",
        preset="surface=saddle&optimizer=sgd&lr=0.05&threshold=10&x=-2&y=0&noise=0",
        question="The start lies exactly on the ridge between two valleys. The plain ball will "
        "stop at the saddle in the middle. Will the dice push theirs off?",
        steps=300,
        trial="Give the gradients a little noise, as mini-batches do, to both balls alike.",
        button="Noise 0.05, from the start",
        attempt="noise=0.05",
        answer=(
            "No. A die multiplies, and on the ridge there is nothing sideways to multiply: zero "
            "times any scale is zero. At the saddle itself the whole gradient is zero, and so is "
            "every roll’s step.",
            "Noise that is added is another thing: the smallest push sideways grows by itself, and "
            "the balls leave. The plain one leaves first, as its steps are larger. Dice are noise, "
            "but not the noise that people mean when they say that noise helps to leave saddles.",
        ),
    ),
    Lesson(
        id="same-mean",
        short="Same mean, no noise",
        title="The same mean step, without the noise",
        preset="surface=bowl&optimizer=sgd&lr=0.03&threshold=13&mean=on",
        question="A third ball, dashed, takes no dice at all: its learning rate is E[s] times "
        "smaller. Do the dice end anywhere else than it does?",
        steps=200,
        trial="Take the smaller mean away: normalize by the mean, so that E[s] is 1.",
        button="Normalize by the mean, from the start",
        attempt="normalize=mean",
        answer=(
            f"Hardly. E[s] is {_mean(SavingThrow('d20', 13))}, at threshold 13, and most of what "
            "the dice do here is to make the learning rate that much smaller; the rest is luck. "
            "Before dice are praised or blamed, hold them against this ball.",
            "Normalized, the mean step is the optimizer’s own, so the dashed ball and the plain "
            "one are the same. What is left is the noise alone, and it throws the ball out of the "
            "bowl: single steps are several times too long, in either direction.",
        ),
    ),
)
"""In the order in which they are taught."""
