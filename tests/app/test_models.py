"""The models: shapes, causality, weight tying, the schedule, and that they learn."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, max_pool2d

from lightning_dice.app.models import ImageClassifier, LanguageModel
from lightning_dice.app.models.base import warmup_cosine
from lightning_dice.app.models.gpt import GPT
from lightning_dice.rules import SettingError

SMALL = {"context": 8, "layers": 2, "heads": 2, "width": 16}


def adam(groups):
    return torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1)


def classifier(channels, side=8, hidden=None, dropout=0.0, warmup=0.1):
    return ImageClassifier(channels, side, hidden, dropout, warmup, adam)


def gpt(dropout=0.0):
    torch.manual_seed(0)
    return GPT(**SMALL, dropout=dropout)


class TestGPT:
    def test_it_does_not_look_ahead(self):
        model = gpt().eval()
        tokens = torch.randint(256, (2, 8), generator=torch.Generator().manual_seed(0))
        changed = tokens.clone()
        changed[:, 5:] = (changed[:, 5:] + 1) % 256
        before, after = model(tokens), model(changed)
        assert torch.equal(before[:, :5], after[:, :5])
        assert not torch.allclose(before[:, 5:], after[:, 5:])

    def test_attention_is_that_of_the_paper(self):
        """softmax(Q K^T / sqrt(d)) V, masked, written out."""
        attention = gpt().blocks[0].attention.eval()
        x = torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(1))
        query, key, value = attention.qkv(x)[0].chunk(3, dim=-1)
        mixed = torch.zeros(4, 16)
        for head in range(2):
            part = slice(8 * head, 8 * head + 8)
            for t in range(4):
                scores = query[t, part] @ key[: t + 1, part].T / math.sqrt(8)
                mixed[t, part] = scores.softmax(-1) @ value[: t + 1, part]
        torch.testing.assert_close(attention(x)[0], attention.mix(mixed))

    def test_input_and_output_share_their_weights(self):
        model = gpt()
        names = [name for name, p in model.named_parameters() if p.shape == (256, 16)]
        assert names == ["tokens.weight"]

    def test_it_starts_out_knowing_nothing(self):
        tokens = torch.randint(256, (16, 9), generator=torch.Generator().manual_seed(2))
        loss = cross_entropy(gpt()(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        assert abs(loss.item() - math.log(256)) < 0.1

    def test_dropout_is_for_training_alone(self):
        model, tokens = gpt(dropout=0.5), torch.zeros(1, 8, dtype=torch.long)
        assert not torch.equal(model(tokens), model(tokens))
        model.eval()
        assert torch.equal(model(tokens), model(tokens))

    @pytest.mark.parametrize(
        ("setting", "value"), [("heads", 3), ("heads", 0), ("layers", 0), ("dropout", 1.0)]
    )
    def test_bad_sizes(self, setting, value):
        with pytest.raises(SettingError, match=f"model.{setting}={value}"):
            GPT(**{**SMALL, "dropout": 0.0, setting: value})


MODELS = {
    "text": lambda: LanguageModel(**SMALL, dropout=0.0, warmup=0.1, optimizer=adam),
    "images": lambda: classifier(channels=4),
    "larger images": lambda: classifier(channels=4, side=12, hidden=32),
}


@pytest.fixture(params=MODELS)
def model(request):
    torch.manual_seed(0)
    return MODELS[request.param]()


class TestTaskModels:
    def batch(self, model):
        generator = torch.Generator().manual_seed(3)
        if model.kind == "text":
            tokens = torch.randint(256, (4, 9), generator=generator)
            return tokens[:, :-1], tokens[:, 1:]
        labels = torch.randint(10, (4,), generator=generator)
        return torch.rand(4, 1, model.side, model.side, generator=generator), labels

    def test_it_can_learn_a_batch_by_heart(self, model):
        batch = self.batch(model)
        model.log = lambda *args, **kwargs: None
        optimizer = adam([{"params": list(model.parameters())}])
        losses = []
        for _ in range(80):
            optimizer.zero_grad()
            loss = model.training_step(batch, 0)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0] / 4

    def test_validation_logs_its_metric(self, model):
        logged = {}
        model.log = lambda name, value, **kwargs: logged.update({name: value})
        model.log_dict = lambda values, **kwargs: logged.update(values)
        with torch.no_grad():
            model.validation_step(self.batch(model), 0)
        assert model.metric.name in logged

    def test_gains_and_biases_are_not_decayed(self, model, monkeypatch):
        class Trainer:
            estimated_stepping_batches = 10

        monkeypatch.setattr(type(model), "trainer", Trainer(), raising=False)
        groups = model.configure_optimizers()["optimizer"].param_groups
        decayed, spared = groups
        assert decayed["weight_decay"] == 0.1
        assert spared["weight_decay"] == 0.0
        assert {p.ndim for p in spared["params"]} == {1}
        assert all(p.ndim >= 2 for p in decayed["params"])
        assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


class TestImageClassifier:
    def weights(self, **settings):
        torch.manual_seed(0)
        model = classifier(channels=4, **settings)
        return {name: tuple(weight.shape) for name, weight in model.state_dict().items()}, model

    def test_without_a_hidden_layer_there_are_two_convolutions_and_a_linear_layer(self):
        shapes, model = self.weights()
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 3), nn.Linear(32, 10)]
        names = [f"network.{layer}.{kind}" for layer in (0, 3, 8) for kind in ("weight", "bias")]
        assert list(shapes) == names
        drawn = [tensor for layer in layers for tensor in (layer.weight, layer.bias)]
        for weight, expected in zip(model.state_dict().values(), drawn, strict=True):
            assert torch.equal(weight, expected)

    def test_a_hidden_layer_is_drawn_after_the_convolutions(self):
        _, model = self.weights(hidden=6)
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 3), nn.Linear(32, 6), nn.Linear(6, 10)]
        for layer, at in zip(layers, (0, 3, 8, 11), strict=True):
            assert torch.equal(model.network[at].weight, layer.weight)
            assert torch.equal(model.network[at].bias, layer.bias)

    def test_a_hidden_layer_is_between_the_convolutions_and_the_last_one(self):
        shapes, model = self.weights(side=28, hidden=6)
        assert [(name, shape) for name, shape in shapes.items() if name.endswith("weight")] == [
            ("network.0.weight", (4, 1, 3, 3)),
            ("network.3.weight", (8, 4, 3, 3)),
            ("network.8.weight", (6, 8 * 7 * 7)),
            ("network.11.weight", (10, 6)),
        ]
        relu, pool = torch.relu, partial(max_pool2d, kernel_size=2)
        conv1, conv2, hidden, last = (model.network[at] for at in (0, 3, 8, 11))
        images = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(1))
        features = pool(relu(conv2(pool(relu(conv1(images)))))).flatten(1)
        torch.testing.assert_close(model.network(images), last(relu(hidden(features))))

    @pytest.mark.parametrize(("hidden", "places"), [(None, [7]), (6, [7, 10])])
    def test_dropout_comes_before_each_linear_layer(self, hidden, places):
        network = classifier(channels=4, dropout=0.25, hidden=hidden).network
        found = [at for at, layer in enumerate(network) if isinstance(layer, nn.Dropout)]
        assert found == places
        assert {network[at].p for at in found} == {0.25}
        assert all(isinstance(network[at + 1], nn.Linear) for at in found)

    def test_the_one_for_clothes_has_a_tenth_of_a_million_weights(self):
        model = classifier(channels=16, side=28, hidden=64)
        assert sum(p.numel() for p in model.parameters()) == 105_866


def test_a_share_of_right_answers():
    model = classifier(channels=2, warmup=0.0)
    logged = {}
    model.log_dict = lambda values, **kwargs: logged.update(values)
    images = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(4))
    guesses = model.network(images).argmax(1)
    labels = guesses.clone()
    labels[:20] = (labels[:20] + 1) % 10
    model.validation_step((images, labels), 0)
    assert logged["val_accuracy"] == pytest.approx(30 / 50)


class TestSchedule:
    def test_it_is_the_formula(self):
        total, warmup = 100, 0.1
        for step in range(total + 1):
            if step < 10:
                expected = (step + 1) / 10
            else:
                expected = (1 + math.cos(math.pi * (step - 10) / 90)) / 2
            assert warmup_cosine(step, total, warmup) == pytest.approx(expected, abs=1e-12)

    @pytest.mark.parametrize("total", [1, 2, 7])
    @pytest.mark.parametrize("warmup", [0.0, 0.5, 0.99])
    def test_short_runs_stay_in_range(self, total, warmup):
        factors = [warmup_cosine(step, total, warmup) for step in range(total + 2)]
        assert all(0 <= factor <= 1 for factor in factors)
        assert factors[0] > 0
