"""Your own folder of images, one folder for each class: the best table for it, as a picture.

python examples/own_folder.py FOLDER [flags of `qtable-sweeps search`]
"""

import sys
from pathlib import Path

from PIL import Image
from torchvision.transforms import v2

from qtable_sweeps import default_store, main
from qtable_sweeps.defences import TableDefence

if len(sys.argv) < 2:
    sys.exit(__doc__)
folder, *flags = sys.argv[1:]
# Splits the folder, trains a small network on it, attacks it, tries 350 tables; what is stored is
# found again. With your own network: --model checkpoint:PATH, or any that --help names.
code = main(["search", "--data", f"imagefolder:{folder}", "--side", "32", *flags])
if code:
    sys.exit(code)

answers = Path(default_store()).glob("answers/imagefolder-*/winner.qtable.txt")
winner = max(answers, key=lambda path: path.stat().st_mtime)
defence = TableDefence.load(winner)  # put it in front of a model: nn.Sequential(defence, model)
first = next(Path(folder).rglob("*.png"))
seen = defence(v2.functional.pil_to_tensor(Image.open(first).convert("RGB")))
v2.functional.to_pil_image(seen).save("seen.png")
print(f"seen.png is {first} as the defended model sees it, through {winner}")
