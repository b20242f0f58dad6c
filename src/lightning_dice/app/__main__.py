"""``python -m lightning_dice.app`` is ``lightning-dice-train``, also where no script is installed."""

from lightning_dice.app.main import main

if __name__ == "__main__":
    main()
