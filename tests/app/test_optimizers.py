"""Groups of parameters, Muon, and that a model trains with the optimizer it is offered."""

import builtins
import re
from functools import partial

import pytest
import torch
from torch import nn

from lightning_dice.app.build import build_task
from lightning_dice.app.optimizers import Offered, hold_to, muon, parameter_groups
from lightning_dice.extras import install_command
from lightning_dice.rules import SettingError
from support.by_hand import EXACT, THROW, apart, dice, fit_exactly, train, windows
from support.own import MakesItsOwn, Net
from support.toy import Toy

SETTINGS = {"momentum": 0.9, "weight_decay": 0.1, "adamw_betas": [0.9, 0.99]}
MUON = partial(muon, lr=0.05, adamw_ratio=0.5, **SETTINGS)


class Small(nn.Module):
    """An embedding, a convolution, a matrix and vectors."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(7, 3)
        self.conv = nn.Conv2d(1, 2, 3)
        self.linear = nn.Linear(3, 2)
        self.linear.bias.requires_grad_(False)


def discarding(parameters):
    """Muon that makes no step without gradients, where its own would count one."""
    made = MUON(parameters)
    own = made.step
    held = [p for group in made.param_groups for p in group["params"]]
    made.step = lambda: own() if any(p.grad is not None for p in held) else None
    return made


def names(module, groups):
    of = {id(p): name for name, p in module.named_parameters()}
    return [[of[id(p)] for p in group["params"]] for group in groups]


class TestGroups:
    @pytest.mark.parametrize("factory", [torch.optim.SGD, partial(torch.optim.AdamW, lr=0.1)])
    def test_matrices_and_then_vectors_which_are_not_decayed(self, factory):
        module = Small()
        groups = parameter_groups(module, factory)
        assert names(module, groups) == [
            ["tokens.weight", "conv.weight", "linear.weight"],
            ["conv.bias"],
        ]
        assert [group.get("weight_decay") for group in groups] == [None, 0.0]

    @pytest.mark.parametrize("factory", [MUON, Offered(MUON), partial(MUON, lr=0.1)])
    def test_embeddings_are_held_apart_for_muon(self, factory):
        module = Small()
        groups = parameter_groups(module, factory)
        apart = [["conv.weight", "linear.weight"], ["conv.bias"], ["tokens.weight"]]
        assert names(module, groups) == apart

    @pytest.mark.parametrize("data", ["digits", "python_docs"])
    def test_every_parameter_of_a_model_is_in_one_group(self, composed, data):
        model, _ = build_task(composed(f"data={data}", "optimizer=muon"))
        groups = model.optimizer_factory(parameter_groups(model, model.optimizer_factory))
        held = [name for group in names(model, groups.param_groups) for name in group]
        assert sorted(held) == sorted(name for name, _ in model.named_parameters())
        by_muon = [group["use_muon"] for group in groups.param_groups]
        assert by_muon == ([True, False] if data == "digits" else [True, False, False])
        if data == "python_docs":
            *_, embeddings = names(model, groups.param_groups)
            assert embeddings == ["network.tokens.weight", "network.positions.weight"]


class TestMuon:
    def test_matrices_have_muon_and_the_rest_has_adamw(self):
        module = Small()
        made = MUON(parameter_groups(module, MUON))
        hidden, vectors, embeddings = made.param_groups
        assert [g["use_muon"] for g in made.param_groups] == [True, False, False]
        assert [g["lr"] for g in made.param_groups] == pytest.approx([0.05, 0.025, 0.025])
        assert [g["weight_decay"] for g in made.param_groups] == [0.1, 0.0, 0.1]
        assert hidden["momentum"] == 0.9
        assert vectors["betas"] == embeddings["betas"] == (0.9, 0.99)

    def test_plain_parameters_are_parted_by_their_dimensions(self):
        matrix, vector = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(3))
        groups = MUON(iter([vector, matrix])).param_groups
        assert [[p.ndim for p in group["params"]] for group in groups] == [[2], [1]]

    def test_an_update_of_a_matrix_has_singular_values_about_the_learning_rate(self):
        torch.manual_seed(0)
        matrix = nn.Parameter(torch.zeros(6, 4))
        made = muon([matrix], lr=0.05, adamw_ratio=1.0, **{**SETTINGS, "weight_decay": 0.0})
        matrix.grad = torch.randn(6, 4)
        made.step()
        per_width = matrix.detach() / (6 / 4) ** 0.5  # taller matrices have larger updates
        values = torch.linalg.svdvals(per_width) / 0.05
        assert ((values > 0.6) & (values < 1.3)).all()

    def test_a_vector_has_the_update_of_adamw(self):
        ours, theirs = (nn.Parameter(torch.ones(3)) for _ in range(2))
        made = MUON([ours])
        settings = {"lr": 0.025, "betas": (0.9, 0.99), "weight_decay": 0.1, "eps": 1e-10}
        reference = torch.optim.AdamW([theirs], **settings)
        for step in range(4):
            for weight, optimizer in ((ours, made), (theirs, reference)):
                weight.grad = torch.tensor([1.0, -2.0, 0.5]) * (step + 1)
                optimizer.step()
        torch.testing.assert_close(ours, theirs)

    @pytest.mark.parametrize("target", ["gradient", "update"])
    def test_dice_do_to_it_what_the_rule_says(self, target):
        model, callback = Toy(MUON), dice(target)
        fit_exactly(model, [callback], max_epochs=1)
        assert {record.scale for record in callback.rolls.recent} == set(THROW.scaling)
        by_hand = train(discarding, target, windows([1] * 12))
        assert apart(model.weights(), by_hand) <= 1e-6

    def test_a_missing_package_names_its_extra(self, monkeypatch):
        load = builtins.__import__

        def missing(name, *args, **kwargs):
            if name == "pytorch_optimizer":
                raise ModuleNotFoundError(name)
            return load(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", missing)
        with pytest.raises(SettingError, match=re.escape(install_command("muon"))):
            MUON([nn.Parameter(torch.ones(1))])

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ("adamw_ratio=0", r"optimizer\.adamw_ratio=0"),
            ("momentum=1", "momentum"),
            ("lr=-1", "learning rate|lr"),
        ],
    )
    def test_bad_settings_are_refused(self, composed, setting, message):
        with pytest.raises(SettingError, match=message):
            build_task(composed("optimizer=muon", f"optimizer.{setting}"))


@pytest.mark.parametrize("name", ["pure_sgd", "rmsprop", "adafactor"])
@pytest.mark.parametrize("target", ["gradient", "update"])
def test_dice_do_to_the_other_options_what_the_rule_says(composed, name, target):
    factory = build_task(composed(f"optimizer={name}"))[0].optimizer_factory
    model = Toy(factory)
    fit_exactly(model, [dice(target)], max_epochs=1)
    bound = EXACT if name != "adafactor" else 1e-6
    assert apart(model.weights(), train(factory, target, windows([1] * 12))) <= bound


class TestOffered:
    def test_every_learning_rate_is_multiplied(self):
        groups = [{"params": [nn.Parameter(torch.ones(1))], "lr": lr} for lr in (0.1, 0.4)]
        made = Offered(torch.optim.SGD, 0.25)(groups)
        assert [group["lr"] for group in made.param_groups] == pytest.approx([0.025, 0.1])

    def test_an_optimizer_without_learning_rates_is_refused(self):
        class Fixed(torch.optim.Optimizer):
            def __init__(self, parameters):
                super().__init__(parameters, {})

        parameters = [nn.Parameter(torch.ones(1))]
        assert Offered(Fixed)(parameters)
        with pytest.raises(SettingError, match="multiplies the learning rate, and this optimizer"):
            Offered(Fixed, 0.5)(parameters)

    def test_a_model_that_makes_its_own_optimizer_is_refused(self):
        offered = Offered(torch.optim.SGD)
        model = MakesItsOwn(offered)
        hold_to(model, offered)
        with pytest.raises(SettingError, match="model='MakesItsOwn': its configure_optimizers"):
            model.configure_optimizers()

    def test_a_model_that_takes_it_is_let_be(self):
        offered = Offered(torch.optim.SGD)
        model = Net(offered)
        hold_to(model, offered)
        assert isinstance(model.configure_optimizers(), torch.optim.SGD)
