"""Slots and filters: which parameters a roll belongs to."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_dice.rules import SettingError
from lightning_dice.scope import NameFilter, SlotTable, kept_names, parameter_names, slots_of

NAMES = ["embed.weight", "blocks.0.mlp.weight", "blocks.0.norm.weight", "blocks.1.mlp.weight"]


def network():
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 3), torch.nn.Linear(3, 1))
    groups = [{"params": net[:2].parameters()}, {"params": net[2].parameters(), "lr": 0.5}]
    return net, torch.optim.SGD(groups, lr=0.1)


def found(scope, include=None, exclude=None):
    net, optimizer = network()
    names = parameter_names(net)
    slots = slots_of(optimizer, scope, names, NameFilter(include, exclude))
    return {slot: [names[p][0] for p in parameters] for slot, parameters in slots.items()}


class TestSlots:
    ALL = ("0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias")

    def test_a_model_has_one(self):
        assert found("model") == {0: list(self.ALL)}

    def test_a_group_is_one(self):
        assert found("param_group") == {0: list(self.ALL[:4]), 1: list(self.ALL[4:])}

    def test_a_tensor_is_one(self):
        assert found("tensor") == {i: [name] for i, name in enumerate(self.ALL)}

    def test_numbers_stay_whatever_is_left_out(self):
        assert found("tensor", include=["*.bias"]) == {1: ["0.bias"], 3: ["1.bias"], 5: ["2.bias"]}
        assert found("param_group", exclude=["[01].*"]) == {1: ["2.weight", "2.bias"]}

    @given(
        include=st.none() | st.lists(st.sampled_from(["0.*", "*.bias", "*"]), min_size=1),
        exclude=st.none() | st.lists(st.sampled_from(["1.*", "2.bias"]), min_size=1),
    )
    def test_every_scope_rolls_for_the_same_parameters(self, include, exclude):
        chosen = {
            scope: sorted(
                name for names in found(scope, include, exclude).values() for name in names
            )
            for scope in ("model", "param_group", "tensor")
        }
        assert chosen["model"] == chosen["param_group"] == chosen["tensor"]

    def test_a_group_that_is_added_has_slots_of_its_own(self):
        net, optimizer = network()
        late = torch.nn.Linear(1, 1)
        names = {**parameter_names(net), **parameter_names(torch.nn.ModuleDict({"late": late}))}
        tables = {
            s: SlotTable(optimizer, s, names, NameFilter()) for s in ("param_group", "tensor")
        }
        before = {scope: dict(table()) for scope, table in tables.items()}
        optimizer.add_param_group({"params": late.parameters()})
        for scope, new in (("param_group", {2}), ("tensor", {6, 7})):
            after = tables[scope]()
            assert after.keys() - before[scope].keys() == new
            assert all(after[slot] == before[scope][slot] for slot in before[scope])


class TestNameFilter:
    def test_everything_is_chosen_by_default(self):
        assert all(map(NameFilter(), NAMES))

    def test_include_then_exclude(self):
        hidden = NameFilter(include=["blocks.*"], exclude=["*norm*"])
        assert [hidden(name) for name in NAMES] == [False, True, False, True]

    @pytest.mark.parametrize("setting", ["include", "exclude"])
    @pytest.mark.parametrize("given", ["*.weight", [3], [], 5])
    def test_what_is_no_list_of_patterns_is_refused(self, setting, given):
        with pytest.raises(SettingError, match=f"{setting}="):
            NameFilter(**{setting: given})

    @pytest.mark.parametrize("setting", ["include", "exclude"])
    def test_a_pattern_for_nothing_is_refused_with_what_there_is(self, setting):
        with pytest.raises(SettingError, match=rf"{setting}='head.\*': no parameter.*embed.weight"):
            NameFilter(**{setting: ["head.*"]}).check([name] for name in NAMES)

    def test_a_filter_that_leaves_nothing_is_refused(self):
        with pytest.raises(SettingError, match="leaves no parameter"):
            NameFilter(exclude=["*"]).check([name] for name in NAMES)


def test_names_are_those_without_wrappers():
    net = torch.nn.Sequential(torch.nn.Linear(2, 1))
    compiled = torch.nn.ModuleDict({"net": torch.compile(net, backend="eager")})
    assert list(parameter_names(compiled).values()) == [["net.0.weight"], ["net.0.bias"]]


def test_a_tied_parameter_goes_by_any_of_its_names():
    net = torch.nn.ModuleDict({"embed": torch.nn.Embedding(3, 2), "head": torch.nn.Linear(2, 3)})
    net["head"].weight = net["embed"].weight
    optimizer = torch.optim.SGD(net.parameters())
    names = parameter_names(net)
    NameFilter(exclude=["head.weight"]).check(names.values())
    for chosen in (NameFilter(exclude=["head.*"]), NameFilter(exclude=["embed.*", "head.bias"])):
        assert slots_of(optimizer, "tensor", names, chosen) == {}
    assert list(slots_of(optimizer, "tensor", names, NameFilter(["head.weight"]))) == [0]


@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate parameters")
def test_a_parameter_that_an_optimizer_has_twice_is_rolled_for_once():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight, weight])
    assert slots_of(optimizer, "tensor", {}, NameFilter()) == {0: [weight]}


def test_a_parameter_in_the_place_of_another_is_rolled_for():
    net, optimizer = network()
    table = SlotTable(optimizer, "model", parameter_names(net), NameFilter())
    table()
    other = torch.nn.Parameter(torch.ones(3))
    optimizer.param_groups[0]["params"][1] = other
    assert any(parameter is other for parameter in table()[0])


class TestNamesOfWhatJoins:
    """Parameters that join are chosen by the names that they have by then."""

    def table(self, scope="tensor", **patterns):
        net, optimizer = network()
        asked = []

        def names():
            asked.append(None)
            return parameter_names(net)

        return net, optimizer, SlotTable(optimizer, scope, names, NameFilter(**patterns)), asked

    def chosen(self, net, table):
        names = parameter_names(net)
        return [names[p][0] for own in table().values() for p in own]

    def test_a_module_and_then_its_group(self):
        net, optimizer, table, _ = self.table(include=["*.bias"])
        table()
        net.add_module("late", torch.nn.Linear(1, 1))
        optimizer.add_param_group({"params": net.late.parameters()})
        assert self.chosen(net, table) == ["0.bias", "1.bias", "2.bias", "late.bias"]

    def test_a_group_and_then_its_module(self):
        net, optimizer, table, _ = self.table(include=["*.bias"])
        late = torch.nn.Linear(1, 1)
        optimizer.add_param_group({"params": late.parameters()})
        assert self.chosen(net, table) == ["0.bias", "1.bias", "2.bias"]
        net.add_module("late", late)
        assert self.chosen(net, table) == ["0.bias", "1.bias", "2.bias", "late.bias"]

    def test_a_tied_parameter_that_is_given_one_of_its_own(self):
        net = torch.nn.ModuleDict({"in": torch.nn.Linear(2, 2), "out": torch.nn.Linear(2, 2)})
        net["out"].weight = net["in"].weight
        optimizer = torch.optim.SGD(net.parameters())
        names = lambda: parameter_names(net)  # noqa: E731
        table = SlotTable(optimizer, "tensor", names, NameFilter(exclude=["out.*"]))
        assert self.chosen(net, table) == ["in.bias"], "tied to one that is left out"
        net["out"].weight = torch.nn.Parameter(net["in"].weight.detach().clone())
        optimizer.add_param_group({"params": [net["out"].weight]})
        assert self.chosen(net, table) == ["in.weight", "in.bias"]

    def test_those_that_an_optimizer_keeps(self):
        net, late = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
        optimizer = torch.optim.SGD(net.named_parameters(), lr=0.1)
        names = lambda: kept_names([optimizer])  # noqa: E731
        table = SlotTable(optimizer, "tensor", names, NameFilter(exclude=["*bias"]))
        assert list(table()) == [0]
        optimizer.add_param_group(
            {"params": [(f"late.{n}", p) for n, p in late.named_parameters()]}
        )
        assert list(table()) == [0, 2]

    def test_names_are_asked_for_only_where_they_may_have_changed(self):
        _, _, table, asked = self.table(include=["*.bias"])
        for _ in range(5):
            table()
        assert len(asked) == 1
        _, optimizer, table, asked = self.table()
        optimizer.add_param_group({"params": torch.nn.Linear(1, 1).parameters()})
        table()
        assert not asked, "nothing is chosen by name"
