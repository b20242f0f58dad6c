"""Runs under stress: what is measured, kept, and measured again; and what cannot be."""

import json
import shutil

import pytest
import torch

from lightning_dice.analysis.stress.record import read_record
from lightning_dice.app import stress, stress_runs
from lightning_dice.app.stress import measure_stress, settings_of
from lightning_dice.app.stress_runs import Options, measure_runs
from lightning_dice.app.trained import load_trained, validation_batches
from lightning_dice.probes import Objective
from lightning_dice.rules import SettingError

FEW = Options(examples=24, device="cpu")
GPT = [
    *("model.layers=1", "model.width=8", "model.heads=1", "model.context=16"),
    *(
        "data.context=16",
        "data.batch_size=8",
        "trainer.max_steps=2",
        "trainer.val_check_interval=2",
    ),
    *("trainer.limit_val_batches=1", "trainer.log_every_n_steps=1", "logger=none", "report=false"),
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where runs are kept that are never changed; each is made once."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def folder(kept, run, tmp_path):
    """A trained run, to do with as one likes."""
    if not (kept / "digits").exists():
        run("report=false", "trainer.limit_val_batches=null")
        shutil.move(tmp_path / "run", kept / "digits")
        measure_runs([kept / "digits"], FEW)
    shutil.copytree(kept / "digits", tmp_path / "digits")
    return tmp_path / "digits"


@pytest.fixture
def counted(monkeypatch):
    """The runs that are measured, in place of measuring them."""
    runs = []

    def measure(trained, examples, seed, told):
        runs.append(trained.folder.name)
        told("nothing", 0, 1)
        record = json.loads((trained.folder / "first.json").read_text())
        settings = settings_of(trained.checkpoint, examples, seed)
        return {**record, "settings": settings}

    monkeypatch.setattr(stress_runs, "measure_stress", measure)
    return runs


def values(record):
    rows = record.measures.fillna({"strength": -1})
    return rows.set_index(["probe", "kind", "strength", "metric"])["value"].to_dict()


def test_images(folder):
    record = read_record(folder)
    found = values(record)
    assert record.data == "images"
    assert record.examples == 24
    assert record.omissions == record.notes == ()
    trained = load_trained(folder, device="cpu")
    objective = Objective(trained.model, validation_batches(trained, 24))
    assert found["clean", "", -1, "loss"] == pytest.approx(float(objective.loss(objective.weights)))
    kinds = {(probe, kind) for probe, kind, _, _ in found}
    assert kinds == {
        *(("corruption", kind) for kind in ("noise", "blur", "occlusion", "contrast")),
        *(("rounding", kind) for kind in ("bf16", "fp16", "int8")),
        *(("worst case", kind) for kind in ("sam", "adaptive")),
        *(("curvature", kind) for kind in ("eigenvalue", "trace")),
        *(("weight noise", "gaussian"), ("calibration", ""), ("clean", "")),
    }
    for kind in ("noise", "blur", "occlusion", "contrast"):
        strengths = {key[2] for key in found if key[:2] == ("corruption", kind)}
        assert len(strengths) == 5
    rises = [value for (_, kind, _, _), value in sorted(found.items()) if kind == "sam"]
    assert rises == sorted(rises)
    noise = record.measures[record.measures["probe"] == "weight noise"]
    assert (noise["se"] >= 0).all()


def test_the_whole_validation_set_is_what_training_measured(folder, monkeypatch):
    monkeypatch.setattr(
        stress,
        "_probes",
        lambda whole, few, seed: [stress.Probe("calibration", lambda: stress._calibration(whole))],
    )
    trained = load_trained(folder, device="cpu")
    measured = measure_stress(trained)
    found = {row["metric"]: row["value"] for row in measured["measures"] if row["probe"] == "clean"}
    metrics = trained.summary["metrics"]
    assert found["accuracy"] == pytest.approx(metrics["val_accuracy"], abs=1e-6)
    assert found["loss"] == pytest.approx(metrics["val_loss"], rel=1e-5)
    assert measured["examples"] == 359


def test_text(composed, tmp_path):
    from lightning_dice.app.train import train

    choices = {"data": "python_docs", "model": "gpt", "optimizer": "adamw"}
    train(composed(*GPT), tmp_path / "gpt", choices)
    records, left_out = measure_runs([tmp_path / "gpt"], FEW)
    (record,) = records.values()
    kinds = set(record.measures.loc[record.measures["probe"] == "corruption", "kind"])
    assert left_out == []
    assert record.data == "text"
    assert kinds == {"swaps", "deletions", "replacements"}
    losses = record.measures.loc[record.measures["metric"] == "loss", "value"]
    assert losses.between(5, 6).all()  # it has hardly learned: ln 256 is 5.5


def test_a_record_is_kept_until_something_changes(folder, counted):
    shutil.copy(folder / "stress.json", folder / "first.json")
    measure_runs([folder], FEW)
    assert counted == []
    measure_runs([folder], FEW._replace(again=True))
    measure_runs([folder], FEW)
    assert len(counted) == 1
    measure_runs([folder], FEW._replace(seed=1))
    measure_runs([folder], FEW._replace(seed=1, examples=23))
    assert len(counted) == 3
    path = folder / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    torch.save({**checkpoint, "more": 1}, path)
    measure_runs([folder], FEW._replace(seed=1, examples=23))
    assert len(counted) == 4


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": 1, "measures": [1]}'])
def test_a_record_that_cannot_be_read_is_measured_again(folder, counted, text):
    shutil.copy(folder / "stress.json", folder / "first.json")
    (folder / "stress.json").write_text(text)
    records, _ = measure_runs([folder], FEW)
    assert len(counted) == 1
    assert next(iter(records.values())).examples == 24


def test_of_several_runs_those_that_cannot_be_measured_are_named(folder, tmp_path, counted):
    several = tmp_path / "several"
    for name in ("good", "cut short", "no checkpoint", "diverged", "running"):
        shutil.copytree(folder, several / name)
        shutil.copy(folder / "stress.json", several / name / "first.json")
    path = several / "cut short" / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:1000])
    shutil.rmtree(several / "no checkpoint" / "checkpoints")
    path = several / "diverged" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    next(iter(checkpoint["state_dict"].values()))[0] = torch.nan
    torch.save(checkpoint, path)
    path = several / "running" / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "running"}))
    records, left_out = measure_runs([several], FEW._replace(again=True))
    assert set(records) == {"good"}
    told = {one.path: one.detail for one in left_out}
    assert set(told) == {"cut short", "no checkpoint", "diverged"}
    assert "cannot be read as a checkpoint" in told["cut short"]
    assert "keeps no checkpoint" in told["no checkpoint"]
    assert "not finite" in told["diverged"]
    assert counted == ["good"]


