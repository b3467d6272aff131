"""Another library's attack through one of our defences: here torchattack, foolbox likewise.

python examples/foreign_attack.py
"""

import foolbox
import torch
import torchattack

from qtable_sweeps.codec import to_pixels
from qtable_sweeps.data import open_data
from qtable_sweeps.defences import Defended, defence_by_name
from qtable_sweeps.models import demo

torch.manual_seed(0)
model = demo()
images, labels = open_data("digits").batch("report", range(40))
pixels = to_pixels(images)

for name in ("none", "k1-of16-af96"):
    # A plain nn.Module: forwards it quantises, backwards it passes gradients on (BPDA).
    victim = Defended(defence_by_name(name), model).eval()
    pgd = torchattack.PGD(victim, None, "cpu", eps=8 / 255, steps=10, alpha=2 / 255)
    theirs = foolbox.PyTorchModel(victim, bounds=(0, 1), device="cpu")
    fgsm = foolbox.attacks.FGSM()(theirs, pixels, labels, epsilons=8 / 255)[1]
    for what, attacked in (("torchattack PGD-10", pgd(pixels, labels)), ("foolbox FGSM", fgsm)):
        right = int((victim(attacked).argmax(1) == labels).sum())
        print(f"{name:13} {what:19} {right} of {len(labels)} right")
