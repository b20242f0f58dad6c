"""What a person sees and does: by keyboard, by ear, on a phone, in the dark, without motion."""

import pytest
from axe_playwright_python.sync_playwright import Axe

PHONE, LAPTOP, PROJECTOR = (390, 844), (1366, 768), (1920, 1080)
SIZES = pytest.mark.parametrize("size", [PHONE, LAPTOP, PROJECTOR], ids=["phone", "laptop", "hall"])
STEPS = "document.getElementById('step-count').textContent"


def size_of(size):
    return {"width": size[0], "height": size[1]}


def steps(page):
    return int(page.locator("#step-count").inner_text())


@SIZES
@pytest.mark.parametrize(
    ("scheme", "state"),
    [("light", "steps=40&mean=on"), ("dark", "lesson=clipping&clip=after&steps=5")],
)
def test_no_rule_of_accessibility_is_broken(visit, size, scheme, state):
    with visit(state, **size_of(size), color_scheme=scheme, reduced_motion="reduce") as page:
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


@SIZES
@pytest.mark.parametrize("state", ["steps=120&mean=on&clip=before", "lesson=saddle"])
def test_nothing_is_wider_than_the_screen(visit, size, state):
    with visit(state, **size_of(size)) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        wide = page.evaluate(
            """() => [...document.querySelectorAll("main *")]
              .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
              .map((e) => e.outerHTML.slice(0, 80))"""
        )
        assert wide == []


@SIZES
def test_the_maps_stand_side_by_side(visit, size):
    with visit("steps=24&mean=on&threshold=16", **size_of(size)) as page:  # the longest captions
        boxes = [page.locator(f"#{name}-map").bounding_box() for name in ("plain", "dice")]
        assert boxes[0]["y"] == boxes[1]["y"]
        assert boxes[0]["width"] == boxes[1]["width"]


@SIZES
def test_both_maps_and_the_buttons_are_seen_without_scrolling(visit, size):
    with visit("lesson=adamw&optimizer=adamw", **size_of(size)) as page:
        for name in ("Play", "Step", "Restart"):
            box = page.get_by_role("button", name=name, exact=True).bounding_box()
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= size[1]


def test_it_can_be_used_with_the_keyboard_alone(visit):
    with visit() as page:
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # skips to the race
        assert page.evaluate("document.activeElement.id") == "play"
        page.keyboard.press("Tab")
        for _ in range(3):
            page.keyboard.press("Enter")
        page.wait_for_function(f"{STEPS} === '3'")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Space")
        page.wait_for_function(f"Number({STEPS}) > 5")
        page.keyboard.press("Space")
        stopped = steps(page)
        page.wait_for_timeout(300)
        assert steps(page) == stopped
        page.get_by_label("threshold, slider").focus()
        page.keyboard.press("ArrowRight")
        assert page.evaluate("lightningDice.race.settings.threshold") == 11
        assert steps(page) == stopped  # without a reset


def test_all_that_can_be_operated_is_reached_by_tab(visit):
    with visit("lesson=adamw&optimizer=adamw") as page:
        every = """[...document.querySelectorAll("button, select, input, summary, a[href]")]
          .filter((e) => e.checkVisibility() && !e.disabled)"""
        expected = page.evaluate(f"{every}.length")
        reached = set()
        for _ in range(expected + 5):
            page.keyboard.press("Tab")
            reached.add(page.evaluate(f"{every}.indexOf(document.activeElement)"))
        assert set(range(expected)) <= reached


def test_a_step_is_said_and_the_maps_say_where_the_race_is(visit):
    with visit("optimizer=adamw") as page:
        page.get_by_role("button", name="Step", exact=True).click()
        page.wait_for_function(f"{STEPS} === '1'")
        said = page.locator("#spoken").inner_text()
        assert said == "20: critical success, scale 1; 1 of the optimizer’s own step arrived."
        label = page.locator("#dice-map").get_attribute("aria-label")
        assert label.startswith("ill-conditioned bowl, dice training after 1 steps: weights −3.3, ")


def test_a_click_starts_from_there(visit):
    with visit("steps=20") as page:
        box = page.locator("#plain-map").bounding_box()
        page.locator("#plain-map").click(position={"x": box["width"] / 2, "y": box["height"] / 4})
        page.wait_for_function(f"{STEPS} === '0'")
        x, y = page.evaluate("lightningDice.race.runners.dice.path[0]")
        assert abs(x) < 0.05
        assert 1 < y < 2


