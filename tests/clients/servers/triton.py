"""A real Triton Inference Server (the binary in the wheel nvidia-pytriton), without GPU, with models of the Python backend.

    python triton.py FOLDER HTTP_PORT GRPC_PORT METRICS_PORT [GATE]

It writes its models into FOLDER and becomes tritonserver (exec), so that signals reach it directly. Triton cannot tell which port it got,
so it has to be told.

With a GATE it starts without models, ready as a server all the same, and affine, once it is asked for over Triton's API, loads until the
file GATE exists.

  affine  y = 2x + 1, FP32, batched; x[0] = 666 fails as a model does (HTTP 500, gRPC INTERNAL)
  echo    UINT8 of any size, back as it came
  sleeper answers after as many milliseconds as its INT32 input says
  ticker  decoupled: INT32 n in, n answers of INT32 i, over gRPC's ModelStreamInfer
"""

import os
import pathlib
import sys

import pytriton

AFFINE = """
import os, time
import triton_python_backend_utils as pb
class TritonPythonModel:
    def initialize(self, _):
        while GATE and not os.path.exists(GATE):
            time.sleep(0.01)
    def execute(self, requests):
        return [self.answer(pb.get_input_tensor_by_name(r, "x").as_numpy()) for r in requests]
    def answer(self, x):
        if x.size and x.flat[0] == 666:
            return pb.InferenceResponse(error=pb.TritonError("simulated model failure"))
        return pb.InferenceResponse([pb.Tensor("y", (x * 2 + 1).astype("float32"))])
"""
AFFINE_CONFIG = """
name: "affine" backend: "python" max_batch_size: 64
input [{ name: "x" data_type: TYPE_FP32 dims: [-1] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [-1] }]
instance_group [{ kind: KIND_CPU count: 1 }]
"""
ECHO = """
import triton_python_backend_utils as pb
class TritonPythonModel:
    def execute(self, requests):
        tensors = [pb.get_input_tensor_by_name(r, "data").as_numpy() for r in requests]
        return [pb.InferenceResponse([pb.Tensor("data", tensor)]) for tensor in tensors]
"""
ECHO_CONFIG = """
name: "echo" backend: "python" max_batch_size: 4
input [{ name: "data" data_type: TYPE_UINT8 dims: [-1] }]
output [{ name: "data" data_type: TYPE_UINT8 dims: [-1] }]
instance_group [{ kind: KIND_CPU count: 1 }]
"""
TICKER = """
import numpy as np
import triton_python_backend_utils as pb
class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            count = int(pb.get_input_tensor_by_name(request, "n").as_numpy().ravel()[0])
            for i in range(count):
                sender.send(pb.InferenceResponse([pb.Tensor("i", np.array([i], dtype=np.int32))]))
            sender.send(flags=pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""
TICKER_CONFIG = """
name: "ticker" backend: "python" max_batch_size: 0
model_transaction_policy { decoupled: true }
input [{ name: "n" data_type: TYPE_INT32 dims: [1] }]
output [{ name: "i" data_type: TYPE_INT32 dims: [1] }]
instance_group [{ kind: KIND_CPU count: 1 }]
"""
SLEEPER = """
import time
import triton_python_backend_utils as pb
class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(pb.get_input_tensor_by_name(r, "ms").as_numpy()) for r in requests]
    def answer(self, ms):
        time.sleep(int(ms[0]) / 1000)
        return pb.InferenceResponse([pb.Tensor("slept", ms)])
"""
SLEEPER_CONFIG = """
name: "sleeper" backend: "python" max_batch_size: 0
input [{ name: "ms" data_type: TYPE_INT32 dims: [1] }]
output [{ name: "slept" data_type: TYPE_INT32 dims: [1] }]
instance_group [{ kind: KIND_CPU count: 1 }]
"""
MODELS = {"affine": (AFFINE, AFFINE_CONFIG), "echo": (ECHO, ECHO_CONFIG), "ticker": (TICKER, TICKER_CONFIG), "sleeper": (SLEEPER, SLEEPER_CONFIG)}
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def write_models(folder, gate):
    # The backend's embedded Python ignores PYTHONPATH: every model says where numpy is.
    path = f"import sys\nsys.path[:0] = {[entry for entry in sys.path if entry.endswith('site-packages')]!r}\nGATE = {gate!r}\n"
    for name, (code, config) in MODELS.items():
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "1/model.py").write_text(path + code)
        (folder / name / "config.pbtxt").write_text(config)


def write_backend(home, folder):
    """The Python backend with the stub for this Python, which is linked to the system's libpython of the same version."""
    folder.mkdir(parents=True)
    stub = home / "python_backend_stubs" / PYTHON / "triton_python_backend_stub"
    files = [file for file in (home / "backends/python").iterdir() if file.is_file()]
    for file in [*files, stub]:
        (folder / file.name).symlink_to(file)


def main():
    folder, (http, grpc, metrics, *gate) = pathlib.Path(sys.argv[1]), sys.argv[2:]
    package = pathlib.Path(pytriton.__file__).parent
    home = package / "tritonserver"
    write_models(folder / "models", next(iter(gate), None))
    write_backend(home, folder / "backends/python")
    libraries = [home / "external_libs", package.parent / "nvidia_pytriton.libs"]
    environment = os.environ | {"LD_LIBRARY_PATH": ":".join(str(path) for path in libraries if path.exists())}
    program = str(home / "bin/tritonserver")
    options = {
        "model-repository": folder / "models",
        "backend-directory": folder / "backends",
        "http-address": "127.0.0.1",
        "http-port": http,
        "grpc-address": "127.0.0.1",
        "grpc-port": grpc,
        "metrics-port": metrics,
        "exit-timeout-secs": 2,
        "model-control-mode": "explicit" if gate else "none",
    }
    os.execve(program, [program, *(f"--{name}={value}" for name, value in options.items())], environment)


if __name__ == "__main__":
    main()
