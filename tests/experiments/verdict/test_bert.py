"""Fine-tuning in a pack is what fine-tuning the module of transformers alone would be."""

from dataclasses import replace

import pytest
import torch
from arms import named
from packed import How, Pack, Run, train
from torch.nn import functional as F  # noqa: N812 - its usual name

from support.plain_loop import plain_loop

LR = 0.003


@pytest.fixture
def rows_and_tokens(reviews):
    rows = torch.stack([reviews.network.initial(seed) for seed in (0, 1)])
    return rows, reviews.load().test.inputs[:12].view(2, 6, -1)


def test_packed_runs_end_where_plain_loops_do(reviews):
    regime, kept = replace(reviews, steps=20), {}
    names = ("plain", "t10-skip-tensor-update-hidden", "t10-margin-model-gradient-all")
    runs = [Run(named(name), LR, seed, 7 + seed) for seed, name in enumerate(names)]
    rows = train(regime, "adamw", runs, "cpu", watch=lambda _, w: kept.update(weights=w.clone()))
    for run, weights in zip(runs, kept["weights"], strict=True):
        start = regime.network.initial(run.seed)
        assert (weights - start).norm() > 0.02
        torch.testing.assert_close(weights, plain_loop(regime, "adamw", run), atol=1e-5, rtol=0)
    assert all(0 <= row["test_accuracy"] <= 1 for row in rows)


def test_what_is_padding_does_not_matter(reviews, rows_and_tokens):
    network = reviews.network
    rows, tokens = rows_and_tokens
    views = network.layout.views(rows)
    logits = network.forward(views, tokens, None)
    wider = F.pad(tokens, (0, 3), value=network.config.pad_token_id)
    torch.testing.assert_close(network.forward(views, wider, None), logits)
    first = tokens[:, :1, : int((tokens[:, :1] != 0).sum(dim=2).max())]
    torch.testing.assert_close(network.forward(views, first, None), logits[:, :1])


def test_only_the_head_is_drawn(reviews):
    layout = reviews.network.layout
    one, other = (layout.views(reviews.network.initial(seed).unsqueeze(0)) for seed in (0, 1))
    drawn = [name for name in layout.names if not torch.equal(one[name], other[name])]
    assert drawn == ["classifier.weight"]


def test_every_tensor_learns_in_bfloat16_too(reviews):
    runs = [Run(named(name), LR, seed=0, dice_seed=0) for name in ("plain", "dropout-0.2")]
    data = reviews.load()
    packs = [
        Pack(reviews, "adamw", runs, torch.device("cpu"), data, How(bf16=bf16))
        for bf16 in (False, True)
    ]
    before = packs[0].weights.detach().clone()
    exact, rough = ([pack.step(step) for step in (0, 1)] for pack in packs)
    for one, other in zip(exact, rough, strict=True):
        torch.testing.assert_close(other, one, rtol=0.02, atol=0)
        assert not torch.equal(other, one)
    for name, moved in packs[1].network.layout.views(packs[1].weights - before).items():
        assert moved.isfinite().all(), name
        assert moved.flatten(1).any(dim=1).all(), name


def test_another_encoder_is_refused(tmp_path):
    transformers = pytest.importorskip("transformers")
    from bert import PackedBert

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BertConfig(vocab_size=9, hidden_act="relu", **sizes)
    transformers.BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="bert with relu"):
        PackedBert(8, str(tmp_path)).sites(1)


@pytest.mark.pretrained
def test_minilm_is_computed_as_transformers_computes_it():
    from corpora import read_opinions
    from regimes import REGIMES

    network, (tokens, labels) = REGIMES["reviews"].network, read_opinions().train
    assert sum(network.layout.chosen(network.hidden)) == 36
    rows = torch.stack([network.initial(seed) for seed in (0, 1)]).requires_grad_()
    tokens, labels = tokens[:8].view(2, 4, -1), labels[:8].view(2, 4)
    logits = network.forward(network.layout.views(rows), tokens, None)
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    losses.view(2, -1).mean(dim=1).sum().backward()
    gradients = network.layout.views(rows.grad)
    for run in (0, 1):
        torch.manual_seed(run)
        module = network.build()
        plain = module(input_ids=tokens[run], attention_mask=(tokens[run] != 0).long()).logits
        torch.testing.assert_close(logits[run], plain, atol=1e-5, rtol=0)
        F.cross_entropy(plain, labels[run]).backward()
        for name, parameter in module.named_parameters():
            torch.testing.assert_close(gradients[name][run], parameter.grad, atol=1e-5, rtol=0)
