"""The study's modules, and regimes small enough to be tested."""

import sys
from pathlib import Path

import pytest
import torch

STUDY = Path(__file__).parents[3] / "experiments" / "verdict"
sys.path.insert(0, str(STUDY))  # its modules know each other by these names


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Tensors this small are only slowed down by more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def images():
    """A regime of small random images, and a plain model's worth of everything else."""
    from corpora import Data, Part
    from networks import PackedCNN
    from regimes import Regime

    generator = torch.Generator().manual_seed(3)

    def part(count):
        pixels = torch.randn(count, 1, 8, 8, generator=generator)
        return Part(pixels, torch.randint(10, (count,), generator=generator))

    data = Data(part(96), part(32), part(32), {})
    network = PackedCNN(side=8, channels=2, width=6)
    return Regime("tiny-images", "images", lambda: data, network, batch=8, steps=40)


@pytest.fixture(scope="session")
def text():
    """A regime of a short text."""
    from corpora import Data, Part
    from networks import PackedGPT
    from regimes import Regime

    generator = torch.Generator().manual_seed(4)

    def part(count):
        return Part(torch.randint(97, 123, (count,), generator=generator).byte())

    data = Data(part(1000), part(200), part(200), {})
    network = PackedGPT(context=8, layers=2, heads=2, width=8)
    return Regime("tiny-text", "text", lambda: data, network, batch=4, steps=40)


@pytest.fixture(scope="session")
def reviews(tmp_path_factory):
    """A regime of random tokens, some of them padding, and of a pretrained encoder that is none."""
    transformers = pytest.importorskip("transformers")
    from bert import PackedBert
    from corpora import Data, Part
    from regimes import Regime

    config = transformers.BertConfig(
        vocab_size=30,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=12,
    )
    folder = tmp_path_factory.mktemp("encoder")
    with torch.random.fork_rng():
        torch.manual_seed(5)
        transformers.BertModel(config).save_pretrained(folder)
    generator = torch.Generator().manual_seed(6)

    def part(count):
        tokens = torch.randint(1, 30, (count, 8), generator=generator)
        lengths = torch.randint(3, 9, (count, 1), generator=generator)
        tokens[torch.arange(8) >= lengths] = config.pad_token_id
        return Part(tokens, torch.randint(2, (count,), generator=generator))

    data = Data(part(96), part(32), part(32), {})
    network = PackedBert(length=8, folder=str(folder))
    return Regime("tiny-reviews", "reviews", lambda: data, network, batch=8, steps=40)
