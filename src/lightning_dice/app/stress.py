"""What a trained run is worth when its inputs or its weights are disturbed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_dice import __version__
from lightning_dice.analysis.stress.record import FORMAT
from lightning_dice.app.trained import Batch, Trained, validation_batches
from lightning_dice.probes import Objective
from lightning_dice.probes.calibration import calibration, score
from lightning_dice.probes.corruptions import CORRUPTIONS, Corruption, corrupted, kind_of
from lightning_dice.probes.curvature import top_eigenvalues, trace
from lightning_dice.probes.disturb import SIGMAS, weight_noise
from lightning_dice.probes.rounding import ROUNDINGS, rounded
from lightning_dice.probes.sharpness import ADAPTIVE_RADII, SAM_RADII, worst_case
from lightning_dice.rules import SettingError

Row = dict[str, Any]

WINDOWS = 256
"""Most windows of text, unless asked otherwise; of images, all are taken."""
FEW, FEW_WINDOWS = 512, 32
"""Most examples, and windows of text, for what takes many gradients."""

Told = Callable[[str, int, int], None]
"""Is told which part begins, how many are done, and how many there are."""


class Probe(NamedTuple):
    """One part of the measuring.

    Attributes:
        name: What it is called on the progress bar.
        rows: Measures.
    """

    name: str
    rows: Callable[[], list[Row]]


def measure_stress(
    trained: Trained,
    *,
    examples: int | None = None,
    seed: int = 0,
    told: Told = lambda part, done, parts: None,
) -> dict[str, Any]:
    """What a trained run is worth under stress, on its own validation data.

    Args:
        trained: The run, whose model predicts classes.
        examples: Most examples; ``None`` for all images, or ``WINDOWS`` of text.
        seed: Of all noise; the same seed gives every run the same.
        told: Is told of progress.

    Returns:
        What ``stress.json`` holds.

    Raises:
        SettingError: If the model predicts no classes.
    """
    first = validation_batches(trained, 1)
    read = kind_of(first[0][0]) if first else None
    # Slips in text move its labels along, or strike them out: there must be one for each byte.
    whole = read == "text" and first[0][0].shape != first[0][1].shape
    kind = None if whole else read
    most = WINDOWS if examples is None and read == "text" else examples
    batches = validation_batches(trained, most)
    few = FEW_WINDOWS if read == "text" else FEW
    subset = validation_batches(trained, few if most is None else min(few, most))
    _check_classes(trained, batches)
    omissions = [] if kind else [f"Inputs were not corrupted: {_NO_KIND}."]
    rows: list[Row] = []
    parts = [
        *_corruptions(trained, batches, kind, seed),
        *_probes(Objective(trained.model, batches), Objective(trained.model, subset), seed),
    ]
    for place, (name, measure) in enumerate(parts):
        told(name, place, len(parts))
        try:
            measured = measure()
        except ArithmeticError as error:
            omissions.append(f"Not measured: {name} ({error}).")
            continue
        bad = [row for row in measured if not torch.tensor(row["value"]).isfinite()]
        omissions += [f"{_describe(row)} is not finite." for row in bad]
        rows += [row for row in measured if row not in bad]
    return {
        "format": FORMAT,
        "lightning_dice": __version__,
        "settings": settings_of(trained.checkpoint, examples, seed),
        "device": str(trained.device),
        "data": kind,
        "examples": sum(len(inputs) for inputs, _ in batches),
        "measures": rows,
        "omissions": omissions,
        "notes": list(trained.notes),
    }


def settings_of(checkpoint: Path, examples: int | None, seed: int) -> dict[str, Any]:
    """What a record must agree in to be of the same measuring."""
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"examples": examples, "seed": seed, "checkpoint": checkpoint.stem, "sha256": digest}


_NO_KIND = (
    "they are neither images, floats (B, C, H, W), nor text, int64 (B, T), with a label for each"
)


def _describe(row: Row) -> str:
    strength = "" if row["strength"] is None else f" {row['strength']:g}"
    name = f"{row['probe']}, {row['kind']}{strength}: " if row["kind"] else f"{row['probe']}: "
    return f"{name[0].upper()}{name[1:]}{row['metric']}"


def _check_classes(trained: Trained, batches: Sequence[Batch]) -> None:
    if not batches:
        raise SettingError("data", type(trained.data).__name__, "holds nothing to validate on")
    with torch.no_grad():
        logits, labels = trained.model.predict(batches[0])  # type: ignore[operator]
    shaped = logits.ndim == 2 and labels.shape == logits.shape[:1]
    if not shaped or labels.dtype != torch.int64:
        remedy = (
            f"predicts logits {tuple(logits.shape)} for labels {tuple(labels.shape)} of "
            f"{labels.dtype}; expected (N, C) and (N,), int64"
        )
        raise SettingError("model", type(trained.model).__name__, remedy)


def _row(
    probe: str, kind: str, strength: float | None, metric: str, value: float, **more: float
) -> Row:
    return {
        "probe": probe,
        "kind": kind,
        "strength": strength,
        "metric": metric,
        "value": value,
        **more,
    }


def _scores(probe: str, kind: str, strength: float | None, scored: dict[str, float]) -> list[Row]:
    return [_row(probe, kind, strength, name, value) for name, value in scored.items()]


def _corruptions(
    trained: Trained, batches: Sequence[Batch], kind: str | None, seed: int
) -> Iterator[Probe]:
    if kind is None:
        return
    inputs = torch.cat([one for one, _ in batches]).cpu()
    labels = torch.cat([one for _, one in batches]).cpu()
    sizes = [len(one) for one, _ in batches]
    for name, corruption in CORRUPTIONS[kind].items():
        measure = partial(_corruption, trained, name, corruption, (inputs, labels), sizes, seed)
        yield Probe(f"corruption by {name}", measure)


def _corruption(
    trained: Trained,
    name: str,
    corruption: Corruption,
    pair: tuple[Tensor, Tensor],
    sizes: list[int],
    seed: int,
) -> list[Row]:
    rows = []
    for strength in corruption.strengths:
        inputs, labels = (
            torch.split(part.to(trained.device), sizes)
            for part in corrupted(corruption, pair, strength, seed)
        )
        objective = Objective(trained.model, list(zip(inputs, labels, strict=True)))
        scored = score(*objective.predictions(objective.weights))
        rows += _scores("corruption", name, strength, scored)
    return rows


def _probes(whole: Objective, few: Objective, seed: int) -> list[Probe]:
    """What is measured on the weights; what takes many gradients, on few examples."""
    return [
        Probe("calibration", partial(_calibration, whole)),
        Probe("weight noise", partial(_weight_noise, whole, seed)),
        *(Probe(f"rounding to {kind}", partial(_rounding, whole, kind)) for kind in ROUNDINGS),
        *(Probe("the worst case", partial(_sam, few, radius)) for radius in SAM_RADII),
        *(Probe("the adaptive worst case", partial(_adaptive, few, r)) for r in ADAPTIVE_RADII),
        Probe("the largest eigenvalues", partial(_eigenvalues, few, seed)),
        Probe("the trace", partial(_trace, few, seed)),
    ]


def _calibration(objective: Objective) -> list[Row]:
    logits, labels = objective.predictions(objective.weights)
    scored = score(logits, labels)
    return [
        *_scores("clean", "", None, scored),
        *_scores("calibration", "", None, calibration(logits, labels)),
    ]


def _weight_noise(objective: Objective, seed: int) -> list[Row]:
    return [
        _row("weight noise", "gaussian", sigma, name, value, se=error)
        for sigma in SIGMAS
        for name, (value, error) in weight_noise(objective, sigma, seed=seed).items()
    ]


def _rounding(objective: Objective, kind: str) -> list[Row]:
    weights = rounded(objective.layout, objective.weights, kind)
    return _scores("rounding", kind, None, score(*objective.predictions(weights)))


def _sam(objective: Objective, radius: float) -> list[Row]:
    rise = worst_case(objective, radius)
    return [_row("worst case", "sam", radius, "loss increase", rise)]


def _adaptive(objective: Objective, radius: float) -> list[Row]:
    rise = worst_case(objective, radius, adaptive=True)
    return [_row("worst case", "adaptive", radius, "loss increase", rise)]


def _eigenvalues(objective: Objective, seed: int) -> list[Row]:
    values = top_eigenvalues(objective, seed=seed)
    return [
        _row("curvature", "eigenvalue", place, "eigenvalue", value)
        for place, value in enumerate(values, start=1)
    ]


def _trace(objective: Objective, seed: int) -> list[Row]:
    value, error = trace(objective, seed=seed)
    return [_row("curvature", "trace", None, "trace", value, se=error)]