@pytest.mark.parametrize(
    ("label", "option", "key"),
    [
        ("optimizer", "adam", "optimizer"),
        ("scaling", "skip", "scaling"),
        ("normalize", "rms", "normalize"),
        ("target", "update", "target"),
        ("clipping", "before", "clip"),
        ("die", "d6", "die"),
    ],
)
def test_settings_change_while_it_runs_without_a_reset(visit, label, option, key):
    with visit("steps=10&speed=30") as page:
        page.get_by_role("button", name="Play", exact=True).click()
        page.get_by_label(label, exact=True).select_option(option)
        page.wait_for_function(f"Number({STEPS}) > 16")
        assert page.evaluate(f"lightningDice.race.settings.{key}") == option
        assert page.get_by_role("button", name="Pause").is_visible()
        assert page.evaluate("lightningDice.race.runners.plain.path.length") > 16


DRAWN = "document.getElementById('plain-map').toDataURL()"


def test_the_path_of_the_same_mean_comes_and_goes(visit):
    with visit("steps=80") as page:
        without = page.evaluate(DRAWN)
        box = page.get_by_label("also race the same mean step")
        box.check()
        page.wait_for_function("!document.getElementById('mean-legend').hidden")
        assert page.evaluate(DRAWN) != without
        box.uncheck()
        page.wait_for_function("document.getElementById('mean-legend').hidden")
        assert page.evaluate(DRAWN) == without


def test_where_the_mean_is_not_above_0_it_stands_still_and_that_is_said(visit):
    with visit("threshold=16&mean=on&steps=20") as page:
        assert "stands still" in page.locator("#mean-loss").inner_text()
        path = page.evaluate("lightningDice.race.runners.mean.path")
        assert len(path) == 21
        assert path[0] == path[20]


def test_a_die_that_cannot_reach_the_threshold_lowers_it(visit):
    with visit("threshold=18") as page:
        page.get_by_label("die", exact=True).select_option("d6")
        assert page.evaluate("lightningDice.race.settings.threshold") == 6
        assert "the threshold is 6 now" in page.locator("#said").inner_text()


def test_motion_is_reduced_where_it_is_asked_for(visit):
    # Counted as they begin: on a busy machine one of a quarter of a second may be over when asked.
    count = "window.begun = 0; document.addEventListener('animationstart', () => { begun += 1; })"
    frames = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    for motion, expected in (("reduce", 0), ("no-preference", 1)):
        with visit(reduced_motion=motion) as page:
            page.evaluate(count)
            page.get_by_role("button", name="Step", exact=True).click()
            page.wait_for_function(f"{STEPS} === '1'")
            page.evaluate(frames)
            page.wait_for_function(f"begun === {expected}")


def test_what_runs_to_infinity_is_said(visit):
    with visit("lr=1&speed=240&threshold=2") as page:
        page.get_by_role("button", name="Play", exact=True).click()
        page.wait_for_function("lightningDice.race.over")
        page.wait_for_function("document.getElementById('ended').textContent.includes('Dice')")
        said = page.locator("#ended").inner_text()
        assert "Plain training ran off to infinity at step" in said
        assert "diverged at step" in page.locator("#plain-loss").inner_text()
        page.get_by_role("button", name="Restart").click()
        assert steps(page) == 0 or page.wait_for_function(f"{STEPS} === '0'")


def test_a_window_without_size_is_said_and_the_race_goes_on(visit):
    with visit("speed=60") as page:
        page.locator(".maps").evaluate("(e) => e.style.display = 'none'")
        page.wait_for_function("!document.getElementById('unseen').hidden")
        page.get_by_role("button", name="Play", exact=True).dispatch_event("click")
        page.wait_for_function("lightningDice.race.steps > 20")
        page.locator(".maps").evaluate("(e) => e.style.display = ''")
        page.wait_for_function("document.getElementById('unseen').hidden")


def test_frames_of_long_paths_leave_room_for_sixty_a_second(visit):
    """What a frame costs while paths grow beyond 500 steps; a sixtieth of a second is 16.7 ms."""
    with visit("surface=ravine&mean=on&steps=500&speed=60") as page:
        page.get_by_role("button", name="Play", exact=True).click()
        page.wait_for_function("lightningDice.drawn.length > 110", timeout=60_000)
        frames = sorted(page.evaluate("lightningDice.drawn.slice(-100)"))
        assert page.evaluate("lightningDice.race.steps") > 600
        assert len(frames) == 100
        assert frames[50] < 8
        assert frames[94] < 16.7


def test_its_own_policy_lets_it_run(visit):
    with visit("steps=10", bypass_csp=False) as page:
        page.get_by_role("button", name="Step", exact=True).click()
        assert page.evaluate("lightningDice.race.steps") == 11
        assert (
            page.evaluate("getComputedStyle(document.getElementById('chart')).display") == "block"
        )


def test_more_changes_than_an_address_holds_are_said(visit):
    with visit() as page:
        page.evaluate(
            """() => {
              const target = document.getElementById("target");
              for (let change = 0; change < 301; change++) {
                document.getElementById("step").click();
                target.value = change % 2 ? "gradient" : "update";
                target.dispatchEvent(new Event("change"));
              }
            }"""
        )
        assert "More than 300 changes" in page.locator("#said").inner_text()
