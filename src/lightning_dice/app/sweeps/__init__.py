"""Sweeps: every combination once, each job by itself, one bar, and a sweep that goes on."""

from lightning_dice.app.sweeps.job import train_job

__all__ = ["train_job"]
