"""A hook of the site's builder: the playground is one of its files, under its own title.

`playground.html` is what the page about it becomes.
"""

from mkdocs.structure.files import File

from lightning_dice.playground import playground

NAME = "roll-to-train.html"


def on_files(files, config):
    files.append(File.generated(config, NAME, content=playground()))
    return files
