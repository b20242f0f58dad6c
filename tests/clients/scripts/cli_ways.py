"""Reads command lines, and writes what dice LightningCLI makes of each, and of what it saves."""

import contextlib
import io
import json
import logging
import sys
import tempfile
import warnings
from pathlib import Path

from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel
from torch import nn

from lightning_dice import DiceLightningModule, SavingThrow, SavingThrowCallback

QUIET = [
    "--trainer.accelerator=cpu",
    "--trainer.logger=false",
    "--trainer.enable_checkpointing=false",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]


class Rolls(DiceLightningModule):
    def __init__(
        self, saving_throw: SavingThrow | None = None, seed: int | None = None, width: int = 2
    ) -> None:
        super().__init__(saving_throw, seed)
        self.layer = nn.Linear(width, 1)


class Passes(DiceLightningModule):
    def __init__(self, width: int = 2, **kwargs) -> None:
        super().__init__(**kwargs)
        self.layer = nn.Linear(width, 1)


class Required(DiceLightningModule):
    def __init__(self, saving_throw: SavingThrow, width: int = 2) -> None:
        super().__init__(saving_throw)
        self.layer = nn.Linear(width, 1)


D6 = SavingThrow("d6", 3)


class Default(DiceLightningModule):
    def __init__(self, saving_throw: SavingThrow = D6, width: int = 2) -> None:
        super().__init__(saving_throw)
        self.layer = nn.Linear(width, 1)


class OneGroup(LightningCLI):
    def add_arguments_to_parser(self, parser):
        parser.add_lightning_class_args(SavingThrowCallback, "dice")
        parser.link_arguments("seed_everything", "dice.seed")


class Linked(OneGroup):
    def add_arguments_to_parser(self, parser):
        super().add_arguments_to_parser(parser)
        parser.set_defaults({"dice.granularity": "per_mini_batch"})
        parser.link_arguments("dice.throw", "model.saving_throw", apply_on="instantiate")


class Own(LightningCLI):
    def add_arguments_to_parser(self, parser):
        parser.add_class_arguments(SavingThrow, "throw")
        parser.link_arguments("throw", "model.saving_throw", apply_on="instantiate")


CLIS = {"plain": LightningCLI, "group": OneGroup, "linked": Linked, "own": Own}
MODELS = {
    "boring": (BoringModel, False),
    "rolls": (Rolls, False),
    "passes": (Passes, False),
    "required": (Required, False),
    "default": (Default, False),
    "any": (DiceLightningModule, True),
}


def described(cli, model, arguments):
    kind, subclasses = MODELS[model]
    made = CLIS[cli](
        kind,
        BoringDataModule,
        args=arguments,
        run=False,
        save_config_callback=None,
        subclass_mode_model=subclasses,
    )
    dice = [one for one in made.trainer.callbacks if isinstance(one, SavingThrowCallback)]
    own = getattr(made.model, "saving_throw", None)
    return made, {
        "callbacks": [
            {
                **one.settings,
                "changes": list(one.changes),
                "skip_discarded": one.choices.skip_discarded,
            }
            for one in dice
        ],
        "module": own if own is None else own.settings(),
        "seed": getattr(made.model, "dice_seed", None),
    }


def tried(cli, model, arguments):
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            made, first = described(cli, model, [*arguments, *QUIET])
            saved = made.parser.dump(made.config, skip_none=False)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "saved.yaml")
                path.write_text(saved)
                _, again = described(cli, model, ["--config", str(path)])
    except (SystemExit, Exception) as error:
        return {"error": f"{type(error).__name__} {error}\n{said.getvalue()}"}
    return {"first": first, "again": again}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.getLogger("lightning").setLevel(logging.ERROR)
    json.dump([tried(*way) for way in json.load(sys.stdin)], sys.stdout)
