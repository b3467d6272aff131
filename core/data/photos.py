"""Ten photographs that come with scikit-image and scikit-learn: ten classes of texture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image

from core.data.base import SPLITS, Split, as_split, check_indices, only_side
from core.data.bundled import bundled_file
from core.digests import digest
from core.shapes import Images8, Labels

PHOTOS = {
    "astronaut": ("skimage", "data", "astronaut.png"),
    "chelsea": ("skimage", "data", "chelsea.png"),
    "china": ("sklearn", "datasets", "images", "china.jpg"),
    "coffee": ("skimage", "data", "coffee.png"),
    "flower": ("sklearn", "datasets", "images", "flower.jpg"),
    "hubble_deep_field": ("skimage", "data", "hubble_deep_field.jpg"),
    "immunohistochemistry": ("skimage", "data", "ihc.png"),
    "retina": ("skimage", "data", "retina.jpg"),
    "rocket": ("skimage", "data", "rocket.jpg"),
    "stereo_motorcycle": ("skimage", "data", "motorcycle_left.png"),
}
TILE = {32: 96, 64: 96, 224: 256}  # side of a crop: side of the tile that holds it
SIZES: dict[int, dict[Split, int]] = {
    32: {"train": 8000, "search": 1500, "report": 1500},
    64: {"train": 8000, "search": 1500, "report": 1500},
    224: {"train": 2000, "search": 1000, "report": 1000},
}
MIN_TILES = 6  # so that search and report get one each and training the rest
MEAN, DEVIATION = 128.0, 48.0
FLAT = 4.0  # crops that deviate less, in levels, are black sky or sensor noise: drawn again
MAX_DRAWS = 50


@dataclass(frozen=True, kw_only=True, eq=False)
class Tile:
    """A square cut from a photograph: `box` is (left, top, side) in the photograph's own pixels."""

    box: tuple[int, int, int]
    pixels: np.ndarray  # uint8 (h, w, 3), enlarged where the photograph is small


@dataclass(frozen=True, kw_only=True, eq=False)
class PhotoData:
    """Crops at random places of tiles; a split has its own tiles of every photograph. See `Data`.

    A tile is a group: its crops overlap, and none lies in two splits. A photograph is a class, so
    crops of each lie in all splits, and no split by photograph can be learned. Search and report
    have 86 tiles each at sides 32 and 64, and 17 at side 224.
    """

    side: int
    seed: int
    tiles: Mapping[Split, tuple[tuple[Tile, ...], ...]]  # for each split and class
    spec: str = "photos"
    channels: int = 3
    classes: tuple[str, ...] = tuple(PHOTOS)
    grouped_by: str = "tile"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of every tile's place and pixels, of the seed and of the rule that crops them."""
        tiles = [tile for split in SPLITS for own in self.tiles[split] for tile in own]
        boxes = {s: [[tile.box for tile in own] for own in self.tiles[s]] for s in SPLITS}
        rule = (self.classes, self.side, self.seed, SIZES[self.side], MEAN, DEVIATION, FLAT)
        return digest("photos", 1, boxes, rule, arrays=[tile.pixels for tile in tiles])

    def size(self, split: str) -> int:
        """How many crops the split holds."""
        return SIZES[self.side][as_split(split)]

    def batch(self, split: str, indices: Sequence[int]) -> tuple[Images8, Labels]:
        """Crops (uint8, each of mean 128 per channel and deviation 48 over all) and labels.

        A crop depends on its seed, split and position alone, never on the batch it comes in.
        """
        check_indices(split, indices, self.size(split))
        crops = np.empty((len(indices), self.side, self.side, 3), dtype=np.uint8)
        for place, index in enumerate(indices):
            _, crops[place] = self._crop(as_split(split), int(index))
        labels = torch.tensor([int(i) % len(self.classes) for i in indices], dtype=torch.int64)
        return torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous(), labels

    def name(self, split: str, index: int) -> str:
        """The photograph, split and position, such as "photos/chelsea/search/0001"."""
        check_indices(split, [index], self.size(split))
        return f"photos/{self.classes[index % len(self.classes)]}/{split}/{index:04d}"

    def group(self, split: str, index: int) -> str:
        """The photograph and its tile's left and top, such as "photos/chelsea/96,192"."""
        check_indices(split, [index], self.size(split))
        (left, top, _), _ = self._crop(as_split(split), index)
        return f"photos/{self.classes[index % len(self.classes)]}/{left},{top}"

    def _crop(self, split: Split, index: int) -> tuple[tuple[int, int, int], np.ndarray]:
        """The tile's box, and the crop."""
        tiles = self.tiles[split][index % len(self.classes)]
        random = np.random.default_rng([self.seed, SPLITS.index(split), index])
        box, best = tiles[0].box, np.zeros((self.side, self.side, 3))
        for _ in range(MAX_DRAWS):
            tile = tiles[int(random.integers(len(tiles)))]
            drawn = _draw(tile.pixels, self.side, random)
            if drawn.std() > best.std():
                box, best = tile.box, drawn
            if best.std() >= FLAT:
                break
        scaled = best * (DEVIATION / max(best.std(), 1e-6)) + MEAN
        return box, scaled.round().clip(0, 255).astype(np.uint8)


