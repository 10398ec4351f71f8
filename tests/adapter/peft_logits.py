"""Logits of Hugging Face's PEFT, for tests/adapter/python.rs.

Reads one JSON object from the file named first: the model `base`, token `ids`, adapters to `load`
(directories) and to `make` (`out`, a directory; `config`, the arguments of LoraConfig; `dtype`, of
the file). Writes a safetensors file `logits` with one tensor for the base and one for each
adapter, named by its directory.
"""

import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import safetensors.torch
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model

request = json.load(open(sys.argv[1]))
ids = torch.tensor([request["ids"]])
logits = {}


def base():
    return transformers.AutoModelForCausalLM.from_pretrained(
        request["base"], dtype=torch.float32, attn_implementation="eager"
    )


def run(name, model):
    with torch.no_grad():
        logits[name] = model.eval()(ids).logits[0].contiguous()


run("base", base())

for folder in request["load"]:
    model = PeftModel.from_pretrained(base(), folder)
    # PEFT only warns of what it does not find or does not know: every factor must have arrived.
    names = set(safetensors.torch.load_file(folder + "/adapter_model.safetensors"))
    found = {name.replace(".default", "") for name in model.state_dict() if ".lora_" in name}
    assert found == names, sorted(found ^ names)[:4]
    run(folder, model)

for number, make in enumerate(request["make"]):
    torch.manual_seed(number)
    model = get_peft_model(base(), LoraConfig(task_type="CAUSAL_LM", **make["config"]))
    dtype = getattr(torch, make.get("dtype", "float32"))
    for name, parameter in model.named_parameters():
        if ".lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
        if ".lora_" in name:
            # What the file holds is what the logits are of.
            parameter.data = parameter.data.to(dtype).float()
    model.save_pretrained(make["out"])
    path = make["out"] + "/adapter_model.safetensors"
    tensors = safetensors.torch.load_file(path)
    safetensors.torch.save_file({name: tensor.to(dtype) for name, tensor in tensors.items()}, path)
    run(make["out"], model)

safetensors.torch.save_file(logits, request["logits"])
