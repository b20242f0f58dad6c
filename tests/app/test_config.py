"""Every option composes and can be built; what cannot be is refused."""

import pytest
import torch
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from lightning_dice import SavingThrow
from lightning_dice.app.build import (
    build_arm,
    build_dice,
    build_metric,
    build_task,
    check_batches,
)
from lightning_dice.app.schema import config_folder
from lightning_dice.app.trainer import build_trainer
from lightning_dice.extras import install_command
from lightning_dice.rules import Die, SettingError
from support.reviews import save_encoder

OPTIONS = sorted(
    f"{path.parent.name}={path.stem}"
    for path in config_folder().glob("*/*.yaml")
    if path.stem != "base"  # what trainers share, not an option of its own
)
# What this machine need not have: two devices or a GPU.
HARDWARE = {
    "trainer=gpu": ["trainer.accelerator=cpu", "trainer.precision=32"],
    "trainer=ddp": ["trainer.accelerator=cpu"],
}
# What an option needs beside it.
GRADIENT_EXPERIMENTS = [
    *("classic", "forgiving", "digits", "digits_sweep", "python_docs_sweep", "die_sweep"),
    *("granularity_sweep", "threshold_sweep", "tolerance", "tolerance_gpt", "lr_window"),
    *("tolerance_tuning", "tolerance_gpt_tuning", "robustness", "robustness_gpt", "label_noise"),
    *("finetune_minilm", "finetune_minilm_small", "finetune_minilm_tuning"),
]
OWN = ["model=own", "model._target_=support.own.Net", "data=own", "data._target_=support.own.Data"]
OWN += ["metric.name=val_loss", "metric.mode=min"]
BESIDE = {
    "model=cnn": ["data=digits"],
    "model=cnn_fashion": ["data=fashion_mnist"],
    "model=minilm": ["data=rotten_tomatoes"],
    "model=own": OWN,
    "data=own": OWN,
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """Stands for the pretrained one, which need not be installed."""
    return save_encoder(tmp_path_factory.mktemp("tiny") / "encoder", positions=64)


def test_the_options_are_those_of_the_design():
    named = {option for option in OPTIONS if option.split("=")[0] in ("threshold", "die")}
    dice = ("d4", "d6", "d8", "d10", "d12", "d20", "d100", "d20_advantage", "d20_disadvantage")
    assert named == {f"die={die}" for die in dice} | {
        "threshold=easy",
        "threshold=medium",
        "threshold=hard",
    }
    groups = {option.split("=")[0] for option in OPTIONS}
    assert groups >= {"granularity", "scaling", "model", "data", "optimizer", "trainer"}
    assert {f"logger={name}" for name in ("csv", "tensorboard", "wandb", "mlflow", "none")} <= set(
        OPTIONS
    )


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # inside mlflow
@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_composed_and_instantiated(
    option, composed, encoder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    overrides = [option, *HARDWARE.get(option, []), *BESIDE.get(option, [])]
    if option.startswith("die=") and option != "die=d20":
        overrides.append("saving_throw.threshold=2")  # medium is out of a d4's reach
    config = composed(*overrides)
    if "encoder" in config.model:
        config.model.encoder = str(encoder)
    OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    callback = build_dice(config)
    model, data = build_task(config)
    trainer = build_trainer(config, tmp_path / "run", build_metric(config), callback)
    assert callback in trainer.callbacks
    assert "own" in option or model.kind == data.kind
    assert len(trainer.loggers) == len(config.logger or {})


def test_defaults_are_those_of_the_python_signature(composed):
    callback = build_dice(composed())
    assert callback.throw == SavingThrow()
    assert callback.settings["seed"] == 0


@pytest.mark.parametrize(("name", "value"), [("easy", 5), ("medium", 10), ("hard", 15)])
def test_thresholds(composed, name, value):
    assert build_dice(composed(f"threshold={name}")).throw.threshold == value


@pytest.mark.parametrize(
    ("name", "die"),
    [("d20_advantage", Die(20).advantage()), ("d20_disadvantage", Die(20).disadvantage())],
)
def test_advantage(composed, name, die):
    assert build_dice(composed(f"die={name}")).throw.die == die


def test_dice_can_have_a_seed_of_their_own(composed):
    assert build_dice(composed("seed=3")).seed == 3
    assert build_dice(composed("seed=3", "dice.seed=4")).seed == 4
    assert build_dice(composed("dice.seed=null")).seed is None


def test_an_own_table(composed):
    config = composed(
        "saving_throw.die=d4", "saving_throw.threshold=2", "saving_throw.scaling=[null,-1,0.5,1]"
    )
    assert build_dice(config).throw.scaling == (None, -1.0, 0.5, 1.0)


def test_target_and_scope_and_patterns(composed):
    settings = build_dice(composed()).settings
    assert (settings["target"], settings["scope"]) == ("update", "model")
    assert settings["include"] is settings["exclude"] is None
    patterns = 'dice.include=["*.attention.*","*.mlp.*"]'
    chosen = composed("target=update", "scope=tensor", patterns, "dice.exclude=[*.bias]")
    settings = build_dice(chosen).settings
    assert (settings["target"], settings["scope"]) == ("update", "tensor")
    assert settings["include"] == ["*.attention.*", "*.mlp.*"]
    assert settings["exclude"] == ["*.bias"]


@pytest.mark.parametrize(
    ("overrides", "target"),
    [
        (["granularity=per_mini_batch"], "gradient"),  # of which there is no update
        (["granularity=per_mini_batch", "target=gradient"], "gradient"),
        (["granularity=per_mini_batch", "control=deck"], "gradient"),
        (["experiment=digits", "granularity=per_mini_batch"], "gradient"),
        (["granularity=per_accumulation_step"], "update"),
        (["granularity=per_accumulation_step", "target=gradient"], "gradient"),
    ],
)
def test_mini_batches_need_no_word_on_the_target(composed, overrides, target):
    assert build_dice(composed(*overrides)).settings["target"] == target


@pytest.mark.parametrize("name", GRADIENT_EXPERIMENTS)
def test_experiments_with_results_on_gradients_name_their_target(composed, name):
    assert composed(f"experiment={name}").dice.target == "gradient"
    assert composed(f"experiment={name}", "dice.target=update").dice.target == "update"


@pytest.mark.parametrize(
    ("overrides", "named", "remedy"),
    [
        (["target=update", "granularity=per_mini_batch"], "target='update'", "target=gradient"),
        (["granularity=per_mini_batch", "target=update"], "target='update'", "target=gradient"),
        (["dice.granularity=per_mini_batch"], "target='update'", "target=gradient"),
        (
            ["experiment=scarce_text", "dice.granularity=per_mini_batch"],
            "target='update'",
            "granularity=per_accumulation_step",
        ),
        (["dice.skip_discarded=true"], "skip_discarded=True", "target=gradient"),
    ],
)
def test_what_only_gradients_can_have_is_refused_with_a_remedy_that_works(
    composed, overrides, named, remedy
):
    with pytest.raises(SettingError) as caught:
        build_dice(composed(*overrides))
    assert caught.value.setting == named.partition("=")[0]
    assert named in str(caught.value)
    assert remedy in str(caught.value).replace("'", "")  # as a shell reads it
    group, _, option = remedy.partition("=")
    kept = [o for o in overrides if o.partition("=")[0] not in (group, f"dice.{group}")]
    build_dice(composed(*kept, f"dice.{group}={option}"))


def test_skip_update_keeps_every_second_update_of_hidden_matrices_and_doubles_it(composed):
    config = composed("experiment=skip_update")
    callback = build_dice(config)
    settings = callback.settings
    chosen = {name: settings[name] for name in ("scaling", "normalize", "target", "scope")}
    assert chosen == {
        "scaling": "skip",
        "normalize": "mean",
        "target": "update",
        "scope": "tensor",
    }
    scales = callback.throw.odds().scales
    assert {scale: float(p) for scale, p in scales.items()} == {None: 0.5, 2: 0.5}
    model, _ = build_task(config)
    names = [name for name, _ in model.named_parameters()]
    callback.choices.chosen.check([name] for name in names)
    rolled_for = [name for name in names if callback.choices.chosen(name)]
    assert rolled_for == [
        f"network.blocks.{block}.{matrix}.weight"
        for block in (0, 1)
        for matrix in ("attention.qkv", "attention.mix", "mlp.expand", "mlp.contract")
    ]
    every = dict(model.named_parameters())
    hidden = [n for n, p in every.items() if p.ndim == 2 and ".blocks." in n]
    assert rolled_for == hidden


@pytest.mark.parametrize(
    ("name", "scope", "lr", "noise"),
    [("scarce_images", "tensor", 0.008, 0.0), ("wrong_labels", "model", 0.002, 0.4)],
)
def test_dice_on_images(composed, name, scope, lr, noise):
    config = composed(f"experiment={name}")
    assert (config.data.rows, config.data.batch_size, config.data.label_noise) == (
        10_000,
        64,
        noise,
    )
    assert (config.trainer.max_steps, config.trainer.gradient_clip_val) == (1500, 1.0)
    assert config.optimizer._target_ == "torch.optim.AdamW"
    assert (config.optimizer.lr, config.optimizer.weight_decay) == (lr, 0.1)
    assert config.optimizer.betas == [0.9, 0.99]
    callback = build_dice(config)
    settings = callback.settings
    chosen = [settings[key] for key in ("scaling", "normalize", "target", "scope")]
    assert chosen == ["margin", "mean", "update", scope]
    assert callback.throw.threshold == 5
    model, _ = build_task(config)
    names = [parameter for parameter, _ in model.named_parameters()]
    callback.choices.chosen.check([parameter] for parameter in names)
    rolled_for = [parameter for parameter in names if callback.choices.chosen(parameter)]
    hidden = [f"network.{layer}.weight" for layer in (0, 3, 8)]
    assert rolled_for == (hidden if scope == "tensor" else names)
    assert build_dice(composed(f"experiment={name}", "control=plain")).throw.odds().mean == 1


def test_data_brings_a_model_that_fits(composed):
    assert composed("data=digits").model._target_.endswith("ImageClassifier")
    assert composed("data=fashion_mnist").model.side == 28
    assert composed("experiment=digits").optimizer._target_ == "torch.optim.SGD"


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("saving_throw.threshhold=3", "threshhold"),
        ("trainer.max_steps=many", "many"),
        ("model.width=wide", "wide"),
        ("data.batch_size=2.5", "2.5"),
        ("optimizer.lr=fast", "fast"),
        ("threshold=abc", "easy"),
        ("dice.colour=red", "colour"),
        ("dice.include=*.weight", "*.weight"),
        ("scope=layer", "param_group"),
    ],
)
def test_misspelt_keys_and_wrong_types_are_refused(composed, override, named):
    with pytest.raises(ConfigCompositionException) as caught:
        composed(override)
    assert named in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["saving_throw.threshold=0"], "threshold=0: expected a whole number from 1 to 20"),
        (["saving_throw.threshold=abc"], "threshold='abc': expected a whole number from 1 to 20"),
        (["saving_throw.threshold=99"], "threshold=99: unreachable"),
        (["saving_throw.die=d1"], "die='d1'"),
        (["saving_throw.scaling=[1,2]"], "a table needs one factor per face, 20 of them"),
        (["saving_throw.scaling=fair"], "scaling='fair': expected margin"),
        (["saving_throw.normalize=max"], "normalize='max': expected none, mean, rms"),
        (["dice.granularity=epoch"], "granularity='epoch': expected"),
        (["dice.target=weights"], "target='weights': expected gradient or update"),
        (["dice.scope=layer"], "scope='layer': expected model or param_group or tensor"),
        (["dice.include=[]"], "include=[]: an empty list chooses nothing"),
        (["dice.seed=-1"], "seed=-1"),
    ],
)
def test_impossible_saving_throws_are_refused(composed, overrides, message):
    with pytest.raises(SettingError) as caught:
        build_dice(composed(*overrides))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.heads=3"], "model.heads=3: expected a divisor of model.width=128"),
        (["model.layers=0"], "model.layers=0"),
        (["model.width=0"], "model.width=0"),
        (["model._target_=nope.Nope"], "nope"),
        (["model.dropout=1.5"], "model.dropout=1.5"),
        (["model.warmup=1"], "model.warmup=1"),
        (["optimizer.lr=-1"], "Invalid learning rate: -1"),
        (["data.batch_size=0"], "data.batch_size=0"),
        (["data.val_fraction=1"], "data.val_fraction=1"),
        (["data.context=0"], "data.context=0"),
        (["data=digits", "model.channels=0"], "model.channels=0"),
        (["data=digits", "model.side=10"], "model.side=10: expected a multiple of 4"),
        (["data=digits", "model.side=0"], "model.side=0"),
        (["data=digits", "model.hidden=0"], "model.hidden=0: expected 1 or more, or null"),
        (["data=digits", "model=gpt"], "takes text, and data=Digits gives images"),
    ],
)
def test_impossible_tasks_are_refused(composed, overrides, message):
    with pytest.raises(SettingError) as caught:
        build_task(composed(*overrides))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "override", ["trainer.precision=soft", "trainer.devices=none", "trainer.accelerator=tpu"]
)
def test_impossible_trainers_are_refused(composed, override, tmp_path):
    config = composed(override, "data=digits")
    with pytest.raises(SettingError, match=r"^trainer="):
        build_trainer(config, tmp_path, build_metric(config), build_dice(config))


