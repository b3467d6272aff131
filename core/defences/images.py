"""Images as users have them: checked, turned into pixels, and back into what they were."""

import math
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from PIL import Image
from torch import Tensor

from core import codec
from core.errors import InputError
from core.shapes import Pixels

TOLERANCE = 1e-3  # a quarter of an 8-bit level: what arithmetic, of 16 bits too, rounds by
Kind = TypeVar("Kind")
_TV = "torchvision.tv_tensors"


def of_any_kind(change: Callable[[Pixels], Pixels], images: Kind) -> Kind:
    """The images after `change`, which is given a batch of pixels; the same type and range out.

    Takes PIL images of mode RGB or L, and [..., c, h, w] tensors of 1 or 3 channels, plain or
    torchvision's `tv_tensors.Image`: uint8 in 0..255, or floating point in [0, 1], up to
    `TOLERANCE`. InputError for anything else.
    """
    out: Any
    if isinstance(images, Image.Image) and images.mode in ("L", "RGB"):
        from torchvision.transforms.v2 import functional  # noqa: PLC0415 - seconds of import

        out = of_any_kind(change, functional.pil_to_tensor(images))
        return cast("Kind", functional.to_pil_image(out, mode=images.mode))
    checked = check_images(images)
    plain = (
        checked.as_subclass(Tensor) if is_tv(checked) else checked
    )  # torch.export knows no subclasses
    batch = plain.reshape(-1, *checked.shape[-3:])
    out = change(codec.to_pixels(batch))
    out = codec.to_images8(out) if batch.dtype == torch.uint8 else out.to(batch.dtype)
    out = out.reshape(checked.shape)
    return cast("Kind", sys.modules[_TV].wrap(out, like=images) if is_tv(checked) else out)


def is_tv(images: object) -> bool:
    """Whether they are torchvision's `tv_tensors`; nobody has any who has not imported it."""
    found = sys.modules.get(_TV)
    return found is not None and isinstance(images, found.TVTensor)


def check_images(images: object) -> Tensor:
    """The [..., c, h, w] images, values within `TOLERANCE` of [0, 1] set to its ends.

    InputError that names the cause for what is no image; it forces a device sync. Under
    `torch.export` values are not looked at.
    """
    if not isinstance(images, Tensor) or not (
        images.dtype == torch.uint8 or images.is_floating_point()
    ):
        hint = "torchvision's v2.ToImage() makes them of arrays"
        if isinstance(images, Image.Image):
            hint = f'this one is of mode {images.mode}: image.convert("RGB")'
        raise _wrong(images, hint)
    _check_shape(images)
    if images.dtype == torch.uint8 or not images.numel() or torch.compiler.is_exporting():
        return images  # what is exported may not depend on values
    low, high = (float(bound) for bound in images.detach().aminmax())
    if low >= 0 and high <= 1:
        return images
    if low >= -TOLERANCE and high <= 1 + TOLERANCE:
        return images.clamp(0, 1)
    hint = "these look mean/std-normalised; put the defence before the normalisation"
    if math.isnan(low) or math.isinf(low) or math.isinf(high):
        hint = "what made them divided by zero or overflowed"
    elif low >= -TOLERANCE and 2 < high <= 256:
        hint = "these look like levels 0..255: divide by 255"
    elif low >= -0.5 and high <= 1.5:
        hint = "bicubic resizing and some attacks overshoot: images.clamp(0, 1)"
    raise InputError(f"pixels must lie in [0, 1], got [{low:.7g}, {high:.7g}].\nHint: {hint}.")


def _check_shape(images: Tensor) -> None:
    if images.ndim >= 3 and images.shape[-3] in (1, 3) and 0 not in images.shape[-2:]:
        return
    hint = "torchvision's v2.ToImage() makes them"
    if images.ndim >= 3 and images.shape[-1] in (1, 3, 4):
        hint = "these look like [h, w, c]: images.movedim(-1, -3)"
    elif images.ndim >= 3 and images.shape[-3] == 4:
        hint = "these look like RGBA: images[..., :3, :, :] leaves transparency out"
    raise _wrong(images, hint)


def _wrong(images: object, hint: str) -> InputError:
    return InputError(
        "expected [..., c, h, w] images of 1 or 3 channels, uint8 or floating point, got "
        f"{codec.said_of(images)}.\nHint: {hint}."
    )
