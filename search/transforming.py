"""Images after transforms, and networks trained on them, for pages that ask for either."""

from collections.abc import Sequence

from core.corruptions import check
from core.errors import InputError
from core.frost import frost_folder
from core.known import CORRUPTIONS
from core.learned import names
from core.transforms import check_transform, parts_of
from results import schema
from search import flags
from search.lab import Lab
from search.measures import augmented, transformed
from search.measures.transformed import Sources
from search.progress import say

TRAIN_BLOCK = 5000  # transformed images in one piece


def transform_cells(
    lab: Lab, sources: Sources, wanted: Sequence[tuple[str, str, int]], *, block: int
) -> list[transformed.Cell]:
    """Images after transforms, in blocks: for each of (transform, split, how many).

    InputError for a learned codec that the store does not hold for these data.
    """
    pieces = {
        name: names.piece_of(lab.front(name)) if names.kind_of(name) else ""
        for name in dict.fromkeys(name for name, _, _ in wanted)
    }
    return [
        cell
        for name, split, n in wanted
        for cell in transformed.cells(
            lab.inputs, sources, name, split, weights=pieces[name], n=n, block=block
        )
    ]


def images_after(
    lab: Lab, sources: Sources, wanted: Sequence[tuple[str, str, int]], *, block: int
) -> dict[transformed.Cell, schema.Table]:
    """Rows of `transform_cells`, each made where it is not in the bank."""
    cells = transform_cells(lab, sources, wanted, block=block)
    study = transformed.study(lab.source, sources)
    made = lab.made(study, cells, "transformed", label="transformed images")
    return dict(zip(cells, made, strict=True))


def training_images(
    lab: Lab, sets: Sequence[str], *, same: bool = False
) -> dict[transformed.Cell, schema.Table]:
    """The training images of all sets, where they are not as they are.

    `same`: and held-out images after the same. InputError for a name that is no transform.
    """
    parts = dict.fromkeys(part for name in sets for part in parts_of(name) if part != "none")
    for part in parts:
        check_transform(part, channels=lab.data.channels, frost=False)
    wanted = [(part, "train", lab.data.size("train")) for part in parts]
    tested = [part for part in parts if same and part in sets]
    wanted += [(part, "report", lab.data.size("report")) for part in tested]
    return images_after(lab, Sources(), wanted, block=TRAIN_BLOCK)


def trained_on(
    lab: Lab,
    networks: Sequence[str],
    sets: Sequence[str],
    images: augmented.Images,
    asked: flags.Augmented,
) -> dict[augmented.TrainCell, schema.Table]:
    """Every network trained on every set of training images, several times; their epochs."""
    cells = list(augmented.train_cells(lab.inputs, networks, sets, images, asked))
    study = augmented.train_study(lab.source)
    made = lab.made(study, cells, "augmented", label="training")
    return dict(zip(cells, made, strict=True))


def corruptions_of(lab: Lab, asked: flags.Corrupted) -> tuple[list[str], dict[str, str]]:
    """The corruptions that there are for these data, and why others are left out.

    InputError for one that is asked for by name, or where none is left.
    """
    left_out = {}
    frosted = frost_folder(flags.absolute(asked.frost)) is not None
    for name in asked.corruptions:
        try:
            check(name, 1, channels=lab.data.channels, frost=frosted)
        except InputError as cause:
            if name not in CORRUPTIONS or asked.corruptions is not CORRUPTIONS:
                raise
            left_out[name] = str(cause).partition("\n")[0]
            say(f"note: {name} is left out. {cause}")
    found = [name for name in dict.fromkeys(asked.corruptions) if name not in left_out]
    if not found:
        raise InputError("no corruption is left to test on.\nHint: leave --corruptions out.")
    return found, left_out
