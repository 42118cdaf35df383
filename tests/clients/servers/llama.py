"""A real llama.cpp server (from the wheel xllamacpp) on a model file; takes a free port and prints `listening on HOST:PORT`.

    python llama.py MODEL [--embedding]

It has four slots of 2,048 tokens. The wheel has no graceful stop: SIGTERM breaks running answers off.
"""

import argparse
import signal

import xllamacpp


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("model")
    arguments.add_argument("--embedding", action="store_true", help="serve /v1/embeddings instead of generation")
    wish = arguments.parse_args()
    settings = xllamacpp.CommonParams()
    settings.model.path = wish.model
    settings.model_alias = {"tiny"}
    settings.hostnames = ["127.0.0.1"]
    settings.port = 0
    settings.n_parallel = 4
    settings.n_ctx = 4 * 2048
    settings.cpuparams.n_threads = 1
    settings.cpuparams_batch.n_threads = 1
    settings.n_gpu_layers = 0
    # Each open connection holds a thread, idle ones too; with the default of a few, a burst waits for seconds until others are closed.
    settings.n_threads_http = 128
    settings.endpoint_metrics = True
    settings.verbosity = 1
    if wish.embedding:
        settings.embedding = True
        settings.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(settings)
    print("listening on", server.listening_address.removeprefix("http://"), flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
