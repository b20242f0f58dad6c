"""The data: what is held out, in which order it comes, and the baselines."""

import math
import re
import sys
from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_dice.app.data import Digits, PythonDocs
from lightning_dice.app.data.base import random_split
from lightning_dice.app.data.python_docs import ShiftedWindows, Windows, bigram_loss, read_corpus
from lightning_dice.extras import install_command
from lightning_dice.rules import SettingError
from support.toy import same


def text_of(string):
    return torch.frombuffer(bytearray(string, "utf-8"), dtype=torch.uint8)


class TestCorpus:
    def test_it_is_pythons_manual(self):
        text = bytes(read_corpus().tolist()).decode()
        assert 300_000 < len(text) < 1_000_000
        assert 'The "assert" statement' in text

    def test_the_end_is_held_out(self):
        data = PythonDocs(context=16, batch_size=4, val_fraction=0.25, label_noise=0.0)
        data.setup("fit")
        text = read_corpus()
        joined = torch.cat((data.train.text, data.val.text))
        assert torch.equal(joined, text)
        assert len(data.val.text) == round(0.25 * len(text))

    def test_a_context_longer_than_what_is_held_out(self):
        data = PythonDocs(context=10**7, batch_size=4, val_fraction=0.1, label_noise=0.0)
        with pytest.raises(SettingError, match=r"data\.context=10000000: only \d+ bytes"):
            data.setup("fit")

    def test_scarce_text_is_its_beginning_and_as_much_is_held_out(self):
        settings = {"context": 16, "batch_size": 4, "val_fraction": 0.1, "label_noise": 0.0}
        data, whole = PythonDocs(**settings, train_fraction=0.25), PythonDocs(**settings)
        for each in (data, whole):
            each.setup("fit")
        text = read_corpus()
        assert torch.equal(data.train.text, text[: len(text) // 4])
        assert torch.equal(data.val.text, whole.val.text)
        assert data.baseline().value > whole.baseline().value

    def test_all_that_is_not_held_out_may_be_named(self):
        data = PythonDocs(16, 4, 0.1, 0.0, train_fraction=0.9)
        whole = PythonDocs(16, 4, 0.1, 0.0)
        sizes = [len(own.split()[0].text) for own in (data, whole)]
        assert sizes[1] - 1 <= sizes[0] <= sizes[1]

    @pytest.mark.parametrize("share", [0.0, -0.1, 0.95, float("nan")])
    def test_shares_that_cannot_be_are_refused(self, share):
        with pytest.raises(
            SettingError, match=r"data\.train_fraction=.*1 - data\.val_fraction=0\.1"
        ):
            PythonDocs(16, 4, 0.1, 0.0, train_fraction=share)

    def test_a_context_longer_than_what_is_trained_on(self):
        data = PythonDocs(1000, 4, 0.1, 0.0, train_fraction=0.001)
        with pytest.raises(
            SettingError, match=r"data\.context=1000: only \d+ bytes are trained on"
        ):
            data.setup("fit")


class TestWindows:
    @given(length=st.integers(10, 80), context=st.integers(1, 9))
    def test_targets_are_the_next_bytes_and_windows_tile_the_text(self, length, context):
        text = torch.arange(length, dtype=torch.uint8)
        windows = Windows(text, context)
        seen = []
        for index in range(len(windows)):
            inputs, targets = windows[index]
            assert torch.equal(inputs + 1, targets)
            seen += inputs.tolist()
        assert seen == list(range(len(windows) * context))
        assert length - 1 - len(seen) < context

    @given(length=st.integers(10, 80), context=st.integers(1, 9), seed=st.integers(0, 99))
    def test_shifted_windows_stay_within_the_text(self, length, context, seed):
        torch.manual_seed(seed)
        text = torch.arange(length, dtype=torch.uint8)
        windows = ShiftedWindows(text, context)
        for index in range(len(windows)):
            inputs, targets = windows[index]
            assert len(inputs) == context
            assert torch.equal(inputs + 1, targets)
            assert index * context <= inputs[0] + context


class TestBigram:
    def test_it_equals_counting_in_plain_python(self):
        train, val = "the cat sat on the mat. " * 30, "the rat sat on the hat; "
        pairs, firsts = Counter(pairwise(train)), Counter(train[:-1])
        in_use = len(set(train + val))
        expected = -sum(
            math.log((pairs[a, b] + 1) / (firsts[a] + in_use)) for a, b in pairwise(val)
        ) / (len(val) - 1)
        assert bigram_loss(text_of(train), text_of(val)) == pytest.approx(expected)

    def test_it_knows_more_than_single_bytes_do(self):
        data = PythonDocs(context=16, batch_size=4, val_fraction=0.1, label_noise=0.0)
        name, value = data.baseline()
        val = bytes(data.split()[1].text.tolist())
        counts = Counter(val)
        entropy = -sum(n / len(val) * math.log(n / len(val)) for n in counts.values())
        assert name == "bigram"
        assert 1.5 < value < entropy


class TestDigits:
    def test_every_image_is_in_one_set(self):
        data = Digits(batch_size=8, val_fraction=0.2, label_noise=0.0)
        data.setup("fit")
        (train, labels), (val, val_labels) = data.train.tensors, data.val.tensors
        assert len(train) + len(val) == 1797
        assert len(val) == round(0.2 * 1797)
        assert train.shape[1:] == (1, 8, 8)
        assert float(train.min()) == 0
        assert float(train.max()) == 1
        assert set(labels.tolist()) == set(val_labels.tolist()) == set(range(10))

    def test_the_baseline_is_the_commonest_digit(self):
        data = Digits(batch_size=8, val_fraction=0.2, label_noise=0.0)
        train, val = data.split()
        commonest = Counter(train.tensors[1].tolist()).most_common(1)[0][0]
        right = sum(label == commonest for label in val.tensors[1].tolist())
        assert data.baseline().value == pytest.approx(right / len(val))

    def test_without_scikit_learn_the_extra_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
        with pytest.raises(SettingError, match=re.escape(install_command("digits"))):
            Digits(batch_size=8, val_fraction=0.2, label_noise=0.0).setup("fit")


def test_splits_do_not_depend_on_the_global_seed():
    torch.manual_seed(1)
    first = random_split(100, 0.3)
    torch.manual_seed(2)
    assert same(first, random_split(100, 0.3))


def test_batches_are_full_in_training_and_complete_in_validation():
    data = Digits(batch_size=100, val_fraction=0.2, label_noise=0.0)
    data.setup("fit")
    assert {len(labels) for _, labels in data.train_dataloader()} == {100}
    assert sum(len(labels) for _, labels in data.val_dataloader()) == len(data.val)
