"""What a second worker brings where studies train networks of their own: at least 1.8 times.

Four learned codecs and what they code; six training sets, their networks, and these on corrupted
images. Each study whole, into an empty store, by one warm worker and by two, twice in turn.

    python benchmarks/two_workers.py
    python benchmarks/two_workers.py --studies corruptions
"""

import argparse
import sys
import tempfile
import time

import ray
from common import claim

from jobs import corruption_robustness, rate_distortion
from results.files import Root
from results.store import Store
from search import Job, Lab
from search.engine.engine import Engine
from search.flags import parse

STUDIES: dict[str, tuple[Job, str]] = {
    "codecs": (
        rate_distortion.JOB,
        (
            "--lambdas 0.001,0.002,0.004,0.008 --filters 8 --epochs 1 --qualities 10 --images 400 "
            "--block 50"
        ),
    ),
    "corruptions": (
        corruption_robustness.JOB,
        (
            "--sets none jpeg10 jpeg40 noise0.05 noise0.1 blur3 --epochs 3 "
            "--corruptions gaussian_noise fog --benign 300 --report-benign 300 --block 300"
        ),
    ),
}


def seconds(job: Job, flags: str, n_workers: int) -> float:
    """Wall time of a study on so many workers, whose Ray runs and has imported torch."""
    ray.init(address="local", num_cpus=n_workers, logging_level="error", include_dashboard=False)
    try:
        _answer(job, f"{job.smoke} --smoke")
        start = time.perf_counter()
        _answer(job, flags)
        return time.perf_counter() - start
    finally:
        ray.shutdown()


def _answer(job: Job, flags: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asked = parse(job.asked, name=job.name, question="", argv=flags.split())
        job.answer(Lab(Engine(Store(Root(folder)), gpus=0.0), asked), asked)


def main() -> int:
    """Measure each study twice on one worker and on two."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--studies", nargs="+", choices=STUDIES, default=[*STUDIES])
    missed = False
    for name in parser.parse_args().studies:
        job, flags = STUDIES[name]
        rounds = [[seconds(job, flags, n) for n in (1, 2)] for _ in range(2)]
        one_s, two_s = (sum(walls) for walls in zip(*rounds, strict=True))
        print(f"{name}: one worker {one_s / 2:.1f} s, two {two_s / 2:.1f} s")
        missed |= not claim(f"{name}: one worker / two", one_s / two_s, 1.8, at_most=False)
    return missed


if __name__ == "__main__":
    sys.exit(main())
