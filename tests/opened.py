"""Data sets opened in tests: all of a split, the error that is meant, folders of pictures."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from core.data import Data, open_data
from core.errors import InputError


def everything(data: Data, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    return data.batch(split, range(data.size(split)))


def fault(hint: str, *args, **kwargs) -> str:
    with pytest.raises(InputError) as caught:
        open_data(*args, **kwargs)
    text = str(caught.value)
    assert text.startswith("expected ")
    assert "\nHint: " in text
    assert hint in text
    return text


def picture(path: Path, size: tuple[int, int] = (40, 30), level: int = 0, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, 100, 200)).save(path, **options)


def imagenet(root: Path, n_train: int = 3, n_val: int = 5) -> None:
    for label, name in enumerate(("n02", "n01", "n03")):
        for i in range(n_train):
            picture(root / "train" / name / f"{i}.JPEG", level=80 * label)
        for i in range(n_val):
            picture(root / "val" / name / f"v{i}.png", (31 + i, 57), level=10 * i)


def tiny_imagenet(root: Path) -> None:
    lines = []
    for label, name in enumerate(("n7", "n5")):
        picture(root / "train" / name / "images" / f"{name}_0.JPEG", (64, 64))
        for i in range(4):
            picture(root / "val" / "images" / f"val_{label}{i}.JPEG", (64, 64))
            lines.append(f"val_{label}{i}.JPEG\t{name}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))


def plain(root: Path) -> None:
    for name, level in (("cat", 10), ("cat2", 20), ("Dog", 30)):
        for i in range(6):
            picture(root / name / ("deep" if i % 2 else ".") / f"{i:02d}.PNG", level=level + i)
    picture(root / ".cache" / "hidden.png")
    picture(root / "cat" / ".thumbs" / "hidden.png")
    picture(root / "cat" / ".hidden.png")
    (root / "cat" / "notes.txt").write_text("no image")
    (root / "read me.txt").write_text("no folder")


def val_alone(root: Path) -> None:
    imagenet(root, n_train=0)
