"""Whatever callbacks, adapters, metrics and saved states are given, they refuse it by name."""

import copy
import csv
import io
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
import torch
from hypothesis import strategies as st

from lightning_dice import DiceLightningModule, SavingThrow, SavingThrowCallback
from lightning_dice.adapters.huggingface import SavingThrowTrainerCallback
from lightning_dice.adapters.torch_loop import attach, detach
from lightning_dice.metrics import Luck, MeanScale, OutcomeCounts
from lightning_dice.metrics.functional import luck, mean_scale, outcome_counts
from lightning_dice.records import RollLog, RollRecord, read_rolls
from lightning_dice.trajectory import TrajectoryRecorder
from support.odd import VALUES, each_alone, fuzzed, near, refused

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

THROW = SavingThrow("d6", 3)
CHOSEN = {
    "throw": THROW,
    "granularity": "per_accumulation_step",
    "target": "gradient",
    "scope": "tensor",
    "include": ["weight"],
    "exclude": ["bias"],
    "ranks": "shared",
    "draws": "deck",
    "seed": 3,
    "changes": ["threshold"],
}
CALLBACK = {**CHOSEN, "skip_discarded": False}
OTHERS = {
    "granularity": ["per_mini_batch"],
    "target": ["update"],
    "scope": ["model", "param_group"],
    "ranks": ["independent"],
    "draws": ["independent"],
    "seed": [0, 2**64 - 1],
}


def any_of(usable):
    """Each argument usable or odd."""
    strategies = {name: near(value, *OTHERS.get(name, [])) for name, value in usable.items()}
    return st.fixed_dictionaries(strategies)


def callback(**given):
    made = SavingThrowCallback(**given)
    made.choices.check()
    copy.deepcopy(made)
    assert SavingThrowCallback(**{**given, "seed": made.seed}).settings == made.settings
    return made


def test_every_odd_value_of_the_callback():
    each_alone(callback, CALLBACK)
    each_alone(DiceLightningModule, {"saving_throw": THROW, "seed": 0})


@fuzzed(given=any_of(CALLBACK))
def test_callbacks(given):
    refused(callback, **given)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def net():
    return torch.nn.Linear(2, 1)


def attached(optimizer=None, model=None, **given):
    made = net()
    own = torch.optim.SGD(made.named_parameters(), lr=0.1)
    optimizer = own if optimizer is None else optimizer
    dice = attach(optimizer, model=made if model is None else model, **given)
    dice.remove()
    detach(optimizer)


ATTACHED = {
    **CHOSEN,
    "optimizer": None,
    "model": None,
    "scaler": None,
    "folder": None,
    "ordinal": 0,
}


def test_every_odd_value_of_a_loop(here):
    each_alone(attached, ATTACHED)
    assert not list(Path().iterdir())


def test_every_odd_value_of_a_trainer_of_huggingface():
    each_alone(SavingThrowTrainerCallback, {**CHOSEN, "ordinal": 0})


@fuzzed(given=any_of(ATTACHED))
def test_loops(given):
    with suppress(OSError):  # of a folder of that name
        refused(attached, **{**given, "folder": None})


@fuzzed(given=any_of({**CHOSEN, "ordinal": 0}))
def test_trainers_of_huggingface(given):
    refused(SavingThrowTrainerCallback, **given)


def test_every_odd_value_of_a_recorder():
    each_alone(TrajectoryRecorder, {"folder": "run", "most": 4, "megabytes": 1.0})


@fuzzed(folder=near("run"), most=near(3, 64), megabytes=near(1, 0.5))
def test_recorders(folder, most, megabytes):
    refused(TrajectoryRecorder, folder, most, megabytes)


def loop():
    weight = torch.nn.Parameter(torch.ones(1))
    return attach(torch.optim.SGD([weight], lr=0.1), THROW, changes=["threshold"])


def load_callback(state):
    SavingThrowCallback(THROW, changes=["threshold"]).load_state_dict(state)


