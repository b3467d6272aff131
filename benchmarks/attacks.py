"""Each attack against the faster of foolbox and torchattack, at equal strength.

One network (small_resnet on digits), the same images, the same steps and search settings, one
thread. Seconds are of the processor, not of the clock, summed over interleaved runs: other work
on the machine then hardly shows. Foolbox's own last check of success is left out. torchattacks
cannot be installed beside the rest (it pins requests 2.25) and is not compared.

Every pair runs twice: on the network as it is opened, whose weights ask for gradients that the
other libraries compute and nobody needs, and with frozen weights, which spares them that. As
opened, ours must be as fast, DeepFool and C&W 1.5 times as fast. Frozen, all but DeepFool spend
their time in the same passes and can only be as fast; the limit 0.95 leaves room for the timer.
Names of attacks on the command line pick some of them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import foolbox
import torch
import torchattack
from begin import words
from common import claim
from foolbox.criteria import Misclassification

from core import attacks, training
from core.data import open_data
from core.shapes import Labels, Logits, Pixels

EPS_255, STEP_255, N_STEPS = 8.0, 1.0, 10
EPS_L2_255 = 255.0
CW_STEPS, CW_SEARCHES, CW_RATE, CW_FIRST = 200, 5, 0.05, 0.1
AS_FAST, FASTER = 1.0, 1.5
TIMER = 0.95
NAMES = ("fgsm", "ifgsm", "pgd", "pgd-l2", "tifgsm", "difgsm", "deepfool", "cw")

Run = Callable[[], Pixels]


@dataclass(frozen=True)
class Rivals:
    """The same attack by us and by others."""

    name: str
    ours: Run
    theirs: dict[str, Run]
    limit: float
    n_runs: int = 3


class Coloured(torch.nn.Module):
    """A gray network that reads three channels, for torchattack's TI-FGSM takes no other."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Pixels) -> Logits:
        """Logits of the channels' mean."""
        logits: Logits = self.network(pixels.mean(1, keepdim=True))
        return logits


def cpu_s(run: Run) -> tuple[float, Pixels]:
    """Processor seconds, and what came out."""
    start = time.process_time()
    attacked = run()
    return time.process_time() - start, attacked


def rivals(network: torch.nn.Module, pixels: Pixels, labels: Labels) -> list[Rivals]:
    """Every attack that another library has, at the same settings."""
    wrapped = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    criterion = Misclassification(labels)
    eps, step = EPS_255 / 255, STEP_255 / 255

    def box(attack: foolbox.Attack, epsilon: float | None = None) -> Run:
        budget = {} if epsilon is None else {"epsilon": epsilon}
        return lambda: attack.run(wrapped, pixels, criterion, **budget)

    def torch_attack(kind: type, **settings: float) -> Run:
        attack = kind(network, lambda x: x, torch.device("cpu"), **settings)
        return lambda: attack(pixels.clone(), labels).detach()

    def in_colour(attack: Callable[..., Pixels]) -> Run:
        """The attack on three equal channels, and one of what comes out."""
        return lambda: attack(pixels.repeat(1, 3, 1, 1), labels).detach()[:, :1]

    def generators() -> list[torch.Generator]:
        return [torch.Generator().manual_seed(image) for image in range(len(pixels))]

    def ours(kind: Callable[..., Pixels], **settings: object) -> Run:
        return lambda: kind(network, pixels, labels, **settings)

    def seeded(kind: Callable[..., Pixels], **settings: object) -> Run:
        return lambda: kind(network, pixels, labels, generators=generators(), **settings)

    steps = {"eps_255": EPS_255, "step_255": STEP_255, "n_steps": N_STEPS}
    l2_steps = {"eps_255": EPS_L2_255, "step_255": EPS_L2_255 / 5, "n_steps": N_STEPS}
    their_steps = {"eps": eps, "alpha": step, "steps": N_STEPS}
    colour = Coloured(network)
    linf = foolbox.attacks.LinfBasicIterativeAttack(
        abs_stepsize=step, steps=N_STEPS, random_start=False
    )
    return [
        Rivals("fgsm", ours(attacks.fgsm, eps_255=EPS_255), {
            "foolbox": box(foolbox.attacks.LinfFastGradientAttack(), eps),
            "torchattack": torch_attack(torchattack.FGSM, eps=eps),
        }, AS_FAST, 10),
        Rivals("ifgsm", ours(attacks.ifgsm, **steps), {"foolbox": box(linf, eps)}, AS_FAST),
        Rivals("pgd", seeded(attacks.pgd, n_restarts=1, **steps), {
            "foolbox": box(foolbox.attacks.LinfPGD(abs_stepsize=step, steps=N_STEPS), eps),
            "torchattack": torch_attack(torchattack.PGD, **their_steps),
        }, AS_FAST),
        Rivals("pgd-l2", seeded(attacks.pgd, n_restarts=1, norm=attacks.L2, **l2_steps), {
            "foolbox": box(
                foolbox.attacks.L2PGD(rel_stepsize=0.2, steps=N_STEPS), EPS_L2_255 / 255
            ),
        }, AS_FAST),
        Rivals("tifgsm", in_colour(
            partial(attacks.tifgsm, colour, kernel=attacks.gaussian_kernel(5), **steps)
        ), {
            "torchattack": in_colour(torchattack.TIFGSM(
                colour, lambda x: x, torch.device("cpu"), kern_len=5, **their_steps
            )),
        }, AS_FAST),
        Rivals("difgsm", seeded(
            attacks.difgsm, probability=1.0, smallest=0.9, momentum=1.0, **steps
        ), {"torchattack": torch_attack(torchattack.DIFGSM, **their_steps)}, AS_FAST),
        Rivals("deepfool", ours(
            attacks.deepfool, n_steps=50, overshoot=0.02, n_candidates=10, eps_255=1e6
        ), {
            "foolbox": box(foolbox.attacks.L2DeepFoolAttack(steps=50, candidates=10)),
            "torchattack": torch_attack(torchattack.DeepFool, steps=50, num_classes=10),
        }, FASTER, 2),
        Rivals("cw", ours(
            attacks.carlini_wagner, n_steps=CW_STEPS, n_searches=CW_SEARCHES, rate=CW_RATE,
            confidence=0.0, first_c=CW_FIRST, eps_255=1e6,
        ), {
            "foolbox": box(foolbox.attacks.L2CarliniWagnerAttack(
                binary_search_steps=CW_SEARCHES, steps=CW_STEPS, stepsize=CW_RATE,
                initial_const=CW_FIRST,
            )),
        }, FASTER, 1),
    ]  # fmt: skip


