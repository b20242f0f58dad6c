"""A pack computes what its models compute one by one."""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - its usual name

from support.plain_loop import logits_of


@pytest.fixture(params=["images", "text", "reviews"])
def regime(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def pack(regime):
    rows = torch.stack([regime.network.initial(seed) for seed in (0, 1, 2)])
    order = torch.stack([regime.order(regime.load().train, seed, 2)[0] for seed in (0, 1, 2)])
    return rows, regime.take(regime.load().train, order)


def plain(network, row):
    module = network.build()
    views = network.layout.views(row.unsqueeze(0))
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(views[name][0])
    return module


def test_logits_and_gradients_are_those_of_the_plain_modules(regime, pack):
    network = regime.network
    rows, (inputs, targets) = pack
    rows = rows.clone().requires_grad_()
    logits = network.forward(network.layout.views(rows), inputs, None)
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    losses.view(3, -1).mean(dim=1).sum().backward()
    gradients = network.layout.views(rows.grad)
    for run in range(3):
        module = plain(network, rows[run])
        alone = logits_of(module, inputs[run])
        torch.testing.assert_close(logits[run], alone, atol=1e-5, rtol=0)
        F.cross_entropy(alone, targets[run].flatten()).backward()
        for name, parameter in module.named_parameters():
            torch.testing.assert_close(gradients[name][run], parameter.grad, atol=1e-5, rtol=0)


def test_a_seed_gives_the_weights_of_a_module_built_after_it(regime):
    torch.manual_seed(11)
    module = regime.network.build()
    expected = dict(module.named_parameters())
    before = torch.get_rng_state()
    views = regime.network.layout.views(regime.network.initial(11).unsqueeze(0))
    assert torch.equal(torch.get_rng_state(), before)
    assert set(views) == set(expected)
    for name, view in views.items():
        torch.testing.assert_close(view[0], expected[name].detach(), rtol=0, atol=0)


def test_tensors_are_in_the_order_of_the_apps_groups(regime):
    from lightning_dice.app.optimizers import parameter_groups

    module = regime.network.build()
    names = {id(p): name for name, p in module.named_parameters()}
    groups = parameter_groups(module, list)
    assert regime.network.layout.names == [names[id(p)] for g in groups for p in g["params"]]
    layout = regime.network.layout
    rows = layout.blocks(torch.zeros(1, layout.length))
    rows[:, : layout.decayed] = 1
    views = layout.views(rows.flatten(1))
    assert [bool(view.all()) for view in views.values()] == [len(s) > 1 for s in layout.shapes]
    assert [bool(view.any()) for view in views.values()] == [len(s) > 1 for s in layout.shapes]


def test_hidden_tensors(images, text, reviews):
    for regime, expected in (
        (
            reviews,
            [
                f"bert.encoder.layer.{layer}.{part}.weight"
                for layer in (0, 1)
                for part in (
                    "attention.self.query",
                    "attention.self.key",
                    "attention.self.value",
                    "attention.output.dense",
                    "intermediate.dense",
                    "output.dense",
                )
            ],
        ),
        (images, ["conv1.weight", "conv2.weight", "hidden.weight"]),
        (
            text,
            [
                f"blocks.{b}.{part}.weight"
                for b in (0, 1)
                for part in ("attention.qkv", "attention.mix", "mlp.expand", "mlp.contract")
            ],
        ),
    ):
        layout = regime.network.layout
        chosen = layout.chosen(regime.network.hidden)
        assert [n for n, c in zip(layout.names, chosen, strict=True) if c] == expected


def test_masks_have_each_runs_rate_and_mean_one(regime):
    network = regime.network
    keep = [1.0, 0.9, 0.7]

    def drawn(keep, seeds):
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return network.drawn_masks(400, generators, keep)

    masks = drawn(keep, (0, 1, 2))
    assert [mask.shape[1:] for mask in masks] == network.sites(400)
    for run, share in enumerate(keep):
        values = torch.cat([mask[run].flatten() for mask in masks])
        assert set(values.unique().tolist()) <= {0.0, float(torch.tensor(1.0).div(share))}
        assert values.mean().item() == pytest.approx(1, abs=0.05)
    alone = drawn(keep[2:], (2,))
    assert all(torch.equal(a[0], mask[2]) for a, mask in zip(alone, masks, strict=True))


def test_dropout_falls_on_activations(regime, pack):
    network = regime.network
    rows, (inputs, _) = pack
    views = network.layout.views(rows)
    shapes = network.sites(inputs.shape[1])
    ones = [torch.ones(3, *shape) for shape in shapes]
    whole = network.forward(views, inputs, None)
    torch.testing.assert_close(network.forward(views, inputs, ones), whole, rtol=0, atol=0)
    for site in range(len(shapes)):
        masks = [m.clone() for m in ones]
        masks[site][1] = 0
        dropped = network.forward(views, inputs, masks)
        assert torch.equal(dropped[0], whole[0])
        assert not torch.equal(dropped[1], whole[1])