def test_data_that_fills_no_batch_is_refused(composed):
    _, data = build_task(composed("data=digits", "data.batch_size=5000"))
    with pytest.raises(SettingError, match=r"data\.batch_size=5000: there are 1438 examples"):
        check_batches(data)


def test_data_that_fills_no_batch_of_one_process_is_refused(composed):
    _, data = build_task(composed("data=digits", "data.batch_size=1000"))
    check_batches(data)
    with pytest.raises(SettingError, match=r"=1000: there are 719 .* for each of 2 processes"):
        check_batches(data, processes=2)


@pytest.mark.parametrize("name", ["max_steps", "accumulate_grad_batches", "val_check_interval"])
def test_a_trainer_that_does_nothing_is_refused(name, composed, tmp_path):
    config = composed(f"trainer.{name}=0", "data=digits")
    with pytest.raises(SettingError, match=f"trainer.{name}=0"):
        build_trainer(config, tmp_path, build_metric(config), build_dice(config))


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_a_missing_logger_names_its_extra(package, composed, tmp_path, monkeypatch):
    module = f"lightning.pytorch.loggers.{package}"
    flag = {"wandb": "_WANDB_AVAILABLE", "mlflow": "_MLFLOW_AVAILABLE"}[package]
    monkeypatch.setattr(f"{module}.{flag}", False)
    if package == "mlflow":
        monkeypatch.setattr(f"{module}._MLFLOW_SKINNY_AVAILABLE", False, raising=False)
    config = composed(f"logger={package}", "data=digits")
    with pytest.raises(SettingError) as caught:
        build_trainer(config, tmp_path, build_metric(config), build_dice(config))
    assert install_command(package) in str(caught.value)


