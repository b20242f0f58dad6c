"""The same dice where there is no Lightning Trainer: plain PyTorch, Fabric, HuggingFace."""
