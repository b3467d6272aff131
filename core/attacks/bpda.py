"""BPDA: attacking through a defence that has no useful gradient."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from core.attacks.gradients import Differentiable, gradient_and_logits, of_rows
from core.attacks.norms import L2, Norm
from core.shapes import Labels, Pixels

Defence = Callable[[Tensor], Tensor]


def straight_through(real: Defence, surrogate: Defence | None = None) -> Defence:
    """The real function forward, exactly; backward the surrogate's derivative at the same input.

    Without a surrogate the derivative is the identity's, so the shapes in and out must agree. The
    real function may be anything that eats and returns tensors; it is never differentiated.

    Source: Athalye, Carlini and Wagner (2018), section 4.1.
    """

    def through(values: Tensor) -> Tensor:
        out: Tensor = _Through.apply(values, real, surrogate)
        return out

    return through


class _Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, real: Defence, surrogate: Defence | None) -> Tensor:
        ctx.save_for_backward(values)
        ctx.surrogate = surrogate
        out = real(values)
        if surrogate is None and out.shape != values.shape:
            raise ValueError(
                f"the identity's derivative needs shapes that agree, got {tuple(values.shape)} in "
                f"and {tuple(out.shape)} out.\\nHint: give a differentiable surrogate."
            )
        return out.view_as(out)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        if ctx.surrogate is None:
            return gradient, None, None
        (values,) = ctx.saved_tensors
        with torch.enable_grad():
            inputs = values.detach().requires_grad_()
            (slope,) = torch.autograd.grad(ctx.surrogate(inputs), inputs, gradient)
        return slope, None, None


def bpda(
    logits_of: Differentiable,
    pixels: Pixels,
    labels: Labels,
    *,
    eps_255: float,
    rate: float = 0.1,
    n_steps: int = 1000,
    norm: Norm = L2,
) -> Pixels:
    """Plain gradient ascent on the cross-entropy, each image until it is misclassified.

    `logits_of` is the whole defence, made differentiable by `straight_through`. A step changes
    pixels in [0, 1] by `rate` times the gradient; the result is brought back into the ball, where
    the authors' code has a penalty of weight 1e-6 that no gradient flows through.

    Source: Athalye, Carlini and Wagner (2018), section 5.2.3 (input transformations), and their
    published robustml_attack.py: 1000 steps, rate 0.1, L2.
    """
    attacked = pixels.clone()
    rows = torch.arange(len(pixels), device=pixels.device)
    for _ in range(n_steps):
        gradient, logits = gradient_and_logits(
            of_rows(logits_of, rows), attacked[rows], labels[rows]
        )
        going = logits.argmax(1) == labels[rows]
        rows, gradient = rows[going], gradient[going]
        if not len(rows):
            break
        moved = attacked[rows] + rate * gradient
        attacked[rows] = norm.project(moved, pixels[rows], eps_255 / 255)
    return attacked