@pytest.mark.parametrize(
    ("control", "factor"), [("none", 1), ("plain", 1), ("plain_mean", 129 / 400), ("deck", 1)]
)
def test_a_control_trains_at_its_learning_rate(composed, control, factor):
    config = composed(f"control={control}", "optimizer.lr=0.5")
    model, _data = build_task(config, build_arm(config).lr_factor)
    made = model.optimizer_factory([torch.nn.Parameter(torch.ones(1))])
    assert made.param_groups[0]["lr"] == pytest.approx(0.5 * factor)


def test_a_control_multiplies_a_learning_rate_that_is_the_optimizers_own(composed):
    config = composed("control=plain_mean")
    config.optimizer = {"_target_": "torch.optim.Adadelta"}
    model, _data = build_task(config, build_arm(config).lr_factor)
    made = model.optimizer_factory([torch.nn.Parameter(torch.ones(1))])
    own = torch.optim.Adadelta([torch.nn.Parameter(torch.ones(1))]).defaults["lr"]
    assert made.param_groups[0]["lr"] == pytest.approx(own * 129 / 400)


def test_what_trains_without_dice_is_aimed_at_nothing(composed):
    config = composed("control=plain", "scope=tensor", "target=update", "dice.include=[nothing]")
    settings = build_dice(config).settings
    assert (settings["scope"], settings["target"]) == ("model", "gradient")
    assert settings["include"] is None
    assert dict(build_dice(config).throw.odds().scales) == {1: 1}
