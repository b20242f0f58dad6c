import numpy as np
import pytest
import torch
from scipy import special, stats

from lightning_dice.probes.calibration import BINS, UNSCORED, calibration, mean_and_error, score


def predictions(examples=200, classes=4):
    torch.manual_seed(0)
    return 2 * torch.randn(examples, classes), torch.randint(classes, (examples,))


def test_scores_by_numpy():
    logits, labels = predictions()
    scored = score(logits, labels)
    chances = special.log_softmax(logits.numpy().astype(float), axis=1)
    right = chances.argmax(1) == labels.numpy()
    assert scored["loss"] == pytest.approx(-chances[range(200), labels].mean(), rel=1e-5)
    assert scored["accuracy"] == pytest.approx(right.mean())


def test_what_does_not_count_changes_nothing():
    logits, labels = predictions()
    hidden = labels.clone()
    hidden[50:] = UNSCORED
    assert score(logits, hidden) == pytest.approx(score(logits[:50], labels[:50]))


def test_calibration_by_hand():
    logits, labels = predictions()
    chances = special.softmax(logits.numpy().astype(float), axis=1)
    confidence, right = chances.max(1), chances.argmax(1) == labels.numpy()
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    error = sum(
        abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean()
        for b in set(bins)
    )
    found = calibration(logits, labels)
    assert found["calibration error"] == pytest.approx(error, abs=1e-6)
    assert found["confidence"] == pytest.approx(confidence.mean(), rel=1e-5)
    assert found["confidence when right"] == pytest.approx(confidence[right].mean(), rel=1e-5)
    assert found["confidence when wrong"] == pytest.approx(confidence[~right].mean(), rel=1e-5)


def test_nobody_is_sure_of_answers_that_there_are_not():
    logits, _ = predictions()
    found = calibration(logits, logits.argmax(1))
    assert "confidence when wrong" not in found
    assert "confidence when right" in found


def test_mean_and_error():
    values = [0.3, 0.1, 0.7, 0.2]
    assert mean_and_error(values) == pytest.approx((np.mean(values), stats.sem(values)))
