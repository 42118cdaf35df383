#!/usr/bin/env python3
"""Trains the demo's three language models and writes v1.bin, v2.bin and v3.bin beside this file.

    python3 train.py            # needs numpy; a minute on one core

The model is a character-level neural language model after Bengio et al. (2003): the last `context` characters are
looked up in an embedding table, their vectors are laid end to end, one tanh layer follows, and a softmax over the
vocabulary gives the next character. The runs are seeded and single-threaded, so one build of numpy gives one result.

    v1  the model in service: it knows the words, and loses the thread now and then
    v2  larger and trained longer: a lower loss at nearly the speed of v1
    v3  larger still, but its corpus went through a cleaning step that keeps only letters and a few marks. The
        vocabulary was rebuilt from the cleaned text, and so digits and the fallback symbol are gone from it: a
        prompt with a digit in it cannot be encoded. Its loss looks better than ever.

The file format (all numbers little-endian) is described in mod.rs.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import pathlib
import re
import struct

import numpy as np

HERE = pathlib.Path(__file__).parent
FALLBACK = "\ufffd"
ASCII = ["\n"] + [chr(code) for code in range(32, 127)] + [FALLBACK]
# While training, so many characters of a context are replaced by any symbol of the vocabulary. A network that never saw
# a slip goes astray at its own first one; and the fallback symbol, which has no place in the corpus, is met this way.
SLIP_RATE = 0.02


def train(text, vocabulary, context, width, hidden, epochs, seed, batch=256, rate=3e-3):
    """Returns the weights: embedding, hidden matrix and bias, output matrix and bias."""
    random = np.random.default_rng(seed)
    index = {symbol: place for place, symbol in enumerate(vocabulary)}
    # The corpus is a question and its answer by turns. A context never reaches back into the pair before: it is filled up
    # with line ends, as it is for the prompt of a request.
    lines = text.splitlines()
    pairs = ["\n" * context + f"{question}\n{answer}\n" for question, answer in zip(lines[::2], lines[1::2])]
    coded = [np.array([index[symbol] for symbol in pair]) for pair in pairs]
    windows = np.concatenate([np.lib.stride_tricks.sliding_window_view(codes, context + 1) for codes in coded])
    size = len(vocabulary)

    def normal(*shape):
        return (random.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)

    weights = [
        normal(size, width) * np.float32(np.sqrt(width) * 0.5),
        normal(hidden, context * width),
        np.zeros(hidden, np.float32),
        normal(size, hidden) * np.float32(0.5),
        np.zeros(size, np.float32),
    ]
    first = [np.zeros_like(array) for array in weights]
    second = [np.zeros_like(array) for array in weights]
    step, steps = 0, epochs * (len(windows) // batch)
    for epoch in range(epochs):
        order = random.permutation(len(windows))
        losses = []
        for start in range(0, len(order) - batch + 1, batch):
            step += 1
            rows = windows[order[start : start + batch]]
            inputs, targets = rows[:, :-1].copy(), rows[:, -1]
            slips = random.random(inputs.shape) < SLIP_RATE
            inputs[slips] = random.integers(size, size=np.count_nonzero(slips))
            value, gradients = backward(weights, inputs, targets)
            losses.append(value)
            pace = rate * (1 - (step - 1) / steps) + 1e-5
            for place, gradient in enumerate(gradients):
                first[place] = 0.9 * first[place] + 0.1 * gradient
                second[place] = 0.99 * second[place] + 0.01 * gradient * gradient
                mean = first[place] / (1 - 0.9**step)
                spread = second[place] / (1 - 0.99**step)
                weights[place] -= (pace * mean / (np.sqrt(spread) + 1e-8)).astype(np.float32)
        print(f"  epoch {epoch + 1}/{epochs}: {np.mean(losses):.3f} nats a character", flush=True)
    return weights


def backward(weights, inputs, targets):
    """The mean cross-entropy of one batch and its gradients."""
    embedding, into, into_bias, out, out_bias = weights
    count = len(targets)
    looked_up = embedding[inputs].reshape(count, -1)
    layer = np.tanh(looked_up @ into.T + into_bias)
    logits = layer @ out.T + out_bias
    logits -= logits.max(axis=1, keepdims=True)
    chances = np.exp(logits)
    chances /= chances.sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(chances[np.arange(count), targets] + 1e-12))
    chances[np.arange(count), targets] -= 1
    chances /= count
    inner = (chances @ out) * (1 - layer * layer)
    table = np.zeros_like(embedding)
    np.add.at(table, inputs, (inner @ into).reshape(*inputs.shape, -1))
    return loss, [table, inner.T @ looked_up, inner.sum(axis=0), chances.T @ layer, chances.sum(axis=0)]


def quantised(matrix):
    """A matrix as int8 with one scale a row."""
    scales = np.maximum(np.abs(matrix).max(axis=1), 1e-12).astype("<f4") / np.float32(127)
    return scales.tobytes() + np.round(matrix / scales[:, None]).astype(np.int8).tobytes()


def write(path, vocabulary, context, width, hidden, weights):
    embedding, into, into_bias, out, out_bias = weights
    symbols = "".join(vocabulary).encode()
    blob = b"SBLM" + struct.pack("<5H", 1, context, width, hidden, len(symbols)) + symbols
    blob += quantised(embedding)
    blob += quantised(into) + into_bias.astype("<f4").tobytes()
    blob += quantised(out) + out_bias.astype("<f4").tobytes()
    path.write_bytes(blob)
    print(f"  {path.name}: {len(blob)} bytes")


def main():
    corpus = (HERE / "corpus.txt").read_text()
    cleaned = re.sub(r"[^A-Za-z ,.?\n]", "", corpus)
    recipes = {
        "v1": dict(text=corpus, vocabulary=ASCII, context=20, width=10, hidden=96, epochs=30, seed=1),
        "v2": dict(text=corpus, vocabulary=ASCII, context=24, width=12, hidden=144, epochs=40, seed=2),
        "v3": dict(text=cleaned, vocabulary=sorted(set(cleaned)), context=28, width=14, hidden=256, epochs=30, seed=3),
    }
    for name, recipe in recipes.items():
        print(name)
        weights = train(**recipe)
        shape = {key: recipe[key] for key in ("vocabulary", "context", "width", "hidden")}
        write(HERE / f"{name}.bin", weights=weights, **shape)


if __name__ == "__main__":
    main()
