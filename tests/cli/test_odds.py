import inspect
import json
import math
import os
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import lightning_dice
from lightning_dice.cli import main
from lightning_dice.cli.pictures import chart_rows
from lightning_dice.rules import Outcome, SavingThrow, advice, meaning

SCRIPT = Path(sys.executable).with_name("lightning-dice")
PLAIN = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR", "NO_COLOR")}


def run(*arguments, **environment):
    # Rich takes the width of a pipe from COLUMNS.
    result = CliRunner().invoke(main, ["odds", *arguments], env={"COLUMNS": "80", **environment})
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def script(*arguments, **environment):
    return subprocess.run(
        [SCRIPT, *arguments], capture_output=True, env={**PLAIN, **environment}, timeout=60
    )


def chart(text):
    """The chart's lines after its title."""
    return text.rstrip().partition("probability by scale")[2].splitlines()[1:]


def test_says_first_what_it_means():
    first, second = run("--threshold", "15").splitlines()[:2]
    throw = SavingThrow("d20", 15)
    assert first == meaning(throw)
    assert second == f"caution: {advice(throw)}"
    assert "caution" not in run("--threshold", "14")


def test_the_table_of_outcomes():
    text = run("--die", "2d20kh1+2", "--threshold", "15")
    cells = [re.split(r"  +", line.strip()) for line in text.splitlines()]
    assert ["critical_failure", "1", "1/400", "0.25 %", "discard"] in cells
    assert ["failure", "2-12", "143/400", "35.8 %", "-0.55 to -0.05"] in cells
    assert ["success", "13-19", "217/400", "54.2 %", "0.75 to 1"] in cells
    assert ["critical_success", "20", "39/400", "9.75 %", "1"] in cells


def test_the_table_of_outcomes_where_one_cannot_happen_and_one_may_discard():
    text = run("--die", "d4", "--threshold", "2", "--scaling", "-1,none,0.5,1")
    cells = [re.split(r"  +", line.strip()) for line in text.splitlines()]
    assert ["failure", "none", "0", "0 %"] in cells
    assert ["success", "2-3", "1/2", "50 %", "discard or 0.5"] in cells
    assert "d4, threshold 2, own table" in text


def test_exact_where_short_and_decimal_where_not():
    assert "E[s] = 7/200, E[s^2] = 1337/4000, efficiency = E[s]^2 / E[s^2] = 0.00366\n" in run(
        "--threshold", "15"
    )
    assert "E[s] = 0.0605386, E[s^2] = 1, " in run("--threshold", "15", "--normalize", "rms")


def test_the_chart_is_told_without_colour():
    lines = chart(run("--die", "d4", "--threshold", "2", "--scaling", "-1,0,none,0.5"))
    assert [line.split()[:4] for line in lines] == [
        ["discard", "25", "%", "░" * 40],
        ["-1", "reversed", "25", "%"],
        ["0", "zero", "25", "%"],
        ["0.5", "forward", "25", "%"],
    ]
    assert [set(line.split()[-1]) for line in lines] == [{"░"}, {"▒"}, {"░"}, {"█"}]


def test_bars_are_as_long_as_they_are_likely():
    lines = chart(run("--die", "2d4kh1", "--threshold", "2", "--scaling", "1,2,3,4"))
    assert [line.count("█") for line in lines] == [round(40 * n / 7) for n in (1, 3, 5, 7)]
    [rare, sure] = chart(run("--die", "20d2kh1", "--threshold", "2", "--scaling", "0,1"))
    assert (rare.count("░"), sure.count("█")) == (1, 40)  # what can happen has a bar
    assert any(line.rstrip().endswith("0.1 to 0.2  forward    0 %") for line in chart(run()))


@settings(deadline=None)
@given(
    st.lists(st.none() | st.floats(-1e9, 1e9), min_size=2, max_size=60),
    st.sampled_from([1, 1e-6, 1e-200, 1e100]),
)
def test_rows_of_any_table(table, unit):
    table = [factor if factor is None else factor * unit for factor in table]
    odds = SavingThrow(f"d{len(table)}", 2, table).odds()
    rows = chart_rows(odds)
    assert len(rows) <= 25
    chance = dict.fromkeys(["discard", "reversed", "zero", "forward"], Fraction(0))
    for row in rows:
        chance[row.direction] += row.chance
    assert chance["discard"] == odds.discard
    assert chance["reversed"] == odds.inverse
    assert chance["forward"] == odds.forward
    assert sum(chance.values()) == 1