def open_photos(*, side: int | None = None, seed: int = 0) -> PhotoData:
    """Crops of 32 (default), 64 or 224 pixels from ten colour photographs; else an InputError.

    Every crop is brought to mean 128 per channel and deviation 48 over all channels: else a network
    tells the photographs apart by mean colour, a perturbation sits in DC, and no table removes it.
    The splits own disjoint tiles (about 60/20/20): 96 pixels wide, or 256 for crops of 224, where a
    photograph too small for six such tiles is cut into six smaller ones, enlarged to 256 (bicubic).
    """
    chosen = only_side("photos", side, tuple(TILE))
    tiles: dict[Split, list[tuple[Tile, ...]]] = {split: [] for split in SPLITS}
    for label, place in enumerate(PHOTOS.values()):
        with Image.open(bundled_file(*place)) as photo:
            cut = _cut(photo.convert("RGB"), TILE[chosen])
        n_held = max(1, round(len(cut) / 5))
        order = np.random.default_rng([seed, label]).permutation(len(cut))
        parts = np.split(order, [len(cut) - 2 * n_held, len(cut) - n_held])
        for split, part in zip(SPLITS, parts, strict=True):
            tiles[split].append(tuple(cut[i] for i in part))
    return PhotoData(side=chosen, seed=seed, tiles={s: tuple(own) for s, own in tiles.items()})


def _cut(photo: Image.Image, tile: int) -> list[Tile]:
    """All disjoint tiles that are not flat, as large as allowed while there are at least six."""
    width, height = photo.size
    step = next(s for s in range(tile, 0, -1) if (width // s) * (height // s) >= MIN_TILES)
    tiles = []
    for top in range(0, height - step + 1, step):
        for left in range(0, width - step + 1, step):
            part = photo.crop((left, top, left + step, top + step))
            if step != tile:
                part = part.resize((tile, tile), Image.Resampling.BICUBIC)
            pixels = np.asarray(part)
            if _centre(pixels).std() >= FLAT:
                tiles.append(Tile(box=(left, top, step), pixels=pixels))
    assert len(tiles) >= MIN_TILES
    return tiles


def _draw(pixels: np.ndarray, side: int, random: np.random.Generator) -> np.ndarray:
    """A crop at a random place of a tile, mean 0 in every channel."""
    top, left = random.integers(len(pixels) - side + 1, size=2)
    return _centre(pixels[top : top + side, left : left + side])


def _centre(pixels: np.ndarray) -> np.ndarray:
    centred: np.ndarray = pixels - pixels.mean(axis=(0, 1))
    return centred