def strength(network: torch.nn.Module, attacked: Pixels, pixels: Pixels, labels: Labels) -> str:
    """Success rate, and median L2 over the successes."""
    with torch.inference_mode():
        logits: Logits = network(attacked)
    fooled = logits.argmax(1) != labels
    length = (attacked - pixels).flatten(1).norm(dim=1)[fooled].median()
    return f"{float(fooled.float().mean()):7.1%} {float(length):7.3f}"


def compare(
    network: torch.nn.Module, pixels: Pixels, labels: Labels, names: list[str], *, frozen: bool
) -> bool:
    """One line per attack and library, and a claim per attack; whether all hold."""
    network.requires_grad_(not frozen)
    state = "frozen" if frozen else "as opened"
    print(f"{state:<14}{'by':<13}{'cpu s':>8} {'success':>7} {'med L2':>7}")
    holds = True
    for rival in rivals(network, pixels, labels):
        if rival.name not in names:
            continue
        runs = {"ours": rival.ours, **rival.theirs}
        seconds, lines = dict.fromkeys(runs, 0.0), {}
        for _ in range(rival.n_runs):
            for who, run in runs.items():
                taken, attacked = cpu_s(run)
                seconds[who] += taken
                lines[who] = strength(network, attacked, pixels, labels)
        for who, line in lines.items():
            print(f"{rival.name:<14}{who:<13}{seconds[who] / rival.n_runs:8.2f} {line}")
        fastest = min(rival.theirs, key=lambda who: seconds[who])
        limit = TIMER if frozen and rival.name != "deepfool" else rival.limit
        ratio = seconds[fastest] / seconds["ours"]
        holds &= claim(f"{rival.name}, {state}: {fastest} / ours", ratio, limit, at_most=False)
    return holds


def main() -> int:
    """Both states of one network."""
    names = words(*NAMES) or list(NAMES)
    torch.set_num_threads(1)
    data = open_data("digits", seed=0)
    network, _ = training.fit(data, "small_resnet", epochs=3)
    images, labels = data.batch("search", range(24))
    pixels, states = images / 255, (False, True)
    compared = [compare(network, pixels, labels, names, frozen=frozen) for frozen in states]
    return not all(compared)


if __name__ == "__main__":
    raise SystemExit(main())
