"""A network in less than full float32: float32 pixels in, float32 logits out."""

import torch
from torch import Tensor, nn

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
KINDS = (*HALVES, "tf32")  # tf32 on a GPU alone


def lowered(model: nn.Module, device: str, kind: str) -> nn.Module:
    """The model, which is on `device`, in one of KINDS; a half's weights are cast, in place."""
    return Tf32(model) if kind == "tf32" else Half(model, device, HALVES[kind])


def candidates(device: str) -> tuple[str, ...]:
    """What may be faster than float32: on CPUs bfloat16 alone has units of its own."""
    return KINDS if device == "cuda" else ("bf16",)


class Half(nn.Module):
    """A network under autocast to a type of 16 bits."""

    def __init__(self, model: nn.Module, device: str, dtype: torch.dtype) -> None:
        """Weights of convolutions and linear layers are cast once, to what autocast casts to."""
        super().__init__()
        self.model, self.device, self.dtype = model, device, dtype
        for layer in model.modules():
            if type(layer) in (nn.Conv2d, nn.Linear):  # what derives from them may need float32
                layer.to(dtype)

    def forward(self, pixels: Tensor) -> Tensor:
        """As the network's own."""
        with torch.autocast(self.device, dtype=self.dtype):
            logits: Tensor = self.model(pixels)
        return logits.float()


class Tf32(nn.Module):
    """A network whose products take 10 bits of each number, where the GPU has TF32 units."""

    def __init__(self, model: nn.Module) -> None:
        """The model stays as it is."""
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        """As the network's own; what the process had allowed before holds again after it."""
        before = _allowed()
        _allow(conv=True, matmul=True)
        try:
            logits: Tensor = self.model(pixels)
        finally:
            _allow(**before)
        return logits


def _allowed() -> dict[str, bool]:
    matmul = torch.backends.cuda.matmul.allow_tf32
    return {"conv": torch.backends.cudnn.allow_tf32, "matmul": matmul}


def _allow(*, conv: bool, matmul: bool) -> None:
    torch.backends.cudnn.allow_tf32 = conv
    torch.backends.cuda.matmul.allow_tf32 = matmul
