"""What the studies of small networks take, against plain loops, captum and ART, side by side.

captum and ART are no dependencies: this installs their published versions, without what they
depend on, into a folder that is thrown away. All on digits, one thread, the studies' own networks.

- JPEG against FGSM: every quality against every budget, attacked once a budget and compressed in
  batches, against a loop over pairs and images with Pillow's JPEG; printed, too, where that loop
  attacks in one batch.
- Occlusion maps against captum's, at its default of one place at a time and at its best.
- A universal perturbation against ART's, both until the same share of the images is fooled.
- An epoch of training against a bare loop over the same batches.

    python benchmarks/small_networks.py
"""

import io
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from begin import words
from common import claim
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from core import attacks, training
from core.attacks.universal import added, predicted, universal_pass
from core.data import Data, open_data
from core.data.batches import Batches
from core.defences import defence_by_name
from core.models import load_checkpoint
from core.occlusion import occlusion_maps, patches
from core.training.epochs import BATCH_SIZE, Training, sgd
from core.training.steps import PlainStep
from search.inputs.networks import SHIPPED

FOREIGN = ("captum==0.8.0", "adversarial-robustness-toolbox==1.20.1", "six", "tqdm")
BUDGETS_255, QUALITIES = (8.0, 16.0, 32.0), (10, 30, 50, 70, 90)
N_IMAGES, N_OCCLUDED, N_UNIVERSAL = 200, 10, 200
PATCH, STRIDE = 7, 2
XI_255, FOOLED = 48.0, 0.5


def taken(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of this one thread's CPU, which a busy neighbour does not change, and what came."""
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def pillow(pixels: Tensor, quality: int) -> Tensor:
    """Each gray image through libjpeg, one by one."""
    out = []
    for image in (pixels * 255).round().byte().numpy():
        file = io.BytesIO()
        Image.fromarray(image[0]).save(file, "JPEG", quality=quality)
        out.append(np.asarray(Image.open(file))[None])
    return torch.from_numpy(np.stack(out)).float() / 255


def fgsm(model: nn.Module, pixels: Tensor, labels: Tensor, eps_255: float) -> Tensor:
    """Rounded to 8 bits, as a loop of a few lines would have it."""
    leaf = pixels.clone().requires_grad_()
    functional.cross_entropy(model(leaf), labels).backward()
    assert leaf.grad is not None
    return ((pixels + eps_255 / 255 * leaf.grad.sign()).clamp(0, 1) * 255).round() / 255


def jpeg_against_fgsm(model: nn.Module, pixels: Tensor, labels: Tensor) -> bool:
    """Both ways, in turn; the counts agree up to Pillow's own rounding."""

    def ours() -> list[int]:
        fronts = [defence_by_name(f"jpeg{quality}") for quality in QUALITIES]
        right = []
        for eps_255 in BUDGETS_255:
            seen = attacks.fgsm(model, pixels, labels, eps_255=eps_255)
            seen = (seen * 255).round() / 255
            with torch.inference_mode():
                right += [int((model(f(seen)).argmax(1) == labels).sum()) for f in fronts]
        return right

    def plain(size: int) -> list[int]:
        right = []
        for eps_255 in BUDGETS_255:
            for quality in QUALITIES:
                n_right = 0
                for own, label in zip(pixels.split(size), labels.split(size), strict=True):
                    seen = pillow(fgsm(model, own, label, eps_255), quality)
                    with torch.inference_mode():
                        n_right += int((model(seen).argmax(1) == label).sum())
                right.append(n_right)
        return right

    (own_s, own), (batch_s, other) = taken(ours), taken(lambda: plain(len(labels)))
    (plain_s, single), (again_s, _) = taken(lambda: plain(1)), taken(ours)
    assert np.abs(np.array([other, single]) - own).max() <= 2, (own, other, single)
    own_s = min(own_s, again_s)
    print(
        f"JPEG x FGSM, {len(own)} pairs of {len(labels)} images: {own_s:.2f} s, image by image "
        f"{plain_s:.2f} s, attacked in one batch {batch_s:.2f} s ({batch_s / own_s:.1f} times)"
    )
    return claim("image by image / ours, JPEG x FGSM", plain_s / own_s, 4, at_most=False)


def occlusion(model: nn.Module, pixels: Tensor, labels: Tensor) -> bool:
    """The same maps as captum's, whose numbers are what a patch takes away."""
    from captum.attr import Occlusion  # noqa: PLC0415 - installed meanwhile

    covered = patches(pixels.shape[-1], patch=PATCH, stride=STRIDE)
    own_s, own = taken(lambda: occlusion_maps(model, pixels, labels, covered, fill=0.5))
    theirs = Occlusion(lambda seen: model(seen).softmax(1))

    def captum(n_together: int) -> Tensor:
        found: Tensor = theirs.attribute(
            pixels, sliding_window_shapes=(1, PATCH, PATCH), strides=(1, STRIDE, STRIDE),
            baselines=0.5, target=labels, perturbations_per_eval=n_together,
        )  # fmt: skip
        return found

    walls = {n: taken(lambda n=n: captum(n))[0] for n in (1, 4, 16, 64)}
    again_s, _ = taken(lambda: occlusion_maps(model, pixels, labels, covered, fill=0.5))
    said = ", ".join(f"{n} at a time {wall:.2f} s" for n, wall in walls.items())
    print(f"occlusion, {len(pixels)} images x {own.shape[1]} places: {own_s:.2f} s; captum {said}")
    own_s = min(own_s, again_s)
    holds = claim("captum's default / ours, occlusion", walls[1] / own_s, 2, at_most=False)
    best = min(walls.values())
    return claim("captum's best / ours, occlusion", best / own_s, 0.9, at_most=False) and holds


def universal(pixels: Tensor, labels: Tensor) -> bool:
    """Ours passes over the images until at least as many are fooled as by ART's.

    Each has the network as suits it: ART is three times slower with weights channels last.
    """
    from art.attacks.evasion import UniversalPerturbation  # noqa: PLC0415 - installed meanwhile
    from art.estimators.classification import PyTorchClassifier  # noqa: PLC0415

    plain, model = (load_checkpoint(SHIPPED).requires_grad_(False) for _ in range(2))
    model = model.to(memory_format=torch.channels_last)
    classes = predicted(model, pixels)
    shape = tuple(pixels.shape[1:])
    wrapped = PyTorchClassifier(
        plain, nn.CrossEntropyLoss(), shape, int(labels.max()) + 1, clip_values=(0.0, 1.0)
    )
    attack = UniversalPerturbation(
        wrapped, attacker="deepfool", attacker_params={"max_iter": 10, "verbose": False},
        delta=1 - FOOLED, max_iter=5, eps=XI_255 / 255, norm=np.inf, verbose=False,
    )  # fmt: skip
    theirs_s, _ = taken(lambda: attack.generate(pixels.numpy(), labels.numpy()))
    change = torch.from_numpy(np.asarray(attack.noise)).reshape(1, *shape).float()
    reached = float((predicted(model, pixels, change) != classes).float().mean())

    def ours(n_together: int) -> float:
        change, share = torch.zeros(1, *shape), 0.0
        for turn in range(20):
            order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(turn))
            change, _ = universal_pass(
                model, pixels, classes, change, order=order, xi_255=XI_255, norm=attacks.LINF,
                n_together=n_together,
            )  # fmt: skip
            share = float((model(added(pixels, change)).argmax(1) != classes).float().mean())
            if share >= reached:
                break
        return share

    one_s, one = taken(lambda: ours(1))
    own_s, own = taken(lambda: ours(4))
    print(
        f"universal, {len(pixels)} images within {XI_255:g}/255: ART {theirs_s:.1f} s fools "
        f"{reached:.0%}; one by one {one_s:.1f} s {one:.0%}, 4 at once {own_s:.1f} s {own:.0%}"
    )
    if min(one, own) < reached:
        print("not comparable: ours fools fewer")
        return False
    return claim("ART / ours, universal perturbation", theirs_s / own_s, 5, at_most=False)


