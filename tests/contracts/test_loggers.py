"""Loggers are given the dice's settings once, together with the module's hyper-parameters."""

import struct
from argparse import Namespace

import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from omegaconf import OmegaConf
from tensorboardX.proto import event_pb2, plugin_hparams_pb2

from lightning_dice import DiceLightningModule, SavingThrow, SavingThrowCallback
from lightning_dice.logged_settings import LoggedSettings
from support.toy import Toy, fit, sgd

THROW = SavingThrow("d20", threshold=10)


class Tells(DummyLogger):
    """Keeps every set of hyper-parameters that it is given."""

    def __init__(self):
        super().__init__()
        self.given = []

    def log_hyperparams(self, params, *args, **kwargs):
        self.given.append((params, args, kwargs))


class Keeps(Toy):
    def __init__(self, lr=0.1, width=32):
        super().__init__(sgd)
        self.save_hyperparameters()


class LogsAtTheStart(Keeps):
    """Logs hyper-parameters with metrics, as is usual with TensorBoard."""

    def __init__(self):
        super().__init__()
        self.save_hyperparameters(logger=False)

    def on_train_start(self):
        self.logger.log_hyperparams(Namespace(lr=0.1), {"hp/loss": 0.0})


def sessions(folder):
    """The sets of hyper-parameters in a folder's event files, as TensorBoard reads them."""
    found = []
    for path in folder.rglob("events.*"):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = event_pb2.Event.FromString(content[12 : 12 + length])
            content = content[12 + length + 4 :]
            for value in event.summary.value:
                if value.tag == "_hparams_/session_start_info":
                    kept = plugin_hparams_pb2.HParamsPluginData.FromString(
                        value.metadata.plugin_data.content
                    )
                    found.append(dict(kept.session_start_info.hparams))
    return found


@pytest.mark.parametrize("kind", [Keeps, LogsAtTheStart])
def test_the_first_set_has_the_modules_and_the_dices(kind):
    logger, dice = Tells(), SavingThrowCallback(THROW, seed=3)
    fit(kind(), [dice], logger=logger)
    assert logger.given[0][0] | {"saving_throw": dice.settings, "lr": 0.1} == logger.given[0][0]
    assert len(logger.given) == 1
    assert dice.settings["seed"] == 3


def test_metrics_that_come_with_hyper_parameters_stay_with_them():
    logger = Tells()
    fit(LogsAtTheStart(), [SavingThrowCallback(THROW, seed=3)], logger=logger)
    assert logger.given[0][1:] == (({"hp/loss": 0.0},), {})


def test_tensorboard_keeps_both(tmp_path):
    fit(Keeps(), [SavingThrowCallback(THROW, seed=3)], logger=TensorBoardLogger(tmp_path))
    first = sessions(tmp_path)[0]
    assert {"lr", "width", "saving_throw/die", "saving_throw/threshold"} <= first.keys()
    assert first["saving_throw/threshold"].number_value == 10


def test_a_module_without_any_leaves_the_dices_alone():
    logger, dice = Tells(), SavingThrowCallback(THROW, seed=3)
    fit(Toy(), [dice], logger=logger)
    assert [params for params, _, _ in logger.given] == [{"saving_throw": dice.settings}]


def test_two_saving_throws_are_logged_together():
    logger = Tells()
    dice = [SavingThrowCallback(THROW, seed=3), SavingThrowCallback(SavingThrow("d6", 3), seed=3)]
    fit(Keeps(), dice, logger=logger)
    ((params, _, _),) = logger.given
    assert params["saving_throw"] == dice[0].settings
    assert params["saving_throw-2"] == dice[1].settings


def test_a_name_that_the_module_uses_stays_its_own():
    class Mine(DiceLightningModule, Toy):
        def __init__(self, saving_throw):
            super().__init__(saving_throw, optimizer=sgd)
            self.save_hyperparameters()

    logger = Tells()
    fit(Mine(THROW), logger=logger)
    ((params, _, _),) = logger.given
    assert params["saving_throw"] == THROW
    assert params["dice"]["granularity"] == "per_mini_batch"


def test_a_configuration_is_logged_as_it_is_and_the_settings_by_themselves():
    logger, config = Tells(), OmegaConf.create({"lr": 0.1})
    settings = LoggedSettings([logger], "saving_throw", "dice", {"die": "d20"})
    logger.log_hyperparams(config)
    settings.finish()
    assert [params for params, _, _ in logger.given] == [config, {"saving_throw": {"die": "d20"}}]


@pytest.mark.parametrize("given", [None, {}, Namespace()])
def test_no_hyper_parameters_are_given_with_the_settings(given):
    logger = Tells()
    settings = LoggedSettings([logger], "saving_throw", "dice", {"die": "d20"})
    logger.log_hyperparams(given)
    settings.finish()
    assert [params for params, _, _ in logger.given] == [{"saving_throw": {"die": "d20"}}]


def test_a_logger_is_as_it_was_once_training_has_begun(tmp_path):
    seen = []

    class Looks(Toy):
        def on_train_batch_end(self, *_):
            seen.append("log_hyperparams" in vars(self.logger))

    fit(Looks(), [SavingThrowCallback(THROW, seed=3)], logger=CSVLogger(tmp_path))
    assert not any(seen)


def test_a_training_that_fails_at_its_start_leaves_the_loggers(tmp_path):
    class Fails(Toy):
        def on_train_start(self):
            raise RuntimeError("broke")

    logger = CSVLogger(tmp_path)
    with pytest.raises(RuntimeError, match="broke"):
        fit(Fails(), [SavingThrowCallback(THROW, seed=3)], logger=logger)
    assert "log_hyperparams" not in vars(logger)