def test_a_single_run_is_refused_with_its_reason(folder):
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(SettingError, match="keeps no checkpoint"):
        measure_runs([folder], FEW)
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "status": "failed"}))
    with pytest.raises(SettingError, match="has not finished"):
        measure_runs([folder], FEW)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"examples": 1}, "examples=1: expected 2 or more"),
        ({"seed": -1}, "seed=-1"),
        ({"device": "tpu", "again": True}, "device='tpu'"),
        ({"checkpoint": "epoch9"}, "no epoch9.ckpt"),
    ],
)
def test_options_that_cannot_be_used(folder, option, message):
    with pytest.raises(SettingError) as caught:
        measure_runs([folder], FEW._replace(**option))
    assert message in str(caught.value)


def batches_of(monkeypatch, trained, inputs, labels):
    monkeypatch.setattr(stress, "validation_batches", lambda *_: [(inputs, labels)])
    monkeypatch.setattr(stress, "_probes", lambda *_: [])
    return measure_stress(trained)


def test_other_data_is_measured_but_not_corrupted(folder, monkeypatch):
    trained = load_trained(folder, device="cpu")
    monkeypatch.setattr(trained.model, "predict", lambda batch: (torch.zeros(4, 2), batch[1]))
    measured = batches_of(monkeypatch, trained, torch.zeros(4, 3), torch.zeros(4).long())
    assert measured["data"] is None
    assert measured["omissions"][0].startswith("Inputs were not corrupted: they are neither images")


def test_a_model_that_predicts_no_classes_is_refused(folder, monkeypatch):
    trained = load_trained(folder, device="cpu")
    monkeypatch.setattr(trained.model, "predict", lambda batch: (torch.zeros(4), batch[1]))
    with pytest.raises(SettingError, match="expected"):
        batches_of(monkeypatch, trained, torch.zeros(4, 3), torch.zeros(4))


def test_what_is_not_finite_is_named_and_never_a_number(folder, monkeypatch):
    def refuse():
        raise ArithmeticError("2 of 3 eigenvalues converged, restarts: 60")

    row = stress._row("rounding", "fp16", None, "loss", float("inf"))
    probes = [stress.Probe("the largest eigenvalues", refuse), stress.Probe("fp16", lambda: [row])]
    monkeypatch.setattr(stress, "_probes", lambda *_: probes)
    monkeypatch.setattr(stress, "_corruptions", lambda *_: [])
    measured = measure_stress(load_trained(folder, device="cpu"), examples=4)
    assert measured["measures"] == []
    assert measured["omissions"] == [
        "Not measured: the largest eigenvalues (2 of 3 eigenvalues converged, restarts: 60).",
        "Rounding, fp16: loss is not finite.",
    ]
