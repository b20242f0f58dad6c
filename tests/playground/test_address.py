"""The address holds the whole race; whatever else stands there is answered."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

RACE = (
    "surface=ravine&optimizer=momentum&lr=0.03&noise=0.2&x=-3&y=1&die=2d20kh1&threshold=13"
    "&scaling=proportional&normalize=rms&target=update&clip=before&clipnorm=2&discard=zero&mean=on"
    "&seed=18446744073709551615&speed=30&steps=120"
    "&changes=40~threshold~5,40~lr~0.01,90~optimizer~adam"
)
PARSED = """(address) => {
  const { spec, parse, format } = window.lightningDice;
  const parsed = parse(spec, address);
  return { ...parsed, again: format(spec, parsed) };
}"""
ANY = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def where(page):
    return page.evaluate("decodeURIComponent(location.hash.slice(1))")


def seen(page):
    return page.evaluate(
        """() => {
          const { race } = window.lightningDice;
          const { plain, dice, mean } = race.runners;
          const paths = [plain.path, dice.path, mean.path];
          return { steps: race.steps, settings: race.settings, paths, last: race.last };
        }"""
    )


def test_it_is_read_and_written_word_for_word(core):
    parsed = core.evaluate(PARSED, RACE)
    assert not parsed["said"]
    assert sorted(parsed["again"].split("&")) == sorted(RACE.split("&"))
    assert parsed["settings"]["seed"] == "18446744073709551615"


def test_defaults_are_not_written(core):
    assert core.evaluate(PARSED, "")["again"] == ""
    assert core.evaluate(PARSED, "surface=bowl&lr=0.03&threshold=10")["again"] == ""


def test_whoever_opens_it_sees_the_same_race(visit):
    with visit(RACE) as page:
        first = seen(page)
        assert first["steps"] == 120
        page.get_by_role("button", name="Step", exact=True).click()
        page.get_by_label("scaling").select_option("skip")
        page.get_by_role("button", name="Step", exact=True).click()
        after = seen(page)
        page.wait_for_function("location.hash.includes('steps=122')")
        state = where(page)
    assert "121~scaling~skip" in state
    with visit(state) as page:
        assert seen(page) == after


def test_a_link_counts_even_where_the_page_has_written_its_own_address_meanwhile(core):
    core.evaluate(
        """() => {
          const newURL = `${location.href.split("#")[0]}#die=d4&threshold=9`;
          window.dispatchEvent(new HashChangeEvent("hashchange", { newURL }));
        }"""
    )
    assert "is too large: 4 it is." in core.inner_text("#said")


@pytest.mark.parametrize(
    ("address", "said", "setting", "value"),
    [
        ("lr=1e9", "lr=“1e9” is too large: 10 it is.", "lr", 10),
        ("lr=-1", "lr=“-1” is too small: 0.00001 it is.", "lr", 1e-5),
        ("lr=Infinity", "lr=“Infinity” is too large: 10 it is.", "lr", 10),
        ("lr=fast", "lr=“fast” is not a number: 0.03 it is.", "lr", 0.03),
        ("lr=", "lr=“” is not a number: 0.03 it is.", "lr", 0.03),
        ("threshold=21", "threshold=“21” is too large: 20 it is.", "threshold", 20),
        ("threshold=2.5", "threshold=“2.5” is not whole: 3 it is.", "threshold", 3),
        ("die=d4&threshold=9", "threshold=“9” is too large: 4 it is.", "threshold", 4),
        ("die=d7", "die=“d7” is none of d4,", "die", "d20"),
        ("surface=__proto__", "surface=“__proto__” is none of bowl,", "surface", "bowl"),
        ("seed=-1", "seed=“-1” is not a whole number: 0 it is.", "seed", "0"),
        ("seed=18446744073709551616", "is more than a seed can be", "seed", str(2**64 - 1)),
        ("colour=red", "The address has “colour”, which means nothing here", "seed", "0"),
        ("x=%E0%A4%A", "x=“%E0%A4%A” is not a number: -3.4 it is.", "x", -3.4),
        ("steps=1e99", "steps=“1e99” cannot be: 10000 it is.", "seed", "0"),
        ("steps=-3", "steps=“-3” cannot be: 0 it is.", "seed", "0"),
        ("changes=5~lr~1", "The change “5~lr~1” cannot be made: it was left out.", "lr", 0.03),
        ("steps=9&changes=5~x~1", "The change “5~x~1” cannot be made", "x", -3.4),
        ("steps=9&changes=5~lr~99", "lr=“99” is too large: 10 it is.", "lr", 10),
        ("changes=1~constructor~x", "The change “1~constructor~x” cannot be made", "lr", 0.03),
        ("steps=9&changes=1~__proto__~x", "The change “1~__proto__~x” cannot", "lr", 0.03),
        ("steps=9&changes=1e400~lr~1", "The change “1e400~lr~1” cannot be made", "lr", 0.03),
        ("constructor=1", "The address has “constructor”, which means nothing", "seed", "0"),
        ("__proto__=1", "The address has “__proto__”, which means nothing", "seed", "0"),
        ("lr=%", "lr=“%” is not a number: 0.03 it is.", "lr", 0.03),
        ("lesson=constructor", "There is no lesson “constructor”.", "seed", "0"),
        ("lesson=none", "There is no lesson “none”.", "seed", "0"),
    ],
)
def test_what_cannot_be_had_is_said(core, home, address, said, setting, value):
    core.goto(f"{home}#{address}")  # in the page that is open, as a link to another race does
    says = "(said) => document.getElementById('said').textContent.includes(said)"
    core.wait_for_function(says, arg=said)
    assert seen(core)["settings"][setting] == value
    core.get_by_role("button", name="Step", exact=True).click()


INHERITED = [
    "constructor",
    "__proto__",
    "toString",
    "hasOwnProperty",
    "valueOf",
    "__defineGetter__",
]


@pytest.mark.parametrize(
    "address",
    [
        "changes=" + ",".join(f"0~{key}~x" for key in INHERITED),
        "&".join(f"{key}=1" for key in INHERITED),
        "&".join(f"{key}={word}" for key in ("die", "scaling", "lesson") for word in INHERITED),
        "steps=9".ljust(20_000, "9"),
        "changes=" + "9" * 20_000 + "~lr~1",
        "lr=%E0%A4%A&%=%&changes=%~%~%",
    ],
    ids=range(6),
)
def test_a_page_that_is_opened_at_an_odd_address_starts(visit, address):
    with visit(address) as page:
        assert page.inner_text("#said")
        before = seen(page)["steps"]
        page.get_by_role("button", name="Step", exact=True).click()
        assert seen(page)["steps"] == min(before + 1, 10_000)
        assert seen(page)["settings"]["surface"] == "bowl"


@pytest.mark.parametrize("typed", ["1e9", "-4", "0"])
def test_an_absurd_learning_rate_is_clamped_where_it_is_typed(visit, typed):
    with visit() as page:
        page.get_by_label("learning rate", exact=True).fill(typed)
        page.get_by_label("learning rate", exact=True).press("Enter")
        page.wait_for_function("!document.getElementById('said').hidden")
        assert f"lr=“{typed}” is too" in page.locator("#said").inner_text()
        assert seen(page)["settings"]["lr"] == (10 if typed == "1e9" else 1e-5)


@ANY
@given(st.text(max_size=200))
def test_any_text_gives_a_race_that_can_be_run(core, address):
    usable(core, address)


WORDS = """
surface optimizer lr noise x y die threshold scaling normalize target clip clipnorm discard mean
seed speed steps changes lesson bowl saddle d4 d20-2 2d20kl1 margin skip rms update 1 0 -1 1e308 NaN
5~die~d4 3~threshold~20 constructor __proto__ 0~constructor~x 0~__proto__~x toString
"""
PARTS = st.tuples(st.sampled_from(WORDS.split()), st.sampled_from("=&,~%#"))


@ANY
@given(st.lists(PARTS, max_size=30))
def test_any_order_of_its_own_words_gives_a_race_that_can_be_run(core, parts):
    usable(core, "".join(word + mark for word, mark in parts))


def usable(core, address):
    parsed = core.evaluate(PARSED, address)
    again = core.evaluate(PARSED, parsed["again"])
    assert again["said"] == []
    assert again["settings"] == parsed["settings"]
    assert again["changes"] == parsed["changes"]
    assert again["steps"] == parsed["steps"]
    ran = core.evaluate("([given, steps]) => window.raced(given, steps)", [parsed["settings"], 3])
    assert ran["steps"] >= 1
