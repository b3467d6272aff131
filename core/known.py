"""Names that people write and the papers' settings: what a command line is read by, without torch.

Each is explained where it acts.
"""

from typing import Literal, get_args

ATTACKS = (
    "fgsm",
    "ifgsm",
    "pgd",
    "fgsm-l2",
    "ifgsm-l2",
    "pgd-l2",
    "tifgsm",
    "difgsm",
    "deepfool",
    "cw",
    "bpda",
    "apgd",
    "apgd-l2",
    "apgd-t",
    "apgd-t-l2",
    "fab",
    "fab-l2",
    "square",
    "square-l2",
    "aa",
    "aa-l2",
    "autoattack",
    "autoattack-l2",
)
PUBLISHED = ("mnist", "fashion_mnist", "cifar10", "cifar100")  # data whose files may be fetched
DATA = ("digits", "photos", *PUBLISHED, "imagefolder:PATH (or URI)")
THIN = (  # networks of VGG11's and ResNet18's form, narrower
    *("vgg11_small", "vgg11_1", "vgg11_2", "vgg11_3", "vgg11_4", "vgg11_5"),
    *("resnet18_small", "resnet18_1", "resnet18_2", "resnet18_3", "resnet18_4"),
)
OWN = ("small_resnet", "lenet", "lenet5", "mnist_cnn", "mnist_cnn_bn", "resnet20", *THIN)
STATISTICS = (
    "imagenet, none (pixels in [0, 1] as they are), 0.5, or MEAN/STD such as 0.49,0.48,0.45/0.2"
)
CORRUPTIONS = (
    *("gaussian_noise", "speckle_noise", "impulse_noise", "gaussian_blur", "contrast"),
    *("brightness", "saturate", "fog", "frost", "snow"),
)
Skips = Literal["both", "block", "global", "none"]
SKIPS: tuple[Skips, ...] = get_args(Skips)
SCHEDULES = ("one-cycle", "cosine", "step", "constant")  # of a learning rate
N_DIAGONALS = 15  # of a block of 8x8

# Noise-trained chains: the defensive-table paper, 3.4 and table 1.
QUALITIES = (90, 80, 70, 60, 50, 40, 30)
MEMBERS = ("M", *(f"M{quality}" for quality in QUALITIES))
PAPER_MEMBERS = ("M", "M90", "M70", "M50", "M30")
XI, LEARNING_RATE, DECAY = 0.9, 0.005, 0.94
EPOCHS = 2  # of each network: 14 in all
CODEC_LEARNING_RATE = 3e-3  # of learned codecs
