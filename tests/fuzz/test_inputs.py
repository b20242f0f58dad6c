"""Whatever the rules are given, they answer or refuse it by name, in one short line."""

from hypothesis import strategies as st

from lightning_dice.rules import (
    CONTROLS,
    SCALINGS,
    Die,
    Roller,
    SavingThrow,
    SettingError,
    advice,
    control_arm,
    meaning,
)
from lightning_dice.rules.saving_throw import check_throw
from support.odd import VALUES, each_alone, fuzzed, near, refused

DIES = near("d20", "d6+1", "2d4kh1", "d100-2", "100d10000kl1", "d2", Die(4))
SCALES = (
    st.none()
    | st.floats(-2, 2)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([1e150, -1e150, 5e-324, 0, -0.0])
)
SCALINGS_GIVEN = near(*SCALINGS) | st.lists(SCALES, min_size=2, max_size=20)
NORMALIZES = near("none", "mean", "rms")
NUMBERS = near(1, 2, 10, 20, 2**53, 2**64 - 1)


def whole_of(throw):
    """Ask a saving throw for everything that it can tell."""
    odds = throw.odds()
    for number in (odds.mean, odds.mean_square, odds.efficiency, odds.forward, odds.inverse):
        float(number)
        str(number)
    for natural in {1, 2, throw.die.sides}:
        throw.resolve(natural)
    assert meaning(throw)
    advice(throw)
    assert check_throw(throw.settings()) == throw
    hash(throw)
    return throw


def make(die, threshold, scaling, normalize):
    return whole_of(SavingThrow(die, threshold, scaling, normalize))


def test_every_odd_value_of_a_saving_throw():
    each_alone(make, {"die": "d20", "threshold": 10, "scaling": "margin", "normalize": "none"})


@fuzzed(die=DIES, threshold=NUMBERS, scaling=SCALINGS_GIVEN, normalize=NORMALIZES)
def test_saving_throws(die, threshold, scaling, normalize):
    refused(make, die, threshold, scaling, normalize)


@fuzzed(table=st.lists(SCALES, min_size=2, max_size=20), normalize=st.sampled_from(["mean", "rms"]))
def test_tables(table, normalize):
    refused(make, f"d{len(table)}", 1, table, normalize)


def test_every_odd_value_of_a_die():
    each_alone(Die, {"sides": 20, "modifier": 0, "count": 2, "keep": "highest"})
    each_alone(Die.parse, {"notation": "d20"})
    each_alone(Die(20).chance, {"natural": 3})


@fuzzed(
    sides=NUMBERS,
    modifier=NUMBERS,
    count=NUMBERS,
    keep=near("highest", "lowest"),
    natural=NUMBERS,
)
def test_dice(sides, modifier, count, keep, natural):
    die = refused(Die, sides, modifier, count, keep)
    if die is not None:
        assert Die.parse(str(die)) == die
        assert refused(die.chance, natural) is None or 0 <= die.chance(natural) <= 1


@fuzzed(notation=near("d20") | st.from_regex(r"[0-9]{0,3}[dD][0-9]{1,5}(k[hl]1?)?([+-][0-9]+)?"))
def test_notation(notation):
    die = refused(Die.parse, notation)
    assert die is None or Die.parse(str(die)) == die


THROWS = near(SavingThrow(), SavingThrow("d4", 2, [None, -1, 1e150, 5e-324]), {"die": "d6"})


def test_every_odd_value_of_controls():
    each_alone(control_arm, {"control": "plain_mean", "throw": SavingThrow()})
    each_alone(meaning, {"throw": SavingThrow()})
    each_alone(advice, {"throw": SavingThrow()})


@fuzzed(control=near(*CONTROLS), throw=THROWS)
def test_controls(control, throw):
    arm = refused(control_arm, control, throw)
    if arm is not None:
        whole_of(arm.throw)
        assert arm.lr_factor > 0


def roll(throw, seed, stream, draws, step, slot):
    roller = Roller(throw, seed, stream, draws)
    rolled = roller.roll(step, slot)
    assert rolled == roller.roll(step, slot)
    assert rolled.natural == roller.naturals(step, 1, slot)[0]


ROLL = {
    "throw": SavingThrow("d6", 3),
    "seed": 0,
    "stream": 0,
    "draws": "deck",
    "step": 5,
    "slot": 0,
}


def test_every_odd_value_of_a_roll():
    each_alone(roll, ROLL)
    each_alone(SavingThrow().resolve, {"natural": 3})
    each_alone(Roller(SavingThrow(), 0).naturals, {"start": 0, "count": 2, "slot": 0})


@fuzzed(
    throw=THROWS,
    seed=NUMBERS,
    stream=NUMBERS,
    draws=near("independent", "deck"),
    step=NUMBERS,
    slot=NUMBERS,
)
def test_rolls(throw, seed, stream, draws, step, slot):
    refused(roll, throw, seed, stream, draws, step, slot)


@fuzzed(setting=st.text(max_size=5), value=VALUES, remedy=st.text(max_size=5))
def test_messages(setting, value, remedy):
    text = str(SettingError(setting, value, remedy))
    assert len(text) < 1000
    text.encode()
