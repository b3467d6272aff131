"""Your own network and images: attacked, defended, and counted with intervals.

python examples/own_model.py
"""

from qtable_sweeps import wilson
from qtable_sweeps.attacks import on_images, parse_attack, through
from qtable_sweeps.codec import to_pixels
from qtable_sweeps.data import open_data
from qtable_sweeps.defences import Defended, defence_by_name
from qtable_sweeps.models import demo

# Any nn.Module will do that maps pixels [n, c, h, w] in [0, 1] to logits. This one came along.
model = demo()
images, labels = open_data("digits").batch("report", range(40))  # uint8 [n, c, h, w]; classes

# Gray box: the attacker knows the model and not the defence.
fgsm = parse_attack("fgsm@8", channels=1, side=32)
pictures = {"benign": to_pixels(images)}
pictures["gray"] = on_images(fgsm, model, images, labels, image_ids=range(40), seed=0)

for name in ("none", "jpeg75", "k3-of16-af116"):
    victim = Defended(defence_by_name(name), model)
    # White box: through everything, with a smooth derivative in place of rounding.
    pgd = parse_attack("pgd:through=cubic@8x10", channels=1, side=32)
    whole = through(pgd, victim)
    white = on_images(pgd, whole, images, labels, image_ids=range(40), seed=0)
    for what, pixels in (pictures | {"white": white}).items():
        right = int((victim(pixels).argmax(1) == labels).sum())
        low, high = wilson(right, len(labels))
        print(f"{name:15} {what:7} {right} of {len(labels)} [{100 * low:.0f}, {100 * high:.0f}] %")
