"""Wrong labels to train on: how many, which ones, and what is left alone."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_dice.app.build import build_task
from lightning_dice.app.data import Digits, PythonDocs
from lightning_dice.app.data.noise import with_wrong_labels
from lightning_dice.rules import SettingError

SHARES = st.floats(0, 1)
LABELS = st.lists(st.integers(0, 9), min_size=1, max_size=60).filter(lambda x: len({*x}) > 1)


@given(LABELS, SHARES)
def test_the_share_is_exact_and_wrong_labels_are_labels(labels, share):
    given_labels = torch.tensor(labels)
    noisy = with_wrong_labels(given_labels, share)
    assert int((noisy != given_labels).sum()) == round(share * len(labels))
    assert set(noisy.tolist()) <= set(labels)
    assert given_labels.tolist() == labels, "the labels that were given stay as they were"


@given(LABELS, SHARES, SHARES)
def test_what_is_wrong_at_less_noise_is_the_same_at_more(labels, one, other):
    right = torch.tensor(labels)
    less, more = (with_wrong_labels(right, share) for share in sorted((one, other)))
    wrong = less != right
    assert torch.equal(less[wrong], more[wrong])


def test_each_other_label_is_as_likely():
    labels = torch.full((30_000,), 3)
    labels[:4] = torch.arange(4)  # so that there are four
    wrong = Counter(with_wrong_labels(labels, 1.0)[4:].tolist())
    assert wrong.keys() == {0, 1, 2}
    expected = (len(labels) - 4) / 3
    # Chi-square of 2 degrees of freedom: 13.8 is passed once in a thousand.
    assert sum((count - expected) ** 2 / expected for count in wrong.values()) < 13.8


def test_it_depends_on_no_global_state_and_on_its_seed():
    labels = torch.arange(100) % 10
    torch.manual_seed(1)
    first = with_wrong_labels(labels, 0.5)
    state = torch.get_rng_state()
    assert torch.equal(with_wrong_labels(labels, 0.5), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(with_wrong_labels(labels, 0.5, seed=1), first)


def test_one_label_alone_stays():
    assert with_wrong_labels(torch.ones(3), 1.0).tolist() == [1, 1, 1]


class TestDigits:
    def sets(self, noise):
        data = Digits(batch_size=8, val_fraction=0.2, label_noise=noise)
        return [part.tensors for part in data.split()]

    def test_only_labels_to_train_on_change(self):
        (images, labels), val = self.sets(0.0)
        (noisy_images, noisy), noisy_val = self.sets(0.4)
        assert torch.equal(images, noisy_images)
        assert all(torch.equal(a, b) for a, b in zip(val, noisy_val, strict=True))
        assert int((labels != noisy).sum()) == round(0.4 * len(labels))

    def test_the_baseline_is_that_of_right_labels(self):
        clean, noisy = (Digits(8, 0.2, noise).baseline() for noise in (0.0, 0.6))
        assert clean == noisy


class TestPythonDocs:
    def data(self, noise):
        data = PythonDocs(context=16, batch_size=4, val_fraction=0.1, label_noise=noise)
        data.setup("fit")
        return data

    def test_a_wrong_byte_is_wrong_in_every_window_that_asks_for_it(self):
        clean, noisy = self.data(0.0).train, self.data(0.3).train
        wrong = noisy.answers != noisy.text
        assert torch.equal(clean.answers, noisy.text)
        assert int(wrong.sum()) == round(0.3 * len(noisy.text))
        for start in (0, 5, 16, 1000):
            inputs, targets = noisy.window(start)
            assert torch.equal(inputs, clean.window(start)[0])
            assert torch.equal(targets, noisy.answers[start + 1 : start + 17].long())
        assert set(noisy.answers.tolist()) <= set(clean.text.tolist())

    def test_validation_is_untouched(self):
        clean, noisy = self.data(0.0).val, self.data(1.0).val
        assert torch.equal(noisy.answers, clean.text)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("data", ["digits", "fashion_mnist", "python_docs"])
def test_what_is_no_share_is_refused(composed, data, share):
    with pytest.raises(SettingError, match=r"data\.label_noise=.*: expected a share from 0 to 1"):
        build_task(composed(f"data={data}", f"data.label_noise={share}"))


@pytest.mark.parametrize("data", ["digits", "fashion_mnist", "python_docs"])
def test_labels_are_right_unless_asked_otherwise(composed, data):
    assert composed(f"data={data}").data.label_noise == 0
