import pytest
import torch

from lightning_dice.probes.calibration import score
from lightning_dice.probes.directions import filter_norms
from lightning_dice.probes.disturb import disturbed, weight_noise


def test_noise_is_a_share_of_each_filter(classifier):
    noise = disturbed(classifier, 0.3, seed=1) - classifier.weights
    share = filter_norms(classifier.layout, noise) / filter_norms(
        classifier.layout, classifier.weights
    )
    torch.testing.assert_close(share, torch.full_like(share, 0.3))
    half = disturbed(classifier, 0.15, seed=1) - classifier.weights
    torch.testing.assert_close(2 * half, noise)


def test_the_mean_over_draws(classifier):
    before = classifier.weights.clone()
    found = weight_noise(classifier, 0.5, draws=3, seed=7)
    losses = [float(classifier.loss(disturbed(classifier, 0.5, seed))) for seed in (7, 8, 9)]
    mean = sum(losses) / 3
    spread = (sum((loss - mean) ** 2 for loss in losses) / 2 / 3) ** 0.5
    assert found["loss"] == pytest.approx((mean, spread), rel=1e-5)
    assert torch.equal(classifier.weights, before)


def test_no_noise_is_the_clean_score(classifier):
    clean = score(*classifier.predictions(classifier.weights))
    found = weight_noise(classifier, 0.0, draws=2)
    assert {name: mean for name, (mean, _) in found.items()} == pytest.approx(clean)
    assert all(error == pytest.approx(0, abs=1e-9) for _, error in found.values())
