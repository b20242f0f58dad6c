"""The same fine-tuning by HuggingFace's Trainer, with the same saving throws and seeds.

    python experiments/finetune_minilm/with_huggingface.py --seed 0 --out FOLDER
    python experiments/finetune_minilm/with_huggingface.py --seed 0 --small --out FOLDER  # on a CPU

What is read, held out and trained is what ``experiment=finetune_minilm`` says; the optimizer and
the schedule are the Trainer's own. A row for each arm is appended to ``FOLDER/huggingface.jsonl``.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor
from transformers import EvalPrediction, Trainer, TrainingArguments, set_seed

from lightning_dice import SavingThrow
from lightning_dice.adapters.huggingface import SavingThrowTrainerCallback
from lightning_dice.app.data import RottenTomatoes
from lightning_dice.app.models.minilm import CLASSES
from lightning_dice.app.pretrained import load_classifier
from lightning_dice.app.schema import config_folder, register

THRESHOLDS, TARGETS = (5, 10, 15), ("gradient", "update")


def configure(small: bool) -> DictConfig:
    """The study's configuration, or that of its small brother."""
    register()
    with initialize_config_dir(str(config_folder().absolute()), version_base="1.3"):
        name = "finetune_minilm_small" if small else "finetune_minilm"
        return compose("train", [f"experiment={name}"])


def collator(data: RottenTomatoes) -> Any:
    """Batches as models of transformers take them."""

    def collate(examples: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        tokens, labels = data.collate(examples)
        read = (tokens != data.padding).long()
        return {"input_ids": tokens, "attention_mask": read, "labels": labels}

    return collate


def accuracy(predicted: EvalPrediction) -> dict[str, float]:
    """The share that is right."""
    right = predicted.predictions.argmax(-1) == predicted.label_ids
    return {"accuracy": float(right.mean())}


def train(
    config: DictConfig, data: RottenTomatoes, dice: SavingThrowTrainerCallback | None, seed: int
) -> dict[str, Any]:
    """What one fine-tuning ends with."""
    set_seed(seed)
    on_gpu = torch.cuda.is_available()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=load_classifier(None, CLASSES, config.model.dropout),
            args=TrainingArguments(
                output_dir=folder,
                max_steps=config.trainer.max_steps,
                per_device_train_batch_size=config.data.batch_size,
                per_device_eval_batch_size=4 * config.data.batch_size,
                learning_rate=config.optimizer.lr,
                weight_decay=config.optimizer.weight_decay,
                max_grad_norm=config.trainer.gradient_clip_val,
                lr_scheduler_type="cosine",
                warmup_steps=round(config.model.warmup * config.trainer.max_steps),
                bf16=on_gpu,
                use_cpu=not on_gpu,
                seed=seed,
                logging_steps=config.trainer.log_every_n_steps,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                dataloader_drop_last=True,
                remove_unused_columns=False,
            ),
            train_dataset=data.train,
            eval_dataset=data.val,
            data_collator=collator(data),
            compute_metrics=accuracy,
            callbacks=[] if dice is None else [dice],
        )
        trainer.train()
        found = trainer.evaluate()
    tally = None if dice is None else dice.rolls.tally
    return {
        "val_accuracy": found["eval_accuracy"],
        "val_loss": found["eval_loss"],
        "mean_scale": None if tally is None else tally.mean_scale,
        "seconds": time.perf_counter() - began,
    }


@click.command()
@click.option("--seed", type=int, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--small", is_flag=True)
def main(seed: int, out: Path, small: bool) -> None:
    """Fine-tune without dice, and with each saving throw."""
    config = configure(small)
    data = instantiate(config.data)
    data.setup("fit")
    out.mkdir(parents=True, exist_ok=True)
    arms: list[tuple[int, str] | None] = [None, *itertools.product(THRESHOLDS, TARGETS)]
    for arm in arms:
        dice = None
        if arm is not None:
            threshold, target = arm
            throw = SavingThrow("d20", threshold=threshold)
            dice = SavingThrowTrainerCallback(throw, target=target, seed=seed)
        row = {
            "threshold": None if arm is None else arm[0],
            "target": None if arm is None else arm[1],
            "seed": seed,
            "steps": config.trainer.max_steps,
            **train(config, data, dice, seed),
        }
        with (out / "huggingface.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
