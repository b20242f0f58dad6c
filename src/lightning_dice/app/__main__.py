"""``python -m lightning_dice.app``: ``lightning-dice-train`` where no script is installed."""

from lightning_dice.app.main import main

if __name__ == "__main__":
    main()
