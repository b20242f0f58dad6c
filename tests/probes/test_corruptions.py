import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from lightning_dice.probes.calibration import UNSCORED
from lightning_dice.probes.corruptions import CORRUPTIONS, corrupted, kind_of

IMAGES = CORRUPTIONS["images"]
TEXT = CORRUPTIONS["text"]


def images(examples=40):
    torch.manual_seed(0)
    return torch.rand(examples, 2, 8, 8), torch.arange(examples)


def text(examples=50, length=31):
    """Bytes and what follows each of them; every byte of a window is another one."""
    torch.manual_seed(0)
    windows = torch.stack([torch.randperm(200)[: length + 1] for _ in range(examples)])
    return windows[:, :-1], windows[:, 1:]


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in CORRUPTIONS.items() for name in names]
)
def test_a_seed_is_a_corruption_and_nothing_is_changed_in_place(kind, name):
    pair = images() if kind == "images" else text()
    before = [part.clone() for part in pair]
    corruption = CORRUPTIONS[kind][name]
    assert corruption.strengths == tuple(sorted(corruption.strengths))
    strength = corruption.strengths[2]
    first, again, other = (corrupted(corruption, pair, strength, seed) for seed in (1, 1, 2))
    assert all(map(torch.equal, first, again))
    assert name in ("blur", "contrast") or not torch.equal(first[0], other[0])
    assert all(map(torch.equal, pair, before))
    assert first[0].shape == pair[0].shape
    assert first[0].dtype == pair[0].dtype
    none = corrupted(corruption, pair, 0.0, 1)
    torch.testing.assert_close(none[0], pair[0])
    assert torch.equal(none[1], pair[1])


def test_noise_is_as_strong_as_asked():
    pair = torch.full((400, 1, 8, 8), 0.5), torch.zeros(400)
    pair[0][0, 0, 0, :2] = torch.tensor([0.0, 1.0])  # the range
    noisy, _ = corrupted(IMAGES["noise"], pair, 0.1, 0)
    assert float((noisy - pair[0]).std()) == pytest.approx(0.1, rel=0.02)
    noisy, _ = corrupted(IMAGES["noise"], pair, 2.0, 0)
    assert float(noisy.min()) == 0.0
    assert float(noisy.max()) == 1.0


def test_blur_is_one_axis_after_the_other():
    pair = images(3)
    blurred, _ = corrupted(IMAGES["blur"], pair, 0.1, 0)
    rows = gaussian_filter1d(pair[0].numpy(), 0.8, axis=2)
    np.testing.assert_allclose(blurred, gaussian_filter1d(rows, 0.8, axis=3), atol=1e-6)


def test_occlusion_hides_one_square():
    pair = images()
    hidden, _ = corrupted(IMAGES["occlusion"], pair, 0.375, 0)
    changed = hidden != pair[0]
    assert (changed.sum(dim=(2, 3)) == 9).all()
    for mask in changed[:, 0]:
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        assert len(rows) == len(columns) == 3
        assert rows[-1] - rows[0] == columns[-1] - columns[0] == 2
    assert hidden[changed].unique().tolist() == pytest.approx([float(pair[0].mean())])
    places = {tuple(mask.nonzero()[0].tolist()) for mask in changed[:, 0]}
    assert len(places) > 10


def test_contrast_leaves_the_mean():
    pair = images()
    flat, _ = corrupted(IMAGES["contrast"], pair, 0.8, 0)
    axes = (1, 2, 3)
    torch.testing.assert_close(flat.mean(axes), pair[0].mean(axes))
    torch.testing.assert_close(flat.std(axes), 0.2 * pair[0].std(axes))


def test_swaps_by_hand():
    inputs, targets = text()
    read, asked = corrupted(TEXT["swaps"], (inputs, targets), 0.3, 0)
    swapped = 0
    for clean, given, answers, right in zip(inputs, read, asked, targets, strict=True):
        for at in range(0, 30, 2):
            pair = given[at : at + 2].tolist()
            if pair == clean[at : at + 2].tolist():
                assert answers[at : at + 2].tolist() == right[at : at + 2].tolist()
            else:
                assert pair == clean[at : at + 2].flip(0).tolist()
                assert answers[at : at + 2].tolist() == [UNSCORED, right[at + 1]]
                assert right[at] == given[at]  # what does not count has been given away
                swapped += 1
        assert given[30] == clean[30]
        assert answers[30] == right[30]
    assert swapped / (50 * 15) == pytest.approx(0.3, abs=0.05)


def test_deletions_by_hand():
    inputs, targets = text()
    read, asked = corrupted(TEXT["deletions"], (inputs, targets), 0.2, 0)
    kept_in_all = 0
    for clean, given, answers, right in zip(inputs, read, asked, targets, strict=True):
        count = int((answers != UNSCORED).sum())
        follows = dict(zip(clean.tolist(), right.tolist(), strict=True))
        kept = given[:count].tolist()
        assert kept == [byte for byte in clean.tolist() if byte in kept]  # in their order
        assert answers[:count].tolist() == [follows[byte] for byte in kept]
        assert (answers[count:] == UNSCORED).all()
        assert (given[count:] == 0).all()
        kept_in_all += count
    assert kept_in_all / inputs.numel() == pytest.approx(0.8, abs=0.03)


def test_replacements_are_bytes_that_occur():
    inputs, targets = text()
    read, asked = corrupted(TEXT["replacements"], (inputs, targets), 0.2, 0)
    assert torch.equal(asked, targets)
    assert set(read.unique().tolist()) <= set(inputs.unique().tolist())
    assert float((read != inputs).float().mean()) == pytest.approx(0.2, abs=0.03)


def test_what_is_wrong_at_some_strength_is_wrong_at_a_greater_one():
    pair = text()
    weak, strong = (corrupted(TEXT["swaps"], pair, s, 0)[0] != pair[0] for s in (0.1, 0.3))
    assert bool((strong | ~weak).all())
    assert int(strong.sum()) > int(weak.sum())


def test_other_kinds_of_data():
    assert kind_of(text()[0]) == "text"
    assert kind_of(images()[0]) == "images"
    assert kind_of(torch.zeros(3, 4)) is None
    assert kind_of(torch.zeros(3, 1, 8, 8, dtype=torch.uint8)) is None
