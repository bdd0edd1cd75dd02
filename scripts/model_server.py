"""llama.cpp's HTTP server for one GGUF file, on the loopback address: /v1/*, /tokenize, /props, /slots, /metrics, /health.

With MODEL_SERVER_API_KEY in the environment it answers only who shows that key (/health: everybody).
"""

import argparse
import os
import signal

import xllamacpp

# More threads than this make a 135M model slower, not faster.
MOST_THREADS = 8
PROCESSORS = min(os.cpu_count() or 1, MOST_THREADS)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="GGUF file")
    parser.add_argument("port", type=int)
    parser.add_argument("--alias", required=True, help="name of the model in /v1/models")
    parser.add_argument("--parallel", type=int, default=2, help="answers at the same time")
    parser.add_argument("--context", type=int, default=8192, help="tokens for each of them")
    parser.add_argument("--repeat-penalty", type=float, default=1.0, help="for requests that name none")
    parser.add_argument("--embed", action="store_true", help="vectors of texts instead of answers")
    return parser.parse_args()


def server_settings(options: argparse.Namespace) -> xllamacpp.CommonParams:
    settings = xllamacpp.CommonParams()
    settings.model.path = options.model
    settings.model_alias = {options.alias}
    settings.hostnames = ["127.0.0.1"]
    settings.port = options.port
    settings.n_parallel = options.parallel
    settings.n_ctx = options.context * options.parallel
    # After each layer all threads wait for the slowest, so one that gets no processor holds up the rest. Measured with 60
    # tokens beside other work on two processors: 1 to 6 tokens per second with two threads, 14 to 28 with one.
    settings.cpuparams.n_threads = max(1, PROCESSORS // 2)
    # Reading a prompt waits less often; it leaves one processor to Open WebUI and the sidecar.
    settings.cpuparams_batch.n_threads = max(1, PROCESSORS - 1)
    settings.sampling.penalty_repeat = options.repeat_penalty
    settings.use_jinja = True
    settings.endpoint_metrics = True
    settings.endpoint_slots = True
    settings.ui = False
    if options.embed:
        settings.embedding = True
        settings.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    settings.warmup = False  # the first answer is a little slower, the start is not
    # Every page in a browser may ask a server on the loopback address; a key keeps them out.
    key = os.environ.get("MODEL_SERVER_API_KEY")
    settings.api_keys = [key] if key else []
    return settings


def main() -> None:
    server = xllamacpp.Server(server_settings(read_options()))
    print("listening on", server.listening_address, flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
