"""Learned codecs: an autoencoder, a density of its whole-numbered latents, a coder of their bits.

- `codecs`: BLS (Balle, Laparra and Simoncelli 2017) and BMHJ (scale hyperprior, 2018);
- `gdn`, `density`: their layers; `coder`: latents to strings of bits and back, exactly;
- `names`: a codec as one text, such as "bls:lambda=0.012".
"""

from core.learned.codecs import BLS, BMHJ, KINDS, Codec, blank, from_tensors, to_tensors

__all__ = ["BLS", "BMHJ", "KINDS", "Codec", "blank", "from_tensors", "to_tensors"]
