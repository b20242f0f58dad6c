"""Fine-tunes a small encoder with LoRA, by HuggingFace's Trainer and by hand, and tells both."""

import copy
import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import DataLoader
from transformers import BertConfig, BertForSequenceClassification

from lightning_dice.adapters.huggingface import SavingThrowTrainerCallback
from lightning_dice.records import read_rolls
from support.by_hand import KINDS, SEED, THROW, apart, factor, roll
from support.hf import DiceTrainer, trainer
from support.toy import momentum

STEPS = 8
CLIP = 0.05


def adapted():
    torch.manual_seed(3)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(
        vocab_size=32,
        intermediate_size=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=2,
        **shape,
    )
    lora = LoraConfig(
        task_type="SEQ_CLS", r=2, lora_alpha=4, target_modules=["query", "value"], lora_dropout=0.0
    )
    return get_peft_model(BertForSequenceClassification(config), lora)


def batches():
    generator = torch.Generator().manual_seed(4)
    examples = [
        {
            "input_ids": torch.randint(32, (6,), generator=generator),
            "labels": torch.randint(2, (), generator=generator),
        }
        for _ in range(4 * STEPS)
    ]
    return DataLoader(examples, 4)


def by_hand(model, kind, clip):
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = momentum(trained)
    for step, batch in enumerate(batches()):
        optimizer.zero_grad()
        loss = model(**batch).loss
        scale = factor(step)
        if kind == "per_mini_batch":
            if scale is None:
                continue
            (scale * loss).backward()
        else:
            loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(trained, clip)
        roll(optimizer, kind, {} if kind == "per_mini_batch" else dict.fromkeys(trained, scale))
    return trained


def tried(kind, folder):
    model = adapted()
    other, before = copy.deepcopy(model), copy.deepcopy(model.state_dict())
    where = {"granularity": kind} if kind == "per_mini_batch" else {"target": kind}
    clip = 0.0 if kind == "per_mini_batch" else CLIP
    trainer(
        folder,
        [SavingThrowTrainerCallback(THROW, seed=SEED, **where)],
        kind=DiceTrainer,
        factory=momentum,
        model=model,
        loader=batches(),
        max_steps=STEPS,
        max_grad_norm=clip,
    ).train()
    expected = by_hand(other, kind, clip)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    after = model.state_dict()
    return {
        "apart": apart(trained.values(), expected),
        "trained": sorted(trained),
        "moved": sorted(name for name in after if not torch.equal(after[name], before[name])),
        "scales": [record.scale for record in read_rolls(folder / "rolls.csv")],
        "expected": [factor(step) for step in range(STEPS)],
    }


if __name__ == "__main__":
    json.dump({kind: tried(kind, Path(sys.argv[1], kind)) for kind in KINDS}, sys.stdout)
