"""The exhaustive sweep against the loop that one would write today.

That loop: for every table, compress and decompress each image with Pillow (real libjpeg and its
`qtables`), stack the pictures, classify them in batches with all cores. Ours: two Ray workers of
one thread. Both score the same digits under the same 350 tables, and start warm.
"""

import io
import time

import numpy as np
import torch
from begin import words
from common import claim, prepare
from PIL import Image
from sweep_over_forwards import warm

from core.codec import qtable
from search.engine.plan import Grid
from search.inputs.loading import images_of
from search.tables.plan import SEARCH


def through_libjpeg(image: np.ndarray, table: list[int]) -> np.ndarray:
    """One gray picture through Pillow."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", qtables=[table])
    return np.asarray(Image.open(file))


def todays_loop(images: np.ndarray, tables: list[list[int]], network: torch.nn.Module) -> None:
    """Every image under every table."""
    with torch.inference_mode():
        for table in tables:
            seen = np.stack([through_libjpeg(image, table) for image in images])
            for part in torch.split(torch.from_numpy(seen)[:, None].float() / 255, 256):
                network(part).argmax(1)


def main() -> int:
    """One after the other, in one run."""
    bench = prepare("--benign", "150", "--adversarial", "50", "--eps-255", "4")
    bench.engine.start()
    warm(bench)
    start = time.perf_counter()
    plan = Grid(SEARCH.cell_id, bench.cells())
    bench.engine.sweep(SEARCH, plan, f"bench-{time.time_ns()}", label="sweep")
    ours_s = time.perf_counter() - start
    bench.engine.stop()
    pieces = bench.question.of("search")
    images = torch.cat([images_of(bench.bank, p.name).images for p in pieces])
    names = sorted({name for cell in bench.cells() for name in cell.tables})
    tables = [qtable.by_name(name).int().flatten().tolist() for name in names]
    start = time.perf_counter()
    todays_loop(images[:, 0].numpy(), tables, bench.network())
    theirs_s = time.perf_counter() - start
    print(f"{bench.n_pairs()} pairs: sweep {ours_s:.1f} s, Pillow loop {theirs_s:.1f} s")
    return not claim("Pillow loop / sweep", theirs_s / ours_s, 2.0, at_most=False)


if __name__ == "__main__":
    words()
    raise SystemExit(main())
