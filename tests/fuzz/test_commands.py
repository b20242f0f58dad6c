"""Whatever a command is given, it ends with an answer, or a short refusal and exit status 2."""

import webbrowser

import pytest
from click.testing import CliRunner
from hypothesis import strategies as st

from lightning_dice.cli import main
from support.odd import fuzzed

TEXTS = [
    *["", "0", "-1", "nan", "inf", "1e999", "9" * 5000, "None", "\0", "a\0b", "\ud800", "a\udc80"],
    *[
        "x" * 300,
        "y/" * 3000,
        "/dev/null",
        "/dev/full",
        "/dev/zero",
        "/proc/nope",
        "/",
        ".",
        "..",
        "[1]",
    ],
    *[
        "{}",
        "cuda:99",
        "meta",
        "cpu:1",
        "d20",
        "last",
        "../..",
        "5%",
        "a,b",
        "1,2",
        "--",
        "\n",
        "\x1b[1m",
    ],
]
ODD = st.sampled_from(TEXTS) | st.text(max_size=6)
OPTIONS = {
    "odds": ["--die", "--threshold", "--scaling", "--normalize", "--json", "--nope"],
    "report": ["--out", "--nope"],
    "stress": ["--out", "--examples", "--seed", "--device", "--checkpoint", "--again"],
    "landscape": ["--out", "--grid", "--span", "--examples", "--seed", "--device", "--checkpoint"],
    "tolerance": ["--out", "--within"],
    "playground": ["--out", "--open", "--no-open"],
}
COMMANDS = st.sampled_from(sorted(OPTIONS))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(webbrowser, "open", lambda url: True)


def run(arguments):
    done = CliRunner().invoke(main, arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit), arguments
    assert done.exit_code in (0, 2), (arguments, done.output)
    if done.exit_code:
        assert done.stdout == ""
        assert 0 < len(done.stderr.splitlines()) <= 6, done.stderr
    return done


@pytest.mark.parametrize("command", OPTIONS)
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_every_odd_value_of_an_option(command, text):
    folder = [] if command in ("odds", "playground") else ["."]
    for option in OPTIONS[command]:
        if option in ("--out", "--device", "--checkpoint", "--die", "--scaling", "--within"):
            run([command, f"{option}={text}", *folder])


@fuzzed(many=1000, command=COMMANDS, data=st.data())
def test_commands(command, data):
    options = st.sampled_from(OPTIONS[command])
    flags = {"--json", "--again", "--open", "--no-open"}
    arguments = [command]
    for option in data.draw(st.lists(options, max_size=3)):
        if option == "--out" and command == "playground":
            continue  # it may be told to write anywhere
        arguments.append(option if option in flags else f"{option}={data.draw(ODD)}")
    if command not in ("odds", "playground"):
        arguments += data.draw(
            st.lists(ODD.filter(lambda text: not text.startswith("/")), max_size=2)
        )
    run(arguments)


@pytest.mark.parametrize(
    "out", ["/dev/full", "/dev/zero", "/dev/null", "/proc/page.html", "a\0b", "x" * 300]
)
def test_a_page_goes_where_a_file_can_be(out):
    assert run(["playground", f"--out={out}"]).exit_code == 2
