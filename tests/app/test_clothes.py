"""Fashion-MNIST: what is read, what is held out, and what is refused."""

import gzip
from collections import Counter

import pytest
import torch

from lightning_dice.app.build import build_task, check_batches
from lightning_dice.app.data import FashionMNIST, fashion_mnist
from lightning_dice.app.data.fashion_mnist import FOLDER, read_idx
from lightning_dice.app.train import train
from lightning_dice.rules import SettingError
from support.clothes import idx, made_up, save_clothes

ARRAYS = made_up()
INSTALL = "apt-get install dataset-fashion-mnist, or give a folder"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_clothes(tmp_path_factory.mktemp("clothes"), ARRAYS)


@pytest.fixture
def clothes(folder):
    def make(**settings):
        given = {"batch_size": 8, "label_noise": 0.0, "rows": None, "path": str(folder)}
        return FashionMNIST(**given | settings)

    return make


def refused(path, **settings):
    """What is said of data that cannot be read."""
    given = {"batch_size": 8, "label_noise": 0.0, "rows": None, "path": str(path)} | settings
    with pytest.raises(SettingError) as caught:
        FashionMNIST(**given).setup("fit")
    return str(caught.value)


class TestSplit:
    def test_the_parts_are_those_of_the_data_set(self, clothes):
        data = clothes()
        data.setup("fit")
        for part, stem in ((data.train, "train"), (data.val, "t10k")):
            images, labels = part.tensors
            pixels = ARRAYS[f"{stem}-images-idx3"]
            assert images.shape == (len(pixels), 1, 28, 28)
            assert images.dtype == torch.float32
            assert labels.dtype == torch.int64
            assert labels.tolist() == ARRAYS[f"{stem}-labels-idx1"].tolist()
        images, labels = next(iter(data.train_dataloader()))
        assert images.shape == (8, 1, 28, 28)

    @pytest.mark.parametrize("rows", [None, 100])
    def test_pixels_are_standardised_by_what_is_trained_on(self, clothes, rows):
        train, val = clothes(rows=rows).split()
        pixels = ARRAYS["train-images-idx3"][:rows].double()
        mean, deviation = pixels.mean(), pixels.std()
        for part, stem in ((train, "train"), (val, "t10k")):
            expected = (ARRAYS[f"{stem}-images-idx3"][: len(part)].double() - mean) / deviation
            found = part.tensors[0].squeeze(1).double()
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        assert train.tensors[0].mean().item() == pytest.approx(0, abs=1e-4)
        assert train.tensors[0].std().item() == pytest.approx(1, abs=1e-4)

    def test_rows_are_the_first_and_leave_what_is_validated_on(self, clothes):
        (train, val), (few, same_val) = clothes().split(), clothes(rows=1).split()
        assert few.tensors[1].tolist() == train.tensors[1][:1].tolist()
        assert len(clothes(rows=130).split()[0]) == 130
        assert torch.equal(val.tensors[1], same_val.tensors[1])

    def test_only_labels_to_train_on_are_wrong(self, clothes):
        (train, val), (noisy, noisy_val) = (
            clothes(rows=100, label_noise=share).split() for share in (0.0, 0.4)
        )
        assert torch.equal(train.tensors[0], noisy.tensors[0])
        assert int((train.tensors[1] != noisy.tensors[1]).sum()) == 40
        assert all(torch.equal(a, b) for a, b in zip(val.tensors, noisy_val.tensors, strict=True))

    def test_the_baseline_is_the_commonest_kind(self, clothes):
        commonest = Counter(ARRAYS["train-labels-idx1"][:100].tolist()).most_common(1)[0][0]
        right = (ARRAYS["t10k-labels-idx1"] == commonest).float().mean()
        for noise in (0.0, 0.4):
            baseline = clothes(rows=100, label_noise=noise).baseline()
            assert baseline == ("commonest kind", pytest.approx(right.item()))


