"""The Hydra application ``lightning-dice-train``."""
