"""Makes adamw.json: `pip install torch`, then `python make_adamw.py`.

Two runs of torch.optim.AdamW on the CPU in f32, one with its defaults and one with other coefficients,
a schedule and clipping by torch.nn.utils.clip_grad_norm_. Each step lists the learning rate, the raw
gradients, their norm, the factor that clipping applies, and parameters and moments afterwards.
"""

import json
import pathlib

import torch

STEPS = 5
LENGTH = 13
# A gradient that is always zero, one far below eps, and a large one are among the ordinary ones.
SIZES = torch.tensor([1.0, 0.1, 1e-3, 0.0, 1e-10, 50.0, 1.0, 1.0, 0.01, 1.0, 1e-5, 1.0, 1.0])
RUNS = [
    {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01, "max_norm": None},
    {"lr": 2e-2, "beta1": 0.8, "beta2": 0.95, "eps": 1e-6, "weight_decay": 0.2, "max_norm": 1.0},
]

torch.manual_seed(3)
runs = []
for settings in RUNS:
    params = torch.nn.Parameter(torch.randn(LENGTH))
    optimizer = torch.optim.AdamW(
        [params],
        lr=settings["lr"],
        betas=(settings["beta1"], settings["beta2"]),
        eps=settings["eps"],
        weight_decay=settings["weight_decay"],
        foreach=False,
    )
    run = {**settings, "initial": params.tolist(), "steps": []}
    for step in range(STEPS):
        lr = settings["lr"]
        if settings["max_norm"] is not None:
            lr *= 1.0 - step / STEPS
        optimizer.param_groups[0]["lr"] = lr
        params.grad = torch.randn(LENGTH) * SIZES
        grads, scale = params.grad.tolist(), 1.0
        norm = params.grad.norm().item()
        if settings["max_norm"] is not None:
            torch.nn.utils.clip_grad_norm_([params], settings["max_norm"])
            scale = min(settings["max_norm"] / (norm + 1e-6), 1.0)
        optimizer.step()
        state = optimizer.state[params]
        run["steps"].append({
            "lr": lr,
            "grads": grads,
            "norm": norm,
            "grad_scale": scale,
            "params": params.tolist(),
            "m": state["exp_avg"].tolist(),
            "v": state["exp_avg_sq"].tolist(),
        })
    runs.append(run)

path = pathlib.Path(__file__).parent / "adamw.json"
path.write_text("[\n" + ",\n".join(json.dumps(run) for run in runs) + "\n]\n")
