"""Fine-tuning: the encoder that is loaded, the head on it, and runs from start to report."""

import hashlib
import json
import re
import shutil
import socket
import sys
import time
from functools import partial

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from lightning_dice.app import pretrained
from lightning_dice.app.build import build_task
from lightning_dice.app.carried import Carried
from lightning_dice.app.landscape import Options as Drawn
from lightning_dice.app.landscape import compute_landscape
from lightning_dice.app.models import ReviewClassifier
from lightning_dice.app.rebuild import Named
from lightning_dice.app.stress_runs import Options as Stressed
from lightning_dice.app.stress_runs import measure_runs
from lightning_dice.app.train import train
from lightning_dice.extras import install_command
from lightning_dice.records import read_rolls
from lightning_dice.rules import SettingError
from support.reviews import made_up, save_encoder, save_reviews

ADAMW = partial(torch.optim.AdamW, lr=0.01)
CHOICES = {"data": "rotten_tomatoes", "model": "minilm", "optimizer": "adamw_finetune"}
WORDS = 25
"""Of the tiny encoder's vocabulary."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("tiny") / "encoder")


@pytest.fixture
def classifier(encoder):
    def make(seed=0, **settings):
        torch.manual_seed(seed)
        given = {"encoder": str(encoder), "length": 12, "dropout": 0.1, "warmup": 0.1}
        return ReviewClassifier(**given | settings, optimizer=ADAMW)

    return make


def batch():
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(5, WORDS, (4, 9), generator=generator)
    tokens[0, 4:] = tokens[2, 7:] = 0
    return tokens, torch.tensor([0, 1, 1, 0])


class TestClassifier:
    def test_logits_and_labels(self, classifier):
        tokens, labels = batch()
        logits, same = classifier().predict((tokens, labels))
        assert logits.shape == (4, 2)
        assert torch.equal(same, labels)

    def test_what_is_padding_does_not_matter(self, classifier):
        model = classifier().eval()
        tokens, labels = batch()
        wider = torch.nn.functional.pad(tokens, (0, 3))
        torch.testing.assert_close(
            model.predict((wider, labels))[0], model.predict((tokens, labels))[0]
        )
        alone = model.predict((tokens[:1, :4], labels[:1]))[0]
        torch.testing.assert_close(alone, model.predict((tokens, labels))[0][:1])

    def test_the_encoder_is_what_was_saved_and_the_head_is_drawn_from_the_seed(
        self, classifier, encoder
    ):
        ours, again, others = classifier(0), classifier(0), classifier(1)
        kept = load_file(encoder / "model.safetensors")
        weights = ours.network.base_model.state_dict()
        assert kept.keys() == weights.keys()
        for name, weight in kept.items():
            assert torch.equal(weight, weights[name])
        heads = [model.network.classifier for model in (ours, again, others)]
        assert torch.equal(heads[0].weight, heads[1].weight)
        assert not torch.equal(heads[0].weight, heads[2].weight)
        assert heads[0].weight.count_nonzero() == 2 * 16

    def test_it_is_handed_out_for_training(self, classifier):
        model = classifier(dropout=0.5)
        assert all(part.training for part in model.modules())
        assert not torch.equal(model.predict(batch())[0], model.predict(batch())[0])
        dropped = {part.p for part in model.modules() if isinstance(part, torch.nn.Dropout)}
        assert dropped == {0.5}
        own = classifier(dropout=None).network.config
        assert own.hidden_dropout_prob == own.attention_probs_dropout_prob == 0.1

    def test_weights_of_half_precision_are_trained_in_full(self, classifier, encoder, tmp_path):
        shutil.copytree(encoder, tmp_path / "half")
        path = tmp_path / "half" / "model.safetensors"
        halves = {name: weight.half() for name, weight in load_file(path).items()}
        save_file(halves, path, {"format": "pt"})
        model = classifier(encoder=str(tmp_path / "half"))
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}

    def test_loading_says_nothing_and_asks_nobody(self, classifier, capfd, monkeypatch):
        from transformers.utils import logging

        def refuse(*_args):
            raise AssertionError("the network was asked")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        before = logging.get_verbosity(), logging.is_progress_bar_enabled()
        classifier()
        assert capfd.readouterr() == ("", "")
        assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"length": 33}, "model.length=33: the encoder has 32 positions; take data.length"),
            ({"dropout": 1.0}, "model.dropout=1.0: expected a share from 0 to below 1"),
            ({"warmup": 1.0}, "model.warmup=1.0"),
            ({"encoder": "nowhere"}, "model.encoder='nowhere': there is no such folder"),
        ],
    )
    def test_what_cannot_be_is_refused(self, classifier, settings, message):
        with pytest.raises(SettingError) as caught:
            classifier(**settings)
        assert message in str(caught.value)

    def test_a_folder_without_an_encoder_is_refused(self, classifier, tmp_path):
        with pytest.raises(SettingError, match=r"model\.encoder=.*save_pretrained has written"):
            classifier(encoder=str(tmp_path))

    def test_an_encoder_that_lacks_weights_is_refused(self, classifier, encoder, tmp_path):
        shutil.copytree(encoder, tmp_path / "part")
        path = tmp_path / "part" / "model.safetensors"
        kept = {n: weight for n, weight in load_file(path).items() if "layer.1" not in n}
        save_file(kept, path, {"format": "pt"})
        with pytest.raises(SettingError, match=r"its file of weights lacks 16 of the encoder's"):
            classifier(encoder=str(tmp_path / "part"))

    def test_an_encoder_without_a_pooler_is_given_one(self, classifier, encoder, tmp_path):
        shutil.copytree(encoder, tmp_path / "part")
        path = tmp_path / "part" / "model.safetensors"
        kept = {n: weight for n, weight in load_file(path).items() if "pooler" not in n}
        save_file(kept, path, {"format": "pt"})
        assert classifier(encoder=str(tmp_path / "part")).predict(batch())[0].isfinite().all()

    def test_dropout_that_an_encoder_does_not_have_is_refused(self, classifier, tmp_path):
        from transformers import DistilBertConfig, DistilBertModel

        config = DistilBertConfig(vocab_size=WORDS, n_layers=1, n_heads=2, dim=16, hidden_dim=32)
        DistilBertModel(config).save_pretrained(tmp_path / "other")
        with pytest.raises(SettingError, match=r"model\.dropout=0\.1: .*no hidden_dropout_prob"):
            classifier(encoder=str(tmp_path / "other"))
        other = classifier(encoder=str(tmp_path / "other"), dropout=None)
        assert other.predict(batch())[0].shape == (4, 2)


class TestPackage:
    def test_its_encoder_is_the_default(self, classifier, encoder, tmp_path, monkeypatch):
        shutil.copytree(encoder, tmp_path / "stands_for_it")
        weights = tmp_path / "stands_for_it" / "model.safetensors"
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        monkeypatch.syspath_prepend(tmp_path)
        pinned = Carried("stands-for-it", weights.name, digest)
        monkeypatch.setattr(pretrained, "WEIGHTS", pinned)
        assert classifier(encoder=None).network.config.num_hidden_layers == 2
        monkeypatch.setattr(pretrained, "WEIGHTS", pinned._replace(sha256="0" * 64))
        with pytest.raises(SettingError, match=r"has sha256 .*, where 00000000\.\.\. is expected"):
            classifier(encoder=None)

    def test_without_it_the_extra_is_named(self, classifier, monkeypatch):
        monkeypatch.setattr("lightning_dice.app.carried.find_spec", lambda name: None)
        with pytest.raises(SettingError, match=rf"l6-v2; {re.escape(install_command('text'))}"):
            classifier(encoder=None)

    def test_without_transformers_the_extra_is_named(self, classifier, monkeypatch):
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(
            SettingError, match=rf"transformers; {re.escape(install_command('text'))}"
        ):
            classifier()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return save_reviews(tmp_path_factory.mktemp("reviews") / "reviews.csv", made_up(200))


@pytest.fixture
def run(composed, encoder, path, tmp_path):
    """Train the tiny encoder for five epochs, into ``tmp_path / name``."""

    def train_quickly(*overrides, name="run"):
        given = [
            *("data=rotten_tomatoes", f"data.path={path}", f"model.encoder={encoder}"),
            *("data.batch_size=16", "data.length=16", "optimizer.lr=0.02", "logger=none"),
            *("trainer.max_steps=50", "trainer.val_check_interval=16", "report=false"),
        ]
        return train(composed(*given, *overrides), tmp_path / name, CHOICES)

    return train_quickly


class TestRun:
    def test_it_learns_and_leaves_its_record(self, run, tmp_path):
        summary = run("threshold=easy", "checkpoints=false")
        assert summary["status"] == "finished"
        assert summary["task"]["metric"] == "val_accuracy"
        assert summary["metrics"]["val_accuracy"] > 0.9
        assert summary["baseline"]["name"] == "TF-IDF with logistic regression"
        assert summary["settings"]["data.tokenizer"] == summary["settings"]["model.encoder"]
        assert summary["versions"]["transformers"] == transformers.__version__
        assert len(list(read_rolls(tmp_path / "run" / "rolls.csv"))) == 50

    @pytest.mark.filterwarnings("ignore:Checkpoint directory")
    def test_it_goes_on_where_it_was(self, run, tmp_path, monkeypatch):
        """With dropout, within an epoch of ten mini-batches: to the same bits."""
        run(name="straight")

        def stop(self, batch, batch_idx):
            if self.trainer.global_step == 34:
                raise InterruptedError

        monkeypatch.setattr(ReviewClassifier, "on_train_batch_start", stop)
        with pytest.raises(InterruptedError):
            run(name="twice")
        monkeypatch.undo()
        resumed = run("ckpt_path=last", name="twice")
        assert resumed["steps"] == 50
        ends = [
            torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
            for name in ("straight", "twice")
        ]
        assert all(torch.equal(weight, ends[1][name]) for name, weight in ends[0].items())

    def test_what_remains_is_measured_and_drawn(self, run, tmp_path):
        """Stress and landscape; slips in the text are left out, and it is said why."""
        short = ["trainer.max_steps=8", "trainer.val_check_interval=8", "trajectory=4"]
        run(*short)
        folder, options = [tmp_path / "run"], Stressed(examples=40, device="cpu")
        model = "lightning_dice.app.models.ReviewClassifier"
        with pytest.raises(SettingError, match=rf"model.encoder=.*--model-class {model}"):
            measure_runs(folder, options)
        named = Named((model,), ("lightning_dice.app.data.RottenTomatoes",))
        records, left_out = measure_runs(folder, options, named=named)
        (record,) = records.values()
        assert left_out == []
        assert record.data == ""
        assert "Inputs were not corrupted: they are neither images" in record.omissions[0]
        probes = set(record.measures["probe"])
        assert {"clean", "calibration", "weight noise", "rounding", "curvature"} <= probes
        assert "corruption" not in probes
        drawn = compute_landscape(
            folder, Drawn(grid=3, examples=40, device="cpu"), tmp_path / "out", named=named
        )
        assert drawn.examples == 40
        assert drawn.plane is not None
        clean = record.measures.query("probe == 'clean' and metric == 'loss'")["value"].item()
        assert drawn.slices[0].losses[1, 1] == pytest.approx(clean, rel=1e-4)

    @pytest.mark.parametrize(
        ("overrides", "message"),
        [
            (["model=gpt", "model.context=8"], "takes text, and data=RottenTomatoes gives reviews"),
            (["model=cnn"], "takes images, and data=RottenTomatoes gives reviews"),
            (["data=digits", "model=minilm"], "takes reviews, and data=Digits gives images"),
            (["data.length=33"], "model.length=33"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, composed, encoder, overrides, message):
        chosen = [f"model.encoder={encoder}"] if "model=" not in overrides[0] else []
        with pytest.raises(SettingError) as caught:
            build_task(composed("data=rotten_tomatoes", *chosen, *overrides))
        assert message in str(caught.value)

    def test_it_brings_its_optimizer_unless_another_is_chosen(self, composed):
        own = composed("data=rotten_tomatoes")
        assert (own.model._target_, own.optimizer.lr) == (
            "lightning_dice.app.models.ReviewClassifier",
            1e-4,
        )
        assert composed("data=rotten_tomatoes", "optimizer=sgd").optimizer.momentum == 0.9
        assert composed("data=digits").optimizer.lr == 1e-3


@pytest.mark.pretrained
class TestPublished:
    """The encoder that the package has."""

    def test_it_is_minilm(self):
        path = pretrained.WEIGHTS.find("model.encoder")
        model = ReviewClassifier(None, 512, 0.1, 0.1, ADAMW)
        config = model.network.config
        assert (config.num_hidden_layers, config.hidden_size) == (6, 384)
        assert sum(weight.numel() for weight in model.parameters()) == 22_713_986
        weight = load_file(path)["encoder.layer.5.output.dense.weight"]
        assert torch.equal(model.network.bert.encoder.layer[5].output.dense.weight, weight)

    def test_the_small_experiment_beats_counted_words_in_two_minutes_of_two_cores(
        self, composed, tmp_path
    ):
        config = composed("experiment=finetune_minilm_small", "progress=false")
        began = time.process_time()  # of all threads, however busy the machine is
        train(config, tmp_path / "run", CHOICES)
        assert time.process_time() - began < 2 * 120
        summary = json.loads((tmp_path / "run" / "summary.json").read_text())
        assert summary["metrics"]["val_accuracy"] > summary["baseline"]["value"]
