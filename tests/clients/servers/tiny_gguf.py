"""Writes a tiny llama-architecture GGUF with random weights: a real model file for a real llama.cpp, without a download.

    python tiny_gguf.py OUT [--width 64] [--layers 2]

The text is nonsense, but made of whole ASCII words, one token a word. One embedding dimension is held constant, so that the output row
of a token can act as a bias: words are likely, raw bytes and control tokens never come, the end of a sequence comes at about one
token in a hundred. A larger width and more layers decode slower.
"""

import argparse
import math

import numpy as np
from gguf import GGUFWriter, TokenType

CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
CONTEXT = 8192
HEADS = 4
END_CHANCE = 0.01
FIRST_WORD = 3 + 256  # after <unk>, <s>, </s> and the bytes


def vocabulary():
    words = {c + v + d + w for c in CONSONANTS for v in VOWELS for d in CONSONANTS[:4] for w in VOWELS[:2]}
    words = sorted(words)[:512]
    tokens = [b"<unk>", b"<s>", b"</s>", *(f"<0x{byte:02X}>".encode() for byte in range(256))]
    tokens += [("\u2581" + word).encode() for word in words]
    types = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL] + [TokenType.BYTE] * 256 + [TokenType.NORMAL] * len(words)
    return tokens, types


def describe(model, width, layers, tokens, types):
    model.add_name("tiny-random")
    model.add_context_length(CONTEXT)
    model.add_embedding_length(width)
    model.add_block_count(layers)
    model.add_feed_forward_length(2 * width)
    model.add_head_count(HEADS)
    model.add_head_count_kv(HEADS)
    model.add_rope_dimension_count(width // HEADS)
    model.add_layer_norm_rms_eps(1e-5)
    model.add_vocab_size(len(tokens))
    model.add_tokenizer_model("llama")
    model.add_token_list(tokens)
    model.add_token_scores([0.0] * FIRST_WORD + [-float(place) for place in range(len(tokens) - FIRST_WORD)])
    model.add_token_types(types)
    model.add_bos_token_id(1)
    model.add_eos_token_id(2)
    model.add_unk_token_id(0)
    model.add_add_bos_token(True)
    model.add_chat_template(TEMPLATE)


def weigh(model, width, layers, count):
    random = np.random.default_rng(1)

    def tensor(name, *shape, scale=0.02):
        model.add_tensor(name, (random.standard_normal(shape) * scale).astype(np.float32))

    embedding = random.standard_normal((count, width)).astype(np.float32)
    embedding[:, 0] = 8.0 * math.sqrt(width)  # the constant dimension
    model.add_tensor("token_embd.weight", embedding)
    for layer in range(layers):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensor(f"blk.{layer}.{part}.weight", width, width)
        for part, shape in (("ffn_gate", (2 * width, width)), ("ffn_up", (2 * width, width)), ("ffn_down", (width, 2 * width))):
            tensor(f"blk.{layer}.{part}.weight", *shape)
        for part in ("attn_norm", "ffn_norm"):
            model.add_tensor(f"blk.{layer}.{part}.weight", np.ones(width, np.float32))
    norm = np.full(width, 8.0, np.float32)  # the other dimensions back to about unit size
    norm[0] = 1.0
    model.add_tensor("output_norm.weight", norm)
    unit = math.sqrt(width)  # about what the last norm leaves in the constant dimension
    output = random.standard_normal((count, width)).astype(np.float32)
    output[:, 0] = 0.0
    output[:FIRST_WORD, 0] = -40.0 / unit
    output[2, :] = 0.0
    output[2, 0] = (math.log(END_CHANCE) + math.log(count - FIRST_WORD) + 0.4) / unit
    model.add_tensor("output.weight", output)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("out")
    arguments.add_argument("--width", type=int, default=64)
    arguments.add_argument("--layers", type=int, default=2)
    wish = arguments.parse_args()
    tokens, types = vocabulary()
    model = GGUFWriter(wish.out, "llama")
    describe(model, wish.width, wish.layers, tokens, types)
    weigh(model, wish.width, wish.layers, len(tokens))
    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()


if __name__ == "__main__":
    main()
