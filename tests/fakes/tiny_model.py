"""A language model small enough to be made on the spot: real files, real formats, random weights.

Needs torch, transformers, tokenizers and safetensors, which only the environment of the tests
marked `vllm` has. What it says is gibberish, but it has a vocabulary, a chat template and a context
like any other model, so whatever serves models serves it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

VOCABULARY: Final = 1024
CONTEXT_TOKENS: Final = 1024
LAYERS: Final = 2
HIDDEN: Final = 128
HEADS: Final = 4
KEY_VALUE_HEADS: Final = 2
MLP: Final = 256
HEAD_DEVIATION: Final = 0.2
"""Standard deviation of the output layer: how sure the model is of its gibberish."""
ADAPTER_RANK: Final = 4
ADAPTER_SCALE: Final = 8.0
"""Weight of an adapter's random update; large, so that its replies differ from the base model's."""

CHATML: Final = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
WORDS: Final = tuple(
    f"{first}{middle}{last}"
    for first in ("ba", "ko", "tri", "lu", "me", "sha", "no", "ve", "gi", "po", "dra", "fe")
    for middle in ("r", "ll", "nt", "s", "ck", "m", "pp", "d")
    for last in ("a", "o", "ing", "er", "ed", "ly", "est", "ion", "um", "ish")
)
"""Made-up words, enough of them to learn the whole vocabulary from."""


def make_tiny_model(
    folder: Path,
    *,
    seed: int = 0,
    context_tokens: int = CONTEXT_TOKENS,
    texts: Sequence[str] = WORDS,
) -> Path:
    """Write a Qwen2 of random weights with its tokenizer, and return `folder`.

    Args:
        folder: where to.
        seed: seed of the weights.
        context_tokens: longest prompt and reply.
        texts: what the vocabulary is learned from.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = _train_tokenizer(texts, context_tokens)
    ends = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=MLP,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_VALUE_HEADS,
        max_position_embeddings=context_tokens,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=ends[1],
        pad_token_id=ends[0],
        dtype="float32",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
        # Fresh weights predict every token alike, and then a seed alone would decide what is said.
        torch.nn.init.normal_(model.lm_head.weight, std=HEAD_DEVIATION)
    # Ends and other special tokens stay as rare as in fresh weights, or many replies were empty.
    torch.nn.init.zeros_(model.lm_head.weight[: len(SPECIAL)])
    model.generation_config.eos_token_id = ends
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tiny_adapter(folder: Path, *, seed: int) -> Path:
    """Write a LoRA adapter of random weights for the tiny model, in PEFT's format."""
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    head = HIDDEN // HEADS
    shapes = {"q_proj": (HIDDEN, HIDDEN), "v_proj": (HIDDEN, head * KEY_VALUE_HEADS)}
    weights = {}
    for layer in range(LAYERS):
        for name, (inputs, outputs) in shapes.items():
            prefix = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            down = torch.randn(ADAPTER_RANK, inputs, generator=generator)
            up = torch.randn(outputs, ADAPTER_RANK, generator=generator)
            weights[f"{prefix}.lora_A.weight"] = down
            weights[f"{prefix}.lora_B.weight"] = up
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, str(folder / "adapter_model.safetensors"))
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "tiny",
        "r": ADAPTER_RANK,
        "lora_alpha": ADAPTER_SCALE * ADAPTER_RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(shapes),
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    return folder


def _train_tokenizer(texts: Sequence[str], context_tokens: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    letters = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=letters,
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join((*texts, *texts))], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=context_tokens,
    )
    fast.chat_template = CHATML
    return fast
