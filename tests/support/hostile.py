"""Folders of runs as somebody could make them to do harm: seeded changes of real ones."""

import json
import math
import os
import pickle
import random
import socket
import zipfile
from contextlib import suppress
from pathlib import Path

import torch
import yaml

TARGET = "_target_"
NUMBERS = [0, -1, 10**18, -(10**30), 1e308, -1e308, 5e-324, math.nan, math.inf, 0.5, 2**63]
VALUES = [*NUMBERS, None, True, "", "x", "=1+1", "<script>x</script>", "\ud800", "a\0b", [], {}]
VALUES += [[1], {"a": 1}, "9" * 5000, "x" * 10**5, ["\x1b[2J"], {"": {"": []}}]
NAMES = [b"=cmd()", b"\xff\xfe", b"a\nb", b"-x", b" ", b"<b>", b"$(touch canary)", b"x" * 200]
OUTPUTS = ["report.html", "plots", "tables", "stress", "landscape", "stress.json", "sweep.csv"]


class Runs:
    """Touches the canary when it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


class Hostile:
    """Changes a folder.

    Args:
        seed: Of all that is drawn.
        canary: A path that exists if anything has been run.
        outside: A folder that nothing may be read from or written to.
    """

    def __init__(self, seed, canary, outside):
        self.random, self.canary, self.outside = random.Random(seed), canary, outside

    def change(self, folder):
        """Change a run's folder once; the name of what was done."""
        kinds = [getattr(self, name) for name in dir(self) if name.startswith("do_")]
        kind = self.random.choice(kinds)
        with suppress(FileNotFoundError, IsADirectoryError):  # an earlier change took it away
            kind(folder)
        return kind.__name__

    def do_flip_bytes(self, folder):
        path = self._file(folder)
        content = bytearray(path.read_bytes() or b"x")
        for _ in range(self.random.choice([1, 3, 100])):
            content[self.random.randrange(len(content))] ^= 1 << self.random.randrange(8)
        path.write_bytes(content)

    def do_cut(self, folder):
        path = self._file(folder)
        path.write_bytes(path.read_bytes()[: self.random.choice([0, 1, 100, 1000])])

    def do_garbage(self, folder):
        self._file(folder).write_bytes(self.random.randbytes(self.random.choice([1, 50, 5000])))

    def do_remove(self, folder):
        self._file(folder).unlink()

    def do_endless(self, folder):
        os.truncate(self._file(folder), 10**10)

    def do_replace(self, folder):
        path = self._file(folder)
        path.unlink()
        kind = self.random.choice(["pipe", "folder", "socket", "zero", "secret", "loop", "lost"])
        links = {"zero": "/dev/zero", "secret": self.outside / "secret", "loop": path.name}
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "socket":
            with socket.socket(socket.AF_UNIX) as bound, suppress(OSError):
                bound.bind(str(path))
        else:
            path.symlink_to(links.get(kind, "nowhere"))

    def do_link_outputs(self, folder):
        path = folder / self.random.choice(OUTPUTS)
        if not path.exists():
            path.symlink_to(self.outside)

    def do_odd_names(self, folder):
        place = folder / os.fsdecode(self.random.choice(NAMES))
        place.mkdir(exist_ok=True)
        (place / "summary.json").write_text("{}")

    def do_links_around(self, folder):
        with suppress(FileExistsError):
            (folder / "again").symlink_to(".")
            (folder / "above").symlink_to("..")

    def do_settings(self, folder):
        self._change(folder / "config.yaml", yaml.safe_load, yaml.safe_dump)

    def do_class(self, folder):
        path = folder / "config.yaml"
        config = yaml.safe_load(path.read_text())
        payload = folder / "payload.pt"
        torch.save(Runs(self.canary), payload)
        what = self.random.choice(
            [
                {TARGET: "torch.load", "f": str(payload), "weights_only": False},
                {TARGET: "os.system", "_args_": [f"touch {self.canary}"]},
                {TARGET: "pathlib.Path.touch", "_args_": [str(self.canary)]},
                "${oc.env:HOME}",
            ]
        )
        group = self.random.choice(["model", "data", "optimizer", "trainer", "logger"])
        above = config.get(group)
        key = self.random.choice([group, "new"])
        if key == group or not isinstance(above, dict):
            config[group] = what
        else:
            above[self.random.choice([*above, "new"])] = what
        path.write_text(yaml.safe_dump(config))

    def do_yaml(self, folder):
        bomb = "a: &a [x]\n" + "b: &b [*a,*a,*a]\n" * 9
        texts = [bomb, "[" * 10**5, "x: " + "9" * 10**5, "!!python/object/apply:os.abort []"]
        texts += [
            "a: &a [*a]",
            f"!!python/object/apply:os.mkdir ['{self.canary}']",
            "{",
            "a: 1\n\tb",
        ]
        (folder / "config.yaml").write_text(self.random.choice(texts))

    def do_summary(self, folder):
        self._change(folder / "summary.json", json.loads, json.dumps)

    def do_json(self, folder):
        names = ["summary.json", "saving_throw.json", "trajectory.json", "stress.json"]
        texts = ["[" * 10**5, "9" * 10**5, '{"format": 1, "steps": 1e999}', "null", '"\\ud800"']
        (folder / self.random.choice(names)).write_text(self.random.choice(texts))

    def do_unfinished(self, folder):
        path = folder / "summary.json"
        summary = json.loads(path.read_text())
        path.write_text(json.dumps({**summary, "status": "running"}))
        words = [f"model={{{TARGET}: os.system}}", "--config-dir=x", "a=\x1b[8m", "seed=1"]
        task = self.random.sample(words, 2)
        hydra = {"job": {"config_name": "train"}, "overrides": {"task": task, "hydra": []}}
        hydra["runtime"] = {"cwd": str(folder), "config_sources": []}
        (folder / ".hydra").mkdir(exist_ok=True)
        (folder / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump({"hydra": hydra}))

    def do_cells(self, folder):
        path = folder / self.random.choice(["metrics.csv", "rolls.csv", "slots.csv"])
        rows = [line.split(",") for line in path.read_text().splitlines()]
        odd = ["x", "1e308", "-1e308", "nan", "1j", "=1+1", '"', "9" * 400, "a\0b", "\ud800", ""]
        for _ in range(self.random.choice([1, 5])):
            row = self.random.choice(rows)
            row[self.random.randrange(len(row))] = self.random.choice(odd)
        text = self.random.choice(["\n", "\r\n"]).join(map(",".join, rows)) + "\n"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))

    def do_columns(self, folder):
        path = folder / self.random.choice(["metrics.csv", "rolls.csv"])
        rows = [line.split(",") for line in path.read_text().splitlines()]
        gone, new = (
            self.random.randrange(len(rows[0])),
            self.random.choice(["x", "=1+1", "", "step"]),
        )
        for place, row in enumerate(rows):
            row[gone:] = row[gone + 1 :] if self.random.random() < 0.5 else row[gone:]
            row.append("x" if place else new)
        path.write_text("\n".join(map(",".join, rows)) + "\n")

    def do_long_line(self, folder):
        with (folder / self.random.choice(["metrics.csv", "rolls.csv"])).open("a") as file:
            file.write("1," * 10**6 + "\n")

    def do_checkpoint(self, folder):
        path = folder / "checkpoints" / "last.ckpt"
        kind = self.random.choice(["runs", "pickle", "bomb", "none", "nan", "odd"])
        if kind == "pickle":
            path.write_bytes(pickle.dumps(Runs(self.canary)))
        elif kind == "bomb":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as parts:
                parts.writestr("a/data.pkl", b"\0" * 10**8)
        else:
            whole = torch.load(path, weights_only=True) if path.is_file() else {"state_dict": {}}
            states = {
                name: torch.full_like(one, torch.nan) for name, one in whole["state_dict"].items()
            }
            made = {"runs": Runs(self.canary), "nan": states, "odd": {"a": 1}, "none": None}
            torch.save({**whole, "state_dict": made[kind]}, path)

    def _file(self, folder):
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return self.random.choice([path for path in files if not path.is_symlink()])

    def _change(self, path, read, write):
        """Change one value of a file, drop its key, or add one."""
        node = whole = read(path.read_text())
        while isinstance(node, dict) and node:
            key = self.random.choice(sorted(map(str, node)))
            below = node.get(key)
            if isinstance(below, dict) and below and self.random.random() < 0.7:
                node = below
                continue
            if self.random.random() < 0.3:
                node.pop(key, None)
            else:
                node[key] = self.random.choice(VALUES)
            break
        path.write_text(write(whole), encoding="utf-8", errors="replace")
