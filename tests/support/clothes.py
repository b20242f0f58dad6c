"""Files as Fashion-MNIST has them, small enough to be made in a test."""

import gzip

import torch


def idx(array):
    """An array of bytes as an IDX file."""
    sizes = b"".join(size.to_bytes(4) for size in array.shape)
    return b"\0\0\x08" + array.ndim.to_bytes(1) + sizes + array.numpy().tobytes()


def made_up(counts=(("train", 130), ("t10k", 30)), side=28):
    """Arrays by the name of their file, drawn at random."""
    generator = torch.Generator().manual_seed(0)
    arrays = {}
    for part, count in counts:
        images = torch.randint(256, (count, side, side), generator=generator)
        arrays[f"{part}-images-idx3"] = images.byte()
        arrays[f"{part}-labels-idx1"] = torch.randint(10, (count,), generator=generator).byte()
    return arrays


def save_clothes(folder, arrays, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for stem, array in arrays.items():
        raw = idx(array)
        name = f"{stem}-ubyte.gz" if packed else f"{stem}-ubyte"
        (folder / name).write_bytes(gzip.compress(raw) if packed else raw)
    return folder
