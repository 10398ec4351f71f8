"""Writes lora/lora_f64.{json,safetensors}: the run of lora/lora.json again, in double precision.

PyTorch's own single precision is up to 9e-5 (gradients) and 1.1e-3 (weights after four steps of AdamW,
which divides by the size of small gradients) away from these values; so these are what a tight bound
can be held against. Needs torch, transformers, peft, gguf; the argument is SmolLM2's GGUF file."""
import json, pathlib, sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

here = pathlib.Path(__file__).parent / "lora"
model_path = pathlib.Path(sys.argv[1])
run = json.loads((here / "lora.json").read_text())
wanted = load_file(here / "lora_grads.safetensors")
base = AutoModelForCausalLM.from_pretrained(model_path.parent, gguf_file=model_path.name, dtype=torch.float32)
config = LoraConfig(r=run["r"], lora_alpha=run["alpha"], target_modules=run["targets"], lora_dropout=0.0, bias="none")
model = get_peft_model(base.double(), config)
learning = {name.replace(".default", ""): p for name, p in model.named_parameters() if p.requires_grad}
for name, value in load_file(here / "lora_init.safetensors").items():
    learning[name].data.copy_(value.double())
settings = run["optimizer"]
optimizer = torch.optim.AdamW(learning.values(), lr=settings["lr"], betas=settings["betas"],
                              eps=settings["eps"], weight_decay=settings["weight_decay"])
targets = sum(sum(row["loss_mask"]) for row in run["batch"])
losses, norms, found = [], [], {}
for step in range(4):
    optimizer.zero_grad()
    total = 0.0
    for row in run["batch"]:
        ids = torch.tensor([row["ids"]])
        logprobs = torch.log_softmax(model(input_ids=ids).logits[0, :-1], -1)
        next_ids, mask = ids[0, 1:], torch.tensor(row["loss_mask"][1:], dtype=torch.float64)
        loss = -(logprobs[torch.arange(len(next_ids)), next_ids] * mask).sum() / targets
        loss.backward()
        total += loss.item()
    losses.append(total)
    if step == 0:
        found.update({"grad." + name: p.grad.float().clone() for name, p in learning.items()})
    norms.append(torch.nn.utils.clip_grad_norm_(learning.values(), settings["max_grad_norm"]).item())
    optimizer.step()
found.update({"after4." + name: p.data.float() for name, p in learning.items()})
save_file({name: found[name].contiguous() for name in wanted}, here / "lora_f64.safetensors")
(here / "lora_f64.json").write_text(json.dumps({"losses_before_steps_0_to_3": losses, "grad_norms_before_clip": norms}))
