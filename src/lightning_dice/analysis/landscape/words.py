"""What a landscape shows, in words."""

from __future__ import annotations

import math

from lightning_dice.analysis.landscape.data import Landscape, Line, Plane, Slice
from lightning_dice.analysis.landscape.scale import off_chart
from lightning_dice.analysis.phrases import counted, figures, listed, percent
from lightning_dice.analysis.readers import Floats

NONE = 1e-3
"""A barrier lower than that is called none; so little lies within what float32 makes of a loss."""

LIMITS = (
    "A slice or a plane is two of as many directions as there are weights: what it does not show "
    "may look otherwise, and another seed gives other directions.",
    "A flat surrounding is no proof of generalization: across many models measures of flatness say "
    "little about it, and sometimes the opposite (Andriushchenko et al. 2023, arXiv 2302.07011).",
    "Two runs may have the same function with weights in another order, and then a barrier lies "
    "between them all the same.",
)
"""What may not be read off the pictures."""


def lead(landscape: Landscape) -> str:
    """All that is seen, in a few sentences."""
    sentences = [_rises(landscape)]
    if landscape.lines:
        sentences.append(" ".join(f"{_barrier(line)}." for line in landscape.lines))
    if landscape.plane is not None:
        sentences.append(f"{plane_message(landscape.plane)}.")
    return " ".join(sentences)


def slice_message(landscape: Landscape) -> str:
    """The message of the slices along one direction."""
    rises = {one.label: _highest(one) - one.centre for one in landscape.slices}
    if len(rises) == 1:
        one = landscape.slices[0]
        return f"From {figures(one.centre)} the loss rises to {figures(_highest(one))}"
    most = max(rises, key=lambda label: rises[label])
    return f"The loss of {most} rises most, by {figures(rises[most])}"


def maps_message(landscape: Landscape) -> str:
    """The message of the slices along two directions."""
    labels = [member.label for member in landscape.members]
    runs = listed(labels) if len(labels) < 3 else counted(len(labels), "run")
    return f"The loss around the last weights of {runs}"


def plane_message(plane: Plane) -> str:
    """The message of the plane of the paths."""
    held = percent(sum(plane.explained))
    of = "the path's" if len(plane.paths) == 1 else "the paths'"
    return f"One plane holds {held} of {of} squared distances from the end of {plane.label}"


def lines_message(landscape: Landscape) -> str:
    """The message of the lines between runs."""
    highest = max(landscape.lines, key=lambda line: _order(line.barrier))
    if _order(highest.barrier) < NONE:
        others = listed([line.end for line in landscape.lines])
        return f"No barrier between {highest.start} and {others}"
    return f"{_barrier(highest)}"


def slices_reading(landscape: Landscape) -> str:
    """How to read the slices."""
    runs = (
        "All runs have the same random numbers, each scaled by its own filters"
        if len(landscape.slices) > 1
        else "The directions are random"
    )
    span = f"{landscape.settings['span']:g}"
    return (
        f"{runs}: every filter of a direction is as long as the filter of the weights that it "
        "changes, and biases stay as they are (Li et al. 2018, arXiv 1712.09913). At "
        f"{span} a filter has moved by {span} times its own length. "
        + _measured(landscape)
        + _lost(*(one.losses for one in landscape.slices))
    )


def plane_reading(landscape: Landscape) -> str:
    """How to read the plane of the paths."""
    plane = landscape.plane
    assert plane is not None, "there is nothing to read otherwise"
    of = [path for path in plane.paths if path.moves]
    sentences = [
        f"The plane through the last weights of {plane.label}, at (0, 0), that comes closest to "
        f"all points of the paths; no point is farther from it than {percent(plane.farthest)} of "
        "the longest distance to (0, 0). The surface is the loss on the plane, and points lie on "
        "it where they are nearest to it; the loss of the weights themselves may be another."
    ]
    if of:
        every = max(int(path.steps[1] - path.steps[0]) for path in of)
        apart = (
            f"Points lie {counted(every, 'step')} apart, and each" if every > 1 else "Each point"
        )
        several = any(len(move.last) > 1 for path in of for move in path.moves)
        mixed = (
            " Several rolls of one step are a failure where their mean scale is below 0, else a "
            "success."
        )
        sentences.append(f"{apart} has the outcome of the last roll before it." + mixed * several)
    return " ".join([*sentences, _measured(landscape)]) + _lost(plane.losses)


def lines_reading(landscape: Landscape) -> str:
    """How to read the lines between runs."""
    return (
        "The loss of weights mixed from both runs. A barrier is the height, at most, above the "
        "straight line between the losses of the ends (Frankle et al. 2020, arXiv 1912.05671); "
        f"below {NONE:g} it is called none. "
        + _measured(landscape)
        + _lost(*(line.losses for line in landscape.lines))
    )


def _rises(landscape: Landscape) -> str:
    def rise(one: Slice) -> str:
        return f"from {figures(one.centre)} to {figures(_highest(one))} around {one.label}"

    told = listed([rise(one) for one in landscape.slices])
    span = f"{landscape.settings['span']:g}"
    return f"Within {span} of the filters' lengths along a random direction the loss rises {told}."


def _barrier(line: Line) -> str:
    between = f"between {line.start} and {line.end}"
    if math.isnan(line.barrier) or math.isinf(line.barrier):
        return f"The loss {between} is not finite everywhere, so that its barrier has no height"
    if line.barrier < NONE:
        return f"No barrier lies {between}"
    place = figures(float(line.at[line.heights.argmax()]), 2)
    return f"A barrier of {figures(line.barrier)} lies {between}, {place} of the way"


def _highest(one: Slice) -> float:
    finite = one.line[abs(one.line) < math.inf]
    return float(finite.max()) if len(finite) else math.nan


def _order(barrier: float) -> float:
    return math.inf if math.isnan(barrier) else barrier


def _measured(landscape: Landscape) -> str:
    first = landscape.members[0].label
    whose = f", those of {first}" if len(landscape.members) > 1 else ""
    return f"Losses are means over {counted(landscape.examples, 'validation example')}{whose}. "


def _lost(*drawn: Floats) -> str:
    lost = sum(map(off_chart, drawn))
    return f"Left out: {counted(lost, 'point')} whose loss is not finite." if lost else ""
