"""Writes architectures/NAME/: tiny random models of every architecture that Parr loads, with PyTorch's values.

Each folder has a Hugging Face directory (config.json, model.safetensors in bf16) and expected.safetensors: ids, the
logits of every position, and for a LoRA of rank 4 on all projections its factors, and their gradients of the mean
negative log-likelihood of ids[1:]. Needs torch, transformers, peft; made with transformers 5.24 and peft 0.21."""
import json, pathlib, sys

import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

here = pathlib.Path(__file__).parent / "architectures"
SLIDING, FULL, CONV = "sliding_attention", "full_attention", "conv"
BASE = dict(
    vocab_size=160, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0,
)
LAYERS = [SLIDING, SLIDING, FULL]
FACTORS = dict(short_factor=[1.0, 1.1, 1.3, 1.7], long_factor=[1.5, 2.0, 4.0, 8.0])
# Name: configuration class, and what differs from BASE.
MODELS = {
    "qwen3": ("Qwen3Config", dict(head_dim=16, tie_word_embeddings=True)),
    "qwen2-mixed": ("Qwen2Config", dict(use_sliding_window=True, sliding_window=8, layer_types=[FULL, SLIDING, FULL])),
    "qwen3-yarn": ("Qwen3Config", dict(head_dim=16, rope_parameters=dict(
        rope_type="yarn", rope_theta=1e4, factor=4.0, original_max_position_embeddings=16))),
    "mistral-yarn": ("MistralConfig", dict(head_dim=16, sliding_window=None, rope_parameters=dict(
        rope_type="yarn", rope_theta=1e4, factor=8.0, original_max_position_embeddings=32, mscale=1.0,
        mscale_all_dim=0.5, beta_fast=16.0, beta_slow=2.0))),
    "llama-linear": ("LlamaConfig", dict(head_dim=16, attention_bias=True, mlp_bias=True, rope_parameters=dict(
        rope_type="linear", rope_theta=1e4, factor=4.0))),
    "llama-dynamic": ("LlamaConfig", dict(head_dim=16, max_position_embeddings=24, rope_parameters=dict(
        rope_type="dynamic", rope_theta=1e4, factor=2.0))),
    "gemma2": ("Gemma2Config", dict(head_dim=16, sliding_window=8, layer_types=[SLIDING, FULL, SLIDING],
        query_pre_attn_scalar=24, attn_logit_softcapping=2.0, final_logit_softcapping=3.0)),
    "gemma3": ("Gemma3TextConfig", dict(head_dim=16, sliding_window=8, layer_types=LAYERS, query_pre_attn_scalar=16,
        rope_parameters={FULL: dict(rope_type="linear", rope_theta=1e6, factor=8.0),
                         SLIDING: dict(rope_type="default", rope_theta=1e4)})),
    "smollm3": ("SmolLM3Config", dict(num_hidden_layers=4, no_rope_layers=[1, 1, 1, 0])),
    "phi3": ("Phi3Config", dict(rope_parameters=dict(
        rope_type="longrope", rope_theta=1e4, partial_rotary_factor=0.67, original_max_position_embeddings=32,
        **FACTORS), original_max_position_embeddings=32, max_position_embeddings=128)),
    "granite": ("GraniteConfig", dict(embedding_multiplier=3.0, attention_multiplier=0.2, residual_multiplier=0.4,
        logits_scaling=0.5)),
    "olmo2": ("Olmo2Config", dict()),
    "olmo3": ("Olmo3Config", dict(sliding_window=8, layer_types=LAYERS, rope_parameters={
        FULL: dict(rope_type="yarn", rope_theta=5e5, factor=4.0, original_max_position_embeddings=16),
        SLIDING: dict(rope_type="default", rope_theta=5e5)})),
    "lfm2": ("Lfm2Config", dict(layer_types=[CONV, FULL, CONV, CONV], num_hidden_layers=4, intermediate_size=100,
        block_multiple_of=16, tie_word_embeddings=True, rope_theta=1e6)),
    # Widths that no vec4 divides, a layer of attention first, biases, and a longer filter.
    "lfm2-bias": ("Lfm2Config", dict(layer_types=[FULL, CONV, CONV], hidden_size=54, num_attention_heads=3,
        num_key_value_heads=1, intermediate_size=76, block_auto_adjust_ff_dim=False, conv_L_cache=4, conv_bias=True,
        tie_word_embeddings=False)),
}
# The index of a name is its seed. Later names come last, so that older folders stay as they are.
LATER = ["lfm2", "lfm2-bias"]
SEEDS = sorted(set(MODELS) - set(LATER)) + LATER


def make(name):
    kind, changes = MODELS[name]
    config = getattr(transformers, kind)(**{**BASE, **changes})
    config._attn_implementation = "eager"
    torch.manual_seed(SEEDS.index(name))
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            if "norm" in key:
                center = 0.0 if name.startswith("gemma") else 1.0
                value.copy_(center + 0.25 * torch.randn_like(value))
            elif key.endswith("bias"):
                value.copy_(0.5 * torch.randn_like(value))
            else:
                # Attention and gates must respond. The last axis of a convolution is its filter.
                wide = 0.3 if "embed" in key or "lm_head" in key else 2.0 / value.shape[-1] ** 0.5
                value.copy_(wide * torch.randn_like(value))
            value.copy_(value.to(torch.bfloat16).float())
    folder = here / name
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    # Not model.float(): the rotation's frequencies were rounded to bf16, too.
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model.eval()
    ids = torch.randint(3, 160, (1, 45), generator=torch.Generator().manual_seed(7))
    found = {"ids": ids[0].clone()}
    with torch.no_grad():
        found["logits"] = model(input_ids=ids, use_cache=False).logits[0].clone()
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    if name == "phi3":
        targets = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
    if name.startswith("lfm2"):
        targets = ["q_proj", "k_proj", "v_proj", "out_proj", "in_proj", "w1", "w2", "w3"]
    lora = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=targets, lora_dropout=0.0, bias="none"))
    learning = {key.replace(".default", ""): value for key, value in lora.named_parameters() if value.requires_grad}
    with torch.no_grad():
        for value in learning.values():
            value.copy_(0.1 * torch.randn_like(value))
    logprobs = torch.log_softmax(lora(input_ids=ids, use_cache=False).logits[0, :-1], -1)
    loss = -logprobs[torch.arange(44), ids[0, 1:]].mean()
    loss.backward()
    found["loss"] = loss.detach().reshape(1)
    for key, value in learning.items():
        found["init." + key] = value.data.clone()
        found["grad." + key] = value.grad.clone()
    save_file({key: value.contiguous() for key, value in found.items()}, folder / "expected.safetensors")
    print(name, "loss", loss.item(), "largest logit", found["logits"].abs().max().item())


for name in sys.argv[1:] or MODELS:
    make(name)