@pytest.mark.parametrize(
    ("arguments", "first", "last", "rows"),
    [
        (("d20", 10), "-0.4 to -0.3", "0.9 to 1", 15),
        (("d100", 100), "-1 to -0.9", "0.9 to 1", 21),
        (("d100", 40, "margin", "mean"), "-1.5 to -1", "2.5 to 3", 10),
        (("d6", 4), "-0.333", "1", 6),
    ],
)
def test_bins(arguments, first, last, rows):
    found = chart_rows(SavingThrow(*arguments).odds())
    assert (found[0].direction, found[1].label, found[-1].label) == ("discard", first, last)
    assert len(found) == rows


def test_a_bin_holds_its_far_edge():
    found = chart_rows(SavingThrow("d20", 10).odds())
    by_label = {row.label: row.chance * 20 for row in found}
    assert by_label["0.4 to 0.5"] == 1  # face 10; 0.55 and 0.6 are the next bin's
    assert by_label["0.5 to 0.6"] == 2
    assert by_label["-0.4 to -0.3"] == 2  # faces 2 and 3; 4 is -0.3
    assert by_label["-0.3 to -0.2"] == 2


@pytest.mark.parametrize("die", ["d2", "d20", "2d20kl1-3", "d100", "3d1000kh1"])
@pytest.mark.parametrize("scaling", ["margin", "reference"])
def test_fits_eighty_columns_with_nothing_cut(die, scaling):
    text = run("--die", die, "--threshold", "2", "--scaling", scaling)
    assert "…" not in text
    assert max(map(len, text.splitlines()[2:])) <= 80
    assert len(chart(text)) <= 25
    assert all(str(outcome) in text for outcome in Outcome)


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_other_widths(columns):
    text = run("--threshold", "15", COLUMNS=columns)
    assert "…" not in text
    assert text.splitlines()[0] == meaning(SavingThrow("d20", 15))  # a pipe is not wrapped
    assert max(map(len, chart(text))) <= int(columns)


@pytest.mark.parametrize("none", ["none", "null", "discard", "None", " NULL "])
def test_own_factors(none):
    text = f" -1,0.1,{none},1e0"
    data = json.loads(run("--die", "d4", "--threshold", "2", "--scaling", text, "--json"))
    assert data["settings"]["scaling"] == [-1, 0.1, None, 1]
    assert data["mean"] == {"exact": "1/40", "value": 0.025}


def exact(number):
    assert math.isclose(Fraction(number["exact"]), number["value"])
    return Fraction(number["exact"])


@pytest.mark.parametrize(
    "throw",
    [
        SavingThrow(),
        SavingThrow("2d20kl1+2", 15, "reference", "rms"),
        SavingThrow("d4", 2, [None, -0.1, 0, 1], "mean"),
        SavingThrow("d2", 1, [None, None]),
    ],
    ids=str,
)
def test_json_says_all_of_the_odds(throw):
    arguments = [f"--die={throw.die}", f"--threshold={throw.threshold}"]
    own = throw.scaling if isinstance(throw.scaling, str) else ",".join(map(str, throw.scaling))
    data = json.loads(
        run(*arguments, f"--scaling={own}", f"--normalize={throw.normalize}", "--json")
    )
    odds = throw.odds()
    assert SavingThrow(**data["settings"]) == throw
    assert data["meaning"] == meaning(throw)
    assert data["advice"] == advice(throw)
    for name in ("mean", "mean_square", "efficiency", "discard", "inverse", "forward"):
        assert exact(data[name]) == getattr(odds, name)
    assert {o: exact(p) for o, p in data["probability"].items()} == odds.probability
    scales = [(s["scale"] and exact(s["scale"]), exact(s["probability"])) for s in data["scales"]]
    assert scales == list(odds.scales.items())


