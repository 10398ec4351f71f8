"""Makes the vectors beside this file: `pip install gguf==0.19.0 numpy`, then `python make.py`.

NAME.blocks   512 weights in the format NAME: random bits, scales of ordinary size
NAME.f32      the same weights as decoded by the gguf package, which shares no code with ggml's C
weights.f32   512 ordinary weights and a block of zeros
NAME.encoded  those weights, quantized by the gguf package (formats with one level of
              even scales)
"""

from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as T, quants

HERE = Path(__file__).parent
rng = np.random.default_rng(20240917)

# Format: bytes of one block, weights in it, and where its f16 scales lie.
FORMATS = {
    "bf16": (T.BF16, 2, 1, []),
    "q4_0": (T.Q4_0, 18, 32, [0]),
    "q4_1": (T.Q4_1, 20, 32, [0, 2]),
    "q5_0": (T.Q5_0, 22, 32, [0]),
    "q5_1": (T.Q5_1, 24, 32, [0, 2]),
    "q8_0": (T.Q8_0, 34, 32, [0]),
    "q2_k": (T.Q2_K, 84, 256, [80, 82]),
    "q3_k": (T.Q3_K, 110, 256, [108]),
    "q4_k": (T.Q4_K, 144, 256, [0, 2]),
    "q5_k": (T.Q5_K, 176, 256, [0, 2]),
    "q6_k": (T.Q6_K, 210, 256, [208]),
    # Last, so that the random bits of the others stay the same.
    "iq4_nl": (T.IQ4_NL, 18, 32, [0]),
    "iq4_xs": (T.IQ4_XS, 136, 256, [0]),
    "iq3_xxs": (T.IQ3_XXS, 98, 256, [0]),
    "iq3_s": (T.IQ3_S, 110, 256, [0]),
    "iq2_xxs": (T.IQ2_XXS, 66, 256, [0]),
    "iq2_xs": (T.IQ2_XS, 74, 256, [0]),
    "iq2_s": (T.IQ2_S, 82, 256, [0]),
}

weights = (rng.standard_normal(544) * 0.05).astype(np.float32)
weights[512:] = 0.0
weights.tofile(HERE / "weights.f32")

for name, (kind, size, count, scales) in FORMATS.items():
    if name == "bf16":
        blocks = (rng.standard_normal(512).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        blocks = blocks.view(np.uint8).reshape(-1, size)
    else:
        blocks = rng.integers(0, 256, (512 // count, size), dtype=np.uint8)
        for at in scales:
            values = (rng.standard_normal(len(blocks)) * 0.01).astype(np.float16)
            blocks[:, at : at + 2] = values.view(np.uint8).reshape(-1, 2)
    blocks.tofile(HERE / f"{name}.blocks")
    quants.dequantize(blocks.reshape(1, -1), kind).astype(np.float32).tofile(HERE / f"{name}.f32")
    if count <= 32 and name != "iq4_nl":
        quants.quantize(weights.reshape(1, -1), kind).tofile(HERE / f"{name}.encoded")
