"""What stands beside tables: flat steps, JPEG's qualities, the bits that all need."""

from collections.abc import Iterable, Mapping, Sequence

from core.codec import qtable
from core.defences import Jpeg, Table
from results import Rows, summary
from search.engine.study import NotStoredError
from search.inputs.pictures import Pictures
from search.lab import Lab
from search.measures import compressed, rates
from search.screening import audited
from search.tables.plan import SEARCH, Question

QUALITIES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95)  # of JPEG, for comparison


def references(lab: Lab, question: Question) -> dict[str, Rows]:
    """Lines of flat steps and of JPEG's qualities on the images of the search, where asked."""
    asked, sampling = question.asked, "-444" if question.asked.space == "ycbcr" else ""
    flat = [qtable.in_space(f"uniform{step}", asked.space) for step in asked.flat]
    jpeg = [f"jpeg{quality}{sampling}" for quality in QUALITIES if asked.rate]
    if not (flat or jpeg):
        return {}
    cells = question.under([*flat, *jpeg], "search")
    lines = summary(audited(lab.sweep(SEARCH, cells, "flat", label="references", listed=False)))
    kinds = {"flat": flat, "jpeg": jpeg}
    return {kind: lines[lines["table"].isin(names)] for kind, names in kinds.items() if names}


def counted(lab: Lab, question: Question, tables: Sequence[str]) -> Rows:
    """The bits of benign images of the search under each table."""
    here, n, size = lab.inputs, question.asked.rate, question.asked.block
    cells = [
        compressed.Cell(
            data=here.data, side=here.side, fingerprint=here.fingerprint, codec=name, weights="",
            split="search", first=first, count=min(size, n - first),
        )
        for name in tables
        for first in range(0, n, size)
    ]  # fmt: skip
    study = compressed.study(lab.source)
    return lab.sweep(study, cells, "rate", label="bits counted", listed=False)


def bpp(lab: Lab, names: Iterable[str], images: Pictures) -> Mapping[str, float]:
    """Bits per pixel of JPEG's scan, mean over images, for each name of a codec of fixed tables.

    Empty where only stored rows may be used and these were stored before bits were counted.
    """
    codecs = [name for name in names if isinstance(lab.defence(name), Jpeg | Table)]
    cells = list(rates.cells(lab.inputs, codecs, images, block=500))
    try:
        rows = lab.sweep(rates.STUDY, cells, "jpeg", label="rates") if cells else None
    except NotStoredError:
        rows = None
    if rows is None:
        return {}
    mean = rows.groupby("codec", observed=True)["bits"].mean() / lab.inputs.side**2
    return {name: float(mean[name]) for name in codecs}


def bpp_text(found: Mapping[str, float]) -> list[str]:
    """A line for `bpp`'s answer, none for an empty one."""
    each = ", ".join(f"{name} {bits:.2f}" for name, bits in found.items())
    return [f"bits per pixel of JPEG's scan: {each}"] if found else []
