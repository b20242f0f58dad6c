"""The toy model with LightningCLI in front, as its documentation has it."""

from lightning.pytorch import LightningDataModule
from lightning.pytorch.cli import LightningCLI

from support.toy import Toy, loader, sgd


class Model(Toy):
    def __init__(self) -> None:
        super().__init__(sgd)


class Data(LightningDataModule):
    def train_dataloader(self):
        return loader()


if __name__ == "__main__":
    LightningCLI(Model, Data)
