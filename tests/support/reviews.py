"""An encoder and reviews that are small enough to be made in a test."""

import csv
import random

GOOD = ["good", "fine", "great", "moving", "funny", "warm"]
BAD = ["bad", "dull", "poor", "boring", "flat", "cold"]
OTHERS = ["the", "film", "is", "and", "plot", "a", "cast", "was"]
COLUMNS = ("text", "label", "source")


def save_encoder(folder, positions=32, dropout=0.1):
    """A BERT of two layers over two dozen words, with weights drawn at random."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    vocabulary = folder / "vocab.txt"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *GOOD, *BAD, *OTHERS]
    vocabulary.write_text("\n".join(words))
    BertTokenizerFast(str(vocabulary)).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=positions,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        # Wide enough for attention to have something to tell apart.
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        BertModel(config).save_pretrained(folder)
    return folder


def made_up(count, seed=0):
    """Rows that are sorted by label, of texts that are all different."""
    drawn = random.Random(seed)
    texts = {}
    while len(texts) < count:
        label = int(len(texts) < count // 2)
        words = drawn.choices(GOOD if label else BAD, k=2) + drawn.choices(
            OTHERS, k=drawn.randint(2, 9)
        )
        drawn.shuffle(words)
        texts.setdefault(" ".join(words), label)
    return [(text, label, "rotten_tomatoes") for text, label in texts.items()]


def save_reviews(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return path