class TestFiles:
    def test_packed_and_plain_hold_the_same(self, folder, tmp_path):
        save_clothes(tmp_path, ARRAYS, packed=True)
        assert all(path.suffix == ".gz" for path in tmp_path.iterdir())
        for stem, array in ARRAYS.items():
            assert torch.equal(read_idx(tmp_path, stem), array)
            assert torch.equal(read_idx(folder, stem), array)

    def test_null_is_debians_folder(self, folder, clothes, monkeypatch):
        assert str(FOLDER) == "/usr/share/datasets/fashion-mnist"
        monkeypatch.setattr(fashion_mnist, "FOLDER", folder)
        assert len(clothes(path=None).split()[0]) == 130

    def test_without_the_package_it_is_named(self, clothes, tmp_path, monkeypatch):
        monkeypatch.setattr(fashion_mnist, "FOLDER", tmp_path / "none")
        with pytest.raises(SettingError, match=rf"^data\.path=.*no such folder; {INSTALL}"):
            clothes(path=None).baseline()

    @pytest.mark.parametrize("stem", ARRAYS)
    def test_a_missing_file(self, stem, tmp_path):
        save_clothes(tmp_path, {name: array for name, array in ARRAYS.items() if name != stem})
        said = refused(tmp_path)
        assert said.startswith(f"data.path='{tmp_path}': it has neither {stem}-ubyte nor ")
        assert INSTALL in said

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"\0\0\x08",
            b"\0\0\x08\x03",
            b"\0\0\x0d" + idx(ARRAYS["train-images-idx3"])[3:],
            idx(ARRAYS["train-images-idx3"])[:13],
            idx(ARRAYS["train-images-idx3"])[:-1],
            idx(ARRAYS["train-images-idx3"]) + b"\0",
        ],
        ids=["empty", "no dimensions", "no sizes", "floats", "cut sizes", "cut", "longer"],
    )
    def test_what_is_no_idx_file(self, raw, tmp_path):
        save_clothes(tmp_path, ARRAYS)
        path = tmp_path / "train-images-idx3-ubyte"
        path.write_bytes(raw)
        said = refused(tmp_path)
        assert said.startswith(f"data.path='{path}': is no IDX file of bytes (")
        assert INSTALL in said

    @pytest.mark.parametrize("cut", [None, 200], ids=["not packed", "cut"])
    def test_what_cannot_be_unpacked(self, cut, tmp_path):
        save_clothes(tmp_path, ARRAYS, packed=True)
        path = tmp_path / "train-images-idx3-ubyte.gz"
        path.write_bytes(b"clothes" if cut is None else path.read_bytes()[:cut])
        assert refused(tmp_path).startswith(f"data.path='{path}': cannot be read (")

    @pytest.mark.parametrize(
        ("stem", "array", "said"),
        [
            ("train-images-idx3", torch.zeros(130, 8, 8), "images of train have shape (130, 8, 8)"),
            ("t10k-images-idx3", torch.zeros(30), "images of t10k have shape (30,)"),
            ("t10k-images-idx3", torch.zeros(0, 28, 28), "images of t10k have shape (0, 28, 28)"),
            ("train-labels-idx1", torch.zeros(129), "labels of train have shape (129,)"),
            ("t10k-labels-idx1", torch.zeros(30, 1), "have shape (30, 1); expected (30,)"),
            ("t10k-labels-idx1", torch.full((30,), 10), "go up to 10; expected 0 to 9"),
        ],
    )
    def test_arrays_of_another_data_set(self, stem, array, said, tmp_path):
        save_clothes(tmp_path, {**ARRAYS, stem: array.byte()})
        assert said in refused(tmp_path)

    def test_a_file_may_be_a_folder(self, tmp_path):
        (tmp_path / "train-images-idx3-ubyte").mkdir()
        assert "cannot be read" in refused(tmp_path)

    def test_packed_by_gzip_alone(self, tmp_path):
        (tmp_path / "few-ubyte.gz").write_bytes(gzip.compress(idx(torch.arange(3).byte())))
        assert read_idx(tmp_path, "few").tolist() == [0, 1, 2]


class TestSettings:
    @pytest.mark.parametrize("rows", [0, -1])
    def test_no_rows(self, rows, folder):
        assert f"data.rows={rows}: expected 1 or more" in refused(folder, rows=rows)

    def test_more_rows_than_there_are(self, folder):
        said = refused(folder, rows=131)
        assert said == (
            "data.rows=131: there are 130 to train on; expected no more, or null for all"
        )

    def test_fewer_rows_than_a_batch(self, composed, folder):
        chosen = ("data=fashion_mnist", f"data.path={folder}", "data.rows=7")
        _, data = build_task(composed(*chosen))
        with pytest.raises(SettingError, match=r"data\.batch_size=64: there are 7 examples"):
            check_batches(data)

    def test_no_share(self, folder):
        assert "data.label_noise=2" in refused(folder, label_noise=2)


class TestApp:
    @pytest.mark.parametrize(
        ("chosen", "takes", "gives"),
        [
            (["data=fashion_mnist", "model=cnn"], 8, "FashionMNIST have sides of 28"),
            (["data=digits", "model=cnn_fashion"], 28, "Digits have sides of 8"),
            (["data=digits", "model.side=12"], 12, "Digits have sides of 8"),
        ],
    )
    def test_images_of_another_size_are_refused(self, composed, chosen, takes, gives):
        with pytest.raises(SettingError, match=rf"model\.side={takes}: the images of data={gives}"):
            build_task(composed(*chosen))

    def test_scarce_images_rolls_for_the_hidden_weights(self, composed, folder, tmp_path):
        config = composed(
            "experiment=scarce_images",
            f"data.path={folder}",
            "data.rows=128",
            "trainer.max_steps=2",
            "trainer.val_check_interval=2",
            "trainer.log_every_n_steps=1",
            *("logger=none", "report=false", "progress=false", "checkpoints=false"),
        )
        choices = {"data": "fashion_mnist", "model": "cnn_fashion", "optimizer": "adamw"}
        summary = train(config, tmp_path / "run", choices)
        assert summary["baseline"]["name"] == "commonest kind"
        slots = (tmp_path / "run" / "slots.csv").read_text().split()[1:]
        assert [slot.split(",")[2] for slot in slots] == [
            f"network.{layer}.weight" for layer in (0, 3, 8)
        ]

    @pytest.mark.skipif(not FOLDER.is_dir(), reason="dataset-fashion-mnist is not installed")
    def test_the_data_set_itself(self, clothes):
        data = clothes(path=None, rows=10_000)
        train, val = data.split()
        assert (len(train), len(val)) == (10_000, 10_000)
        assert data.baseline().value == pytest.approx(0.1)