def untrained(data: Data, name: str) -> nn.Module:
    """The network of a study; what it has learned costs no time."""
    network = training.fresh(data, name, 0).eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # as the studies open it


def epochs(data: Data) -> bool:
    """An epoch of each in turn, on networks of their own; the quickest of each counts."""
    walls: dict[str, list[float]] = {"ours": [], "bare": []}
    ours = Training(
        training.fresh(data, "small_resnet", 0), data, step=PlainStep(), rate=lambda *_: 0.01
    )
    bare = training.fresh(data, "small_resnet", 0).to(memory_format=torch.channels_last).train()
    optimiser = sgd(bare.parameters())
    optimiser.param_groups[0]["lr"] = 0.01
    drawn = torch.Generator().manual_seed(0)
    batches = Batches(
        data, batch_size=BATCH_SIZE, shift=0, generator=drawn, device=torch.device("cpu")
    )

    def loop() -> None:
        for pixels, labels in batches:
            loss = functional.cross_entropy(bare(pixels), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    for _ in range(9):
        walls["ours"].append(taken(ours.epoch)[0])
        walls["bare"].append(taken(loop)[0])
    own_s, bare_s = (min(walls[kind][1:]) for kind in ("ours", "bare"))
    print(f"an epoch of {data.size('train')} digits: {own_s:.2f} s, bare loop {bare_s:.2f} s")
    return claim("bare loop / ours, training", bare_s / own_s, 0.95, at_most=False)


def main() -> int:
    """All four, in one process."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    data = open_data("digits")
    holds = epochs(data)
    with tempfile.TemporaryDirectory() as folder:
        install = ["uv", "pip", "install", "--quiet", "--no-deps", "--target", folder, *FOREIGN]
        subprocess.run([sys.executable, "-m", *install], check=True)
        sys.path.append(folder)
        images, labels = data.batch("report", range(N_IMAGES))
        pixels = images.float() / 255
        holds &= jpeg_against_fgsm(untrained(data, "lenet5"), pixels, labels)
        seen = untrained(data, "mnist_cnn")
        holds &= occlusion(seen, pixels[:N_OCCLUDED], labels[:N_OCCLUDED])
        holds &= universal(pixels[:N_UNIVERSAL], labels[:N_UNIVERSAL])
    return not holds


if __name__ == "__main__":
    words()
    raise SystemExit(main())
