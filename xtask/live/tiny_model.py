"""A language model of half a megabyte whose weights come from a seed, as a GGUF file for llama.cpp.

Usage: tiny_model.py FILE. The model says nothing that makes sense; what is real is the server that runs it.
"""

import sys

import gguf
import numpy as np

EMBEDDING, HEADS, LAYERS, FEED_FORWARD, CONTEXT = 64, 4, 2, 128, 2048
BEGIN, END = "<|im_start|>", "<|im_end|>"
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def letters() -> list[str]:
    """The letter that stands for each byte in a vocabulary of GPT-2's kind."""
    own = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in own else chr(next(others)) for byte in range(0x100)]


def main(path: str) -> None:
    tokens = [*letters(), BEGIN, END, "th", "he", "in", "er"]
    control = {BEGIN, END}
    kinds = [gguf.TokenType.CONTROL if token in control else gguf.TokenType.NORMAL for token in tokens]

    model = gguf.GGUFWriter(path, "llama")
    model.add_name("tiny")
    model.add_context_length(CONTEXT)
    model.add_embedding_length(EMBEDDING)
    model.add_block_count(LAYERS)
    model.add_feed_forward_length(FEED_FORWARD)
    model.add_head_count(HEADS)
    model.add_head_count_kv(HEADS)
    model.add_layer_norm_rms_eps(1e-5)
    model.add_rope_dimension_count(EMBEDDING // HEADS)
    model.add_vocab_size(len(tokens))
    model.add_tokenizer_model("gpt2")
    model.add_tokenizer_pre("gpt-2")
    model.add_token_list(tokens)
    model.add_token_types(kinds)
    model.add_token_merges([f"{token[0]} {token[1]}" for token in tokens if len(token) == 2])
    model.add_bos_token_id(tokens.index(BEGIN))
    model.add_eos_token_id(tokens.index(END))
    model.add_add_bos_token(False)
    model.add_chat_template(TEMPLATE)

    random = np.random.default_rng(7)

    def weights(name: str, *shape: int) -> None:
        model.add_tensor(f"{name}.weight", random.normal(0, 0.4, shape).astype(np.float32))

    def ones(name: str) -> None:
        model.add_tensor(f"{name}.weight", np.ones(EMBEDDING, np.float32))

    weights("token_embd", len(tokens), EMBEDDING)
    weights("output", len(tokens), EMBEDDING)
    ones("output_norm")
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        ones(block + "attn_norm")
        ones(block + "ffn_norm")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weights(block + part, EMBEDDING, EMBEDDING)
        weights(block + "ffn_gate", FEED_FORWARD, EMBEDDING)
        weights(block + "ffn_up", FEED_FORWARD, EMBEDDING)
        weights(block + "ffn_down", EMBEDDING, FEED_FORWARD)
    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()


if __name__ == "__main__":
    main(sys.argv[1])
