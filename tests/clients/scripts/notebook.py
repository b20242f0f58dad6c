"""Runs the cells of a notebook, which come as JSON, in the shell that notebooks have."""

import contextlib
import io
import json
import sys

from IPython.core.interactiveshell import InteractiveShell


def main() -> None:
    shell = InteractiveShell.instance(colors="nocolor")
    ends = []
    for cell in json.load(sys.stdin):
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
            done = shell.run_cell(cell, store_history=True)
        error = done.error_before_exec or done.error_in_exec
        ends.append({"error": None if error is None else repr(error), "shown": shown.getvalue()})
    json.dump(ends, sys.stdout)


if __name__ == "__main__":
    main()
