"""The package as somebody else installs it: names, light imports, the wheel."""

import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import lightning_dice

ROOT = Path(__file__).parents[1]
PACKAGES = [
    "lightning_dice",
    *(
        name
        for _, name, is_package in pkgutil.walk_packages(lightning_dice.__path__, "lightning_dice.")
        if is_package
    ),
]


@pytest.mark.parametrize("name", PACKAGES)
def test_exported_names_exist_and_are_sorted(name):
    package = importlib.import_module(name)
    exported = getattr(package, "__all__", [])
    for member in exported:
        assert getattr(package, member) is not None
    assert len(set(exported)) == len(exported)
    assert set(exported) <= set(dir(package))


def test_the_public_names_are_those_of_the_design():
    assert set(lightning_dice.__all__) == {
        "DiceLightningModule",
        "Die",
        "Odds",
        "Outcome",
        "Roll",
        "SavingThrow",
        "SavingThrowCallback",
    }
    with pytest.raises(AttributeError, match="no attribute 'Dice'"):
        _ = lightning_dice.Dice


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("lightning_dice", {"torch", "lightning", "numpy", "hydra", "matplotlib"}),
        ("lightning_dice.rules", {"torch", "lightning", "hydra", "matplotlib"}),
        ("lightning_dice.records", {"torch", "lightning", "hydra", "matplotlib"}),
        ("lightning_dice.cli", {"torch", "lightning", "hydra", "matplotlib", "pandas"}),
        ("lightning_dice.analysis", {"torch", "lightning", "hydra", "pandas", "scipy"}),
        # Every Hydra application of the environment imports it.
        ("hydra_plugins.lightning_dice_grid", {"torch", "lightning", "lightning_dice"}),
        ("lightning_dice.callback", {"lightning_dice.analysis", "lightning_dice.app"}),
    ],
)
def test_what_an_import_does_not_load(module, absent):
    code = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert not absent & set(json.loads(done.stdout))


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, capture_output=True, timeout=240, check=True)
    return next(folder.glob("*.tar.gz")), next(folder.glob("*.whl"))


@pytest.mark.slow
@pytest.mark.xdist_group("wheel")
class TestWheel:
    def test_it_carries_conf_and_no_tests(self, distributions):
        sdist, wheel = distributions
        names = set(zipfile.ZipFile(wheel).namelist())
        conf = {
            f"lightning_dice/conf/{path.relative_to(ROOT / 'conf').as_posix()}"
            for path in (ROOT / "conf").rglob("*.yaml")
        }
        assert conf <= names
        assert {"lightning_dice/py.typed", "lightning_dice/analysis/report.html.j2"} <= names
        assert "hydra_plugins/lightning_dice_grid.py" in names
        assert "hydra_plugins/__init__.py" not in names, "other packages have plugins there too"
        ours = ("lightning_dice", "hydra_plugins/lightning_dice")
        assert all(name.startswith(ours) for name in names)
        with tarfile.open(sdist) as archive:
            packed = {name.partition("/")[2] for name in archive.getnames()}
        assert {"LICENSE", "README.md", "conf/train.yaml", "pyproject.toml"} <= packed

    def test_installed_into_an_empty_folder_it_trains(self, distributions, tmp_path):
        site, empty = tmp_path / "site", tmp_path / "empty"
        empty.mkdir()
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        install += ["--target", str(site), str(distributions[1])]
        subprocess.run(install, capture_output=True, timeout=240, check=True)
        environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}

        def run(*command):
            return subprocess.run(
                command,
                cwd=empty,
                env=environment,
                capture_output=True,
                text=True,
                timeout=240,
                check=True,
            ).stdout

        where = run(sys.executable, "-c", "import lightning_dice; print(lightning_dice.__file__)")
        assert Path(where.strip()).is_relative_to(site)
        arguments = ["trainer.max_steps=2", "trainer.val_check_interval=2", "hydra.run.dir=out"]
        train = [sys.executable, str(site / "bin" / "lightning-dice-train")]
        assert "report: out/report.html" in run(*train, *arguments)
        assert (empty / "out" / "report.html").exists()
        odds = run(sys.executable, str(site / "bin" / "lightning-dice"), "odds", "--json")
        assert json.loads(odds)["mean"]["exact"] == "129/400"
