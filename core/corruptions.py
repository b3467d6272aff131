"""Ten corruptions of images in five severities, batch-wise.

Each image has its own generator, so what becomes of it depends on no other; levels are cut to whole
ones, not rounded, as the published files are.

Source: Hendrycks and Dietterich (2019), "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations", and its authors' code for ImageNet-C and CIFAR-10-C.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Generator, Tensor
from torch.nn import functional

from core.errors import InputError
from core.known import CORRUPTIONS
from core.shapes import Images8

Severities = Literal["cifar10-c", "imagenet-c"]
N_SEVERITIES = 5
Settings = Mapping[str, Sequence[Any]]  # one of each severity

SEVERITIES: Mapping[str, Settings] = {
    "cifar10-c": {
        "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.1),
        "speckle_noise": (0.06, 0.1, 0.12, 0.16, 0.2),
        "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),
        "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1.0),
        "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
        "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
        "saturate": ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)),
        "fog": ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)),
        "frost": ((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        "snow": (
            (0.1, 0.2, 1.0, 0.6, 8.0, 3.0, 0.95),
            (0.1, 0.2, 1.0, 0.5, 10.0, 4.0, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10.0, 4.0, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12.0, 6.0, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14.0, 12.0, 0.8),
        ),
    },
    "imagenet-c": {
        "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
        "speckle_noise": (0.15, 0.2, 0.35, 0.45, 0.6),
        "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
        "gaussian_blur": (1.0, 2.0, 3.0, 4.0, 6.0),
        "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
        "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
        "saturate": ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)),
        "fog": ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
        "frost": ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
        "snow": (
            (0.1, 0.3, 3.0, 0.5, 10.0, 4.0, 0.8),
            (0.2, 0.3, 2.0, 0.5, 12.0, 4.0, 0.7),
            (0.55, 0.3, 4.0, 0.9, 12.0, 8.0, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12.0, 8.0, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12.0, 12.0, 0.55),
        ),
    },
}
assert all(tuple(settings) == CORRUPTIONS for settings in SEVERITIES.values())
KINDS: tuple[Severities, ...] = get_args(Severities)
ROUNDING = 1e-6  # of a level: what is whole but for the arithmetic is not cut to the one below
TRUNCATE = 4.0  # a Gaussian kernel ends at so many sigma, as scikit-image's does
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601

Textures = Sequence[Tensor]  # of frost: uint8 [3, h, w] each


def corrupted(
    images: Images8,
    name: str,
    severity: int,
    *,
    generators: Sequence[Generator],
    kind: str = "cifar10-c",
    textures: Textures = (),
) -> Images8:
    """The images after one of CORRUPTIONS, at a severity of 1..5 as `kind` of KINDS has it.

    `generators` are on the CPU, one for each image. `textures` are frost's photographs, as
    `core.frost` reads them. InputError: another name, severity or kind; frost without textures, or
    with smaller ones than the images; saturation of gray images.
    """
    check(name, severity, kind, channels=images.shape[1], frost=bool(textures))
    settings = SEVERITIES[kind][name][severity - 1]
    draws, x = list(generators), images.double() / 255
    if name == "frost":
        x = _frost(x, settings, draws, textures)
    else:
        x = _BY_NAME[name](x, settings, draws)
    return (255 * x.clamp(0, 1) + ROUNDING).to(torch.uint8)


def check(
    name: str, severity: int, kind: str = "cifar10-c", *, channels: int = 3, frost: bool = True
) -> None:
    """InputError for what `corrupted` does not take; `frost`: whether there are textures."""
    if name not in CORRUPTIONS:
        raise InputError(
            f"expected a corruption among {', '.join(CORRUPTIONS)}, got {name!r}.\n"
            "Hint: with its severity, as in fog@3."
        )
    if severity not in range(1, N_SEVERITIES + 1) or kind not in SEVERITIES:
        raise InputError(
            f"expected a severity of 1..{N_SEVERITIES} of {' or '.join(SEVERITIES)}, got "
            f"{severity} of {kind!r}.\nHint: 1 is the mildest; images as they are have no severity."
        )
    if name == "saturate" and channels == 1:
        raise InputError(
            "saturation needs colour, and these images are gray.\n"
            "Hint: leave saturate out, or take data with colour."
        )
    if name == "frost" and not frost:
        raise InputError(
            "frost lays photographs of ice over images, and there are none.\n"
            "Hint: name a folder of them, or install the package imagecorruptions, which has six; "
            "or leave frost out."
        )


def _stack(draw: Callable[[Generator], Tensor], draws: Sequence[Generator], x: Tensor) -> Tensor:
    return torch.stack([draw(own) for own in draws]).to(x)


def _normal(x: Tensor, draws: Sequence[Generator]) -> Tensor:
    return _stack(lambda own: torch.randn(x.shape[1:], generator=own), draws, x)


def _gaussian_noise(x: Tensor, sigma: float, draws: Sequence[Generator]) -> Tensor:
    return x + sigma * _normal(x, draws)


def _speckle_noise(x: Tensor, sigma: float, draws: Sequence[Generator]) -> Tensor:
    return x + x * sigma * _normal(x, draws)


def _impulse_noise(x: Tensor, share: float, draws: Sequence[Generator]) -> Tensor:
    """That share of values becomes black or white, channels apart."""
    unit = _stack(lambda own: torch.rand(x.shape[1:], generator=own), draws, x)
    return torch.where(unit < share, (unit < share / 2).to(x), x)


def _gaussian_blur(x: Tensor, sigma: float, _: Sequence[Generator]) -> Tensor:
    """Edges are replicated."""
    down, across = (_blurring(side, sigma).to(x) for side in x.shape[2:])
    return down @ x @ across.T


def _blurring(side: int, sigma: float) -> Tensor:
    """What each place of a line takes of every other, float64 [side, side]."""
    reach = int(TRUNCATE * sigma + 0.5)
    offset = torch.arange(-reach, reach + 1)
    kernel = torch.exp(-(offset.double() ** 2) / (2 * sigma**2))
    taken = (torch.arange(side)[:, None] + offset).clamp(0, side - 1)
    weights = torch.zeros(side, side, dtype=torch.float64)
    return weights.scatter_add_(1, taken, (kernel / kernel.sum()).expand(side, -1))


def _contrast(x: Tensor, factor: float, _: Sequence[Generator]) -> Tensor:
    """Towards the mean of each channel."""
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) * factor + mean


def _brightness(x: Tensor, more: float, _: Sequence[Generator]) -> Tensor:
    """V of HSV is raised, hue and saturation stay: all channels by one factor. Black turns gray."""
    value = x.amax(1, keepdim=True)
    raised = (value + more).clamp(0, 1)
    return torch.where(value > 0, x * raised / value, raised)


def _saturate(x: Tensor, settings: tuple[float, float], _: Sequence[Generator]) -> Tensor:
    """S of HSV, hue and value stay. Gray has hue 0, as in scikit-image: it turns red."""
    factor, more = settings
    value, least = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
    saturation = torch.where(value > 0, (value - least) / value, 0)
    changed = (factor * saturation + more).clamp(0, 1)
    red = torch.cat([value, value * (1 - changed), value * (1 - changed)], 1)
    return torch.where(saturation > 0, value - (value - x) * changed / saturation, red)


def _fog(x: Tensor, settings: tuple[float, float], draws: Sequence[Generator]) -> Tensor:
    amplitude, decay = settings
    height, width = x.shape[2:]
    cloud = plasma(draws, side=2 ** math.ceil(math.log2(max(height, width, 2))), decay=decay)
    most = x.amax((1, 2, 3), keepdim=True)
    x = x + amplitude * cloud[:, None, :height, :width].to(x)
    return x * most / (most + amplitude)


def plasma(draws: Sequence[Generator], *, side: int, decay: float) -> Tensor:
    """Clouds in 0..1, float64 [n, side, side], by the diamond-square algorithm on a torus.

    `side` is a power of two; each halving of the step divides what is added at random by `decay`.
    """
    unit = torch.stack([torch.rand(side**2, generator=own, dtype=torch.float64) for own in draws])
    out, used = torch.zeros(len(unit), side, side, dtype=torch.float64), 0
    step, wobble = side, 100.0

    def mean_and_wobble(total: Tensor) -> Tensor:
        nonlocal used
        n = total[0].numel()
        drawn = unit[:, used : used + n].reshape(total.shape)
        used += n
        return total / 4 + wobble**2 * (2 * drawn - 1)

    while step >= 2:
        half = step // 2
        corners = out[:, ::step, ::step]
        across = corners + corners.roll(-1, 1)
        out[:, half::step, half::step] = mean_and_wobble(across + across.roll(-1, 2))
        centres = out[:, half::step, half::step]
        rows = centres + centres.roll(1, 1) + corners + corners.roll(-1, 2)
        out[:, ::step, half::step] = mean_and_wobble(rows)
        columns = centres + centres.roll(1, 2) + corners + corners.roll(-1, 1)
        out[:, half::step, ::step] = mean_and_wobble(columns)
        step, wobble = half, wobble / decay
    out -= out.amin((1, 2), keepdim=True)
    return out / out.amax((1, 2), keepdim=True)


def _frost(
    x: Tensor, settings: tuple[float, float], draws: Sequence[Generator], textures: Textures
) -> Tensor:
    """A random place of a random texture is added."""
    of_image, of_texture = settings
    channels, height, width = x.shape[1:]
    least = min(min(t.shape[1] - height, t.shape[2] - width) for t in textures)
    if least < 1:
        raise InputError(
            f"expected textures of frost larger than the images, {height}x{width}, found some of "
            f"{' '.join(f'{t.shape[1]}x{t.shape[2]}' for t in textures)}.\n"
            "Hint: leave frost out, or name a folder of larger ones."
        )

    def crop(own: Generator) -> Tensor:
        texture = textures[int(torch.randint(len(textures), (), generator=own))]
        rows, columns = texture.shape[1] - height, texture.shape[2] - width
        top, left = (int(torch.randint(n, (), generator=own)) for n in (rows, columns))
        return texture[:, top : top + height, left : left + width]

    ice = _stack(crop, draws, x) / 255
    if channels == 1:
        ice = gray(ice)
    return of_image * x + of_texture * ice


def gray(x: Tensor) -> Tensor:
    """BT.601 luma [n, 1, h, w]; gray images as they are."""
    if x.shape[1] == 1:
        return x
    weights = torch.tensor(LUMA, dtype=x.dtype, device=x.device)[:, None, None]
    return (x * weights).sum(1, keepdim=True)


def _snow(x: Tensor, settings: Sequence[float], draws: Sequence[Generator]) -> Tensor:
    """Flakes that fall at a random angle, also turned by half a turn, over a whitened image."""
    mean, sigma, zoom, least, radius, blur, kept = settings
    flakes = mean + sigma * _normal(x[:, :1], draws)
    angles = _stack(lambda own: torch.rand((), generator=own), draws, x) * 90 - 135
    flakes = _zoomed(flakes, zoom)
    flakes = torch.where(flakes < least, 0, flakes).clamp(0, 1)
    flakes = (255 * flakes).floor() / 255
    flakes = _motion_blurred(flakes, radius=int(radius), sigma=blur, degrees=angles)
    flakes = (255 * flakes).round() / 255
    whiter = torch.maximum(x, 1.5 * gray(x) + 0.5)
    return kept * x + (1 - kept) * whiter + flakes + flakes.flip(2, 3)


def _zoomed(x: Tensor, factor: float) -> Tensor:
    """The middle enlarged to the whole, linear between places, as SciPy's zoom of order 1."""
    if factor == 1:
        return x
    sides = x.shape[2:]
    cut = [math.ceil(side / factor) for side in sides]
    tops = [(side - part) // 2 for side, part in zip(sides, cut, strict=True)]
    inner = x[:, :, tops[0] : tops[0] + cut[0], tops[1] : tops[1] + cut[1]]
    size = [round(part * factor) for part in cut]
    large = functional.interpolate(inner, size, mode="bilinear", align_corners=True)
    top, left = ((big - side) // 2 for big, side in zip(size, sides, strict=True))
    return large[:, :, top : top + sides[0], left : left + sides[1]]


def _motion_blurred(x: Tensor, *, radius: int, sigma: float, degrees: Tensor) -> Tensor:
    """Means along a half line at each image's angle, weighed by a half Gaussian; [n, 1, h, w].

    Edges are replicated.

    Source: ImageMagick 6, MotionBlurImage, of `2 * radius + 1` places.
    """
    n, _, height, width = x.shape
    n_places = 2 * radius + 1
    weights = torch.exp(-(torch.arange(n_places).to(x) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    angle = degrees * math.pi / 180
    rows, columns = (torch.arange(size, device=x.device) for size in (height, width))
    image, out = torch.arange(n, device=x.device)[:, None, None], torch.zeros_like(x[:, 0])
    for place, weight in enumerate(weights):
        down, right = ((place * part - 0.5).ceil().long() for part in (angle.sin(), angle.cos()))
        at_rows = (rows + down[:, None]).clamp(0, height - 1)
        at_columns = (columns + right[:, None]).clamp(0, width - 1)
        out += weight * x[image, 0, at_rows[:, :, None], at_columns[:, None]]
    return out[:, None]


_BY_NAME: Mapping[str, Callable[[Tensor, Any, Sequence[Generator]], Tensor]] = {
    "gaussian_noise": _gaussian_noise,
    "speckle_noise": _speckle_noise,
    "impulse_noise": _impulse_noise,
    "gaussian_blur": _gaussian_blur,
    "contrast": _contrast,
    "brightness": _brightness,
    "saturate": _saturate,
    "fog": _fog,
    "snow": _snow,
}
