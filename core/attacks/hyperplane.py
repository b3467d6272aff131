"""The nearest point of a hyperplane inside the box of pixels."""

import torch
from torch import Tensor

from core.attacks.norms import LINF, Norm
from core.shapes import PerImage, Pixels


def onto_hyperplane(pixels: Pixels, slope: Pixels, gap: PerImage, *, norm: Norm) -> Pixels:
    """The shortest change with slope . change = gap that keeps the pixels in [0, 1].

    Every pixel moves towards the plane until it meets the box: by one common amount in
    L-infinity, in proportion to its slope in L2. Where the box does not reach the plane, all go as
    far as they can. Exact but for float64's rounding: pixels are sorted by when they stop.

    Source: Croce and Hein (2020b), section 2.2 and appendix A (equation 5).
    """
    flat, slopes = pixels.flatten(1).double(), slope.flatten(1).double()
    wanted = gap.double()[:, None]
    direction = slopes.sign() * wanted.sign()
    room = torch.where(direction > 0, 1 - flat, flat)
    rate = direction.abs() if norm is LINF else slopes.abs()
    stop = torch.where(rate > 0, room / rate, 0.0)
    time = _time(slopes.abs() * rate, stop, wanted.abs())
    change = direction * torch.minimum(time * rate, room)
    return change.reshape(pixels.shape).to(pixels)


def _time(gain: Tensor, stop: Tensor, wanted: Tensor) -> Tensor:
    """When the sum over i of gain_i min(time, stop_i) is what is wanted: [n, 1].

    Where it never is, some time after the last stop.
    """
    stop, order = stop.sort(dim=1)
    gain = gain.gather(1, order)
    running = gain.flip(1).cumsum(1).flip(1)  # of those that have not stopped before
    stopped = (gain * stop).cumsum(1) - gain * stop  # the total of those that have
    first = ((stopped + running * stop) < wanted).sum(1, keepdim=True)
    first = first.clamp(max=gain.shape[1] - 1)
    return (wanted - stopped.gather(1, first)) / running.gather(1, first).clamp_min(1e-30)
