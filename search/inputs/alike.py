"""Held-out images that look like images of the search."""

import torch

from core.data import Data, near
from search.engine.bank import Bank
from search.inputs.loading import images_of
from search.inputs.pictures import Pictures
from search.progress import say


def say_alike(data: Data, bank: Bank, made: Pictures) -> None:
    """Warn of them."""
    searched, held_out = (made.of(split).pieces for split in ("search", "report"))
    if not (searched and held_out):
        return
    small, named = [], []
    for of in (searched, held_out):
        seen = [near.thumbnails(images_of(bank, piece.name).images) for piece in of]
        small.append(torch.cat(seen))
        named.append([data.name(p.split, int(i)) for p in of for i in p.images])
    pairs = near.alike(*small).tolist()
    if pairs:
        first, second = (own[place] for own, place in zip(named, pairs[0], strict=True))
        say(
            f"warning: {len(pairs)} held-out images look like images of the search, such as "
            f"{second} and {first}: no independent check.\nHint: a table groups.csv in the "
            "folder (image,group) keeps what belongs together in one split."
        )
