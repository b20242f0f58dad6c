"""A model and data that are none of the package's, as a user would write them."""

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset


class Net(LightningModule):
    """Learns the sum of four numbers."""

    def __init__(self, optimizer, width=4):
        super().__init__()
        self.optimizer = optimizer
        self.net = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 1))

    def training_step(self, batch, batch_idx):
        inputs, sums = batch
        loss = mse_loss(self.net(inputs), sums)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", mse_loss(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        return self.optimizer(self.parameters())


class PassesOn(Net):
    def __init__(self, **settings):
        super().__init__(**settings)


class MakesItsOwn(Net):
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())


class TakesNone(Net):
    def __init__(self):
        super().__init__(torch.optim.Adam)


class Unvalidated(Net):
    validation_step = LightningModule.validation_step


class Fails(Net):
    def training_step(self, batch, batch_idx):
        raise ArithmeticError("a cosmic ray")


class Data(LightningDataModule):
    """Takes no batch size."""

    def __init__(self, examples=64):
        super().__init__()
        inputs = torch.randn(examples, 4, generator=torch.Generator().manual_seed(0))
        self.pairs = TensorDataset(inputs, inputs.sum(1, keepdim=True))

    def train_dataloader(self):
        return DataLoader(self.pairs, 16, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.pairs, 64)


class InBatches(Data):
    def __init__(self, batch_size, **others):
        super().__init__(**others)
        self.batch_size = batch_size
