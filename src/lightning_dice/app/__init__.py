"""The Hydra application ``lightning-dice-train``."""

import os


def check_here() -> None:
    """End where the folder that the command was given in is gone.

    Raises:
        SystemExit: In that case, with one line.
    """
    try:
        os.getcwd()  # noqa: PTH109 - nothing else is asked
    except OSError as error:
        raise SystemExit(
            f"the folder that this command was given in is gone ({error.strerror}); "
            "go to another one and give it again"
        ) from error


check_here()  # before torch is loaded, whose libraries end the process without saying why