def load_loop(state):
    dice = loop()
    dice.load_state_dict(state)
    dice.remove()


def load_log(state):
    RollLog().load_state_dict(state)


def find(state):
    dice = SavingThrowCallback(THROW)
    dice.find_state({"SavingThrowCallback{'other'}": state}, {dice.state_key})


STATES = {
    load_callback: lambda: SavingThrowCallback(THROW, seed=0).state_dict(),
    load_loop: lambda: loop().state_dict(),
    load_log: lambda: RollLog().state_dict(),
    find: lambda: SavingThrowCallback(THROW, seed=0).state_dict(),
}
LOADERS = st.sampled_from(list(STATES))


def mangled(state, path, value, *, gone=False):
    """Return a state with another value in one place, or none there."""
    state = copy.deepcopy(state)
    inner = state
    for name in path[:-1]:
        inner = inner[name]
    if gone:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return state


def places(state, above=()):
    for name, value in state.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from places(value, (*above, name))


@pytest.mark.parametrize("load", STATES, ids=lambda load: load.__name__)
def test_every_state_that_lacks_something_or_has_something_odd(load):
    state = STATES[load]()
    load(state)
    each_alone(load, {"state": state})
    for path in places(state):
        refused(load, mangled(state, path, None, gone=True))
        each_alone(lambda value, path=path: load(mangled(state, path, value)), {"value": 0})


@fuzzed(load=LOADERS, data=st.data(), value=VALUES, gone=st.booleans())
def test_states(load, data, value, gone):
    state = STATES[load]()
    path = data.draw(st.sampled_from(list(places(state))))
    refused(load, mangled(state, path, value, gone=gone))


CELLS = st.sampled_from(
    ["0", "3", "-1", "", "success", "nan", "inf", "1e999", "9" * 5000, '"', "x"]
)
HEADER = ",".join(RollRecord._fields).encode() + b"\n"
RECORD = RollRecord(0, 0, 0, 0, *THROW.resolve(4))


def read(content):
    with NamedTemporaryFile(suffix=".csv") as file:
        file.write(content)
        file.flush()
        return refused(lambda: list(read_rolls(Path(file.name))))


@fuzzed(rows=st.lists(st.lists(CELLS | st.text(max_size=4), max_size=9), max_size=4))
def test_rolls_on_file(rows):
    text = io.StringIO()
    csv.writer(text).writerows([RollRecord._fields, RECORD, *rows])
    read(text.getvalue().encode(errors="surrogatepass"))


@fuzzed(content=st.binary(max_size=200))
def test_bytes_on_file(content):
    read(HEADER + content + b"\n")


def test_a_field_that_is_too_long_for_a_table():
    assert read(HEADER + b"1" * 200_000 + b"\n") is None


def measure(rolls, counts):
    for metric in (OutcomeCounts(), MeanScale(), Luck(THROW)):
        metric.update(rolls)
        metric.compute()
    assert outcome_counts(rolls).sum() == OutcomeCounts()(rolls).sum()
    mean_scale(rolls)
    luck(counts, THROW.odds())


def test_every_odd_value_of_a_metric():
    measured = {"rolls": [THROW.resolve(3)], "counts": torch.tensor([1, 2, 3, 4])}
    each_alone(measure, measured)
    each_alone(Luck, {"throw": THROW})
    each_alone(luck, {"counts": measured["counts"], "odds": THROW.odds()})


@fuzzed(
    rolls=st.lists(near(THROW.resolve(2), THROW.resolve(1)._replace(scale=1e308)), max_size=3),
    field=st.sampled_from(["natural", "total", "outcome", "scale"]),
    value=VALUES,
    counts=near(torch.tensor([1, 2, 3, 4]), torch.tensor([-1, 0, 0, 0])),
)
def test_metrics(rolls, field, value, counts):
    refused(measure, [*rolls, THROW.resolve(2)._replace(**{field: value})], counts)