def test_defaults_are_those_of_python():
    data = json.loads(run("--json"))
    parameters = inspect.signature(SavingThrow).parameters
    assert data["settings"] == {name: p.default for name, p in parameters.items()}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--die", "dX"], "die='dX': expected dice notation such as d20"),
        (["--die", "d6"], "threshold=10: unreachable, as d6 totals at most 6"),
        (["--threshold", "0"], "threshold=0: expected a whole number from 1 to 20"),
        (["--threshold", "abc"], "'--threshold': 'abc'"),
        (["--normalize", "max"], "'none', 'mean', 'rms'"),
        (["--threshold", "16", "--normalize", "mean"], "normalize='mean': d20 with threshold 16"),
        (["--scaling", "nope"], "scaling='nope': expected margin, proportional, skip, reference"),
        (["--scaling", "1,2"], "scaling=[1.0, 2.0]: a table needs one factor per face, 20"),
        (["--scaling", "1,,2"], "scaling[2]='': expected a finite number, or none to discard"),
        (["--scaling", "1,x"], "scaling[2]='x': expected a finite number, or none to discard"),
        (["--die=d2", "--threshold=1", "--scaling=1,nan"], "scaling[2]=nan: expected a finite"),
        (
            ["--die=d2", "--threshold=1", "--scaling=1,1e200"],
            "scaling[2]=1e+200: too large for E[s^2]",
        ),
        (["--die=d2", "--threshold=1", "--scaling=1,1e200", "--json"], "expected at most 1e+150"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_code_two(arguments, words):
    result = CliRunner().invoke(main, ["odds", *arguments])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert isinstance(result.exception, SystemExit)
    [line] = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert words in line
    if line.count("'--") == 0:  # what click itself refuses comes with the usage
        assert result.stderr == f"{line}\n"


def test_version_and_help():
    run_main = CliRunner().invoke
    assert run_main(main, ["--version"]).stdout.endswith(f"{lightning_dice.__version__}\n")
    assert "odds" in run_main(main, ["-h"]).stdout
    help_text = run_main(main, ["odds", "--help"]).stdout
    assert "[default: margin]" in " ".join(help_text.split())
    assert "lightning-dice odds --threshold 15" in help_text


@pytest.mark.slow
def test_the_installed_script():
    result = script("odds", "--threshold", "15")
    assert (result.returncode, result.stderr) == (0, b"")
    assert "\x1b" not in result.stdout.decode()
    assert result.stdout.decode().startswith(meaning(SavingThrow("d20", 15)))
    failed = script("odds", "--threshold", "99")
    assert (failed.returncode, failed.stdout) == (2, b"")
    assert failed.stderr.startswith(b"Error: threshold=99: ")
    assert failed.stderr.count(b"\n") == 1


@pytest.mark.slow
def test_a_terminal_without_block_characters():
    result = script("odds", PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, b"")
    lines = chart(result.stdout.decode("ascii"))
    assert {lines[0].split()[-1][0], lines[1].split()[-1][0], lines[-1].split()[-1][0]} == set(
        ".-#"
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
@pytest.mark.parametrize("no_color", [False, True])
def test_a_terminal_has_colours_unless_told_otherwise(no_color):
    import pty

    environment = {"TERM": "xterm-256color", "COLUMNS": "80"} | (
        {"NO_COLOR": "1"} if no_color else {}
    )
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [SCRIPT, "odds", "--threshold", "15"],
        stdout=theirs,
        stdin=theirs,
        env={**PLAIN, **environment},
    ) as process:
        os.close(theirs)
        text = read_all(ours)
    assert process.returncode == 0
    assert ("\x1b[32m" in text) is not no_color
    shown = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert max(map(len, shown.splitlines())) <= 80  # sentences are wrapped here
    assert meaning(SavingThrow("d20", 15)) in " ".join(shown.split())


def read_all(descriptor):
    chunks = []
    # Linux ends a pseudo-terminal with an error.
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        while chunk := read_some(stream):
            chunks.append(chunk)
    return b"".join(chunks).decode()


def read_some(stream):
    try:
        return stream.read(4096)
    except OSError:
        return b""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["odds"], ["torch", "lightning", "matplotlib", "hydra"]),
        (["odds", "--json"], ["torch", "lightning", "matplotlib", "hydra", "rich"]),
    ],
)
def test_loads_nothing_heavy(arguments, absent):
    code = (
        "import sys; from lightning_dice.cli import main; "
        f"main({arguments!r}, standalone_mode=False); "
        f"print(sorted({{m.partition('.')[0] for m in sys.modules}} & set({absent!r})))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=PLAIN, timeout=60
    )
    assert result.stdout.decode().splitlines()[-1] == "[]"
