"""A stand-in for a model server that speaks the Open Inference Protocol over gRPC, with the messages that tritonclient brings.

    python inference.py MODEL...     takes a free port and prints `listening on HOST:PORT`

A model named here answers with its input doubled and with its own name; any other is NOT_FOUND. An input that begins with 666 fails as
a model does: INTERNAL, and in a stream a reply with an error message, after which the stream goes on, as Triton has it.
"""

import sys
from concurrent import futures

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

LARGEST = 256 << 20
OPTIONS = [("grpc.max_receive_message_length", LARGEST), ("grpc.max_send_message_length", LARGEST)]
FAILING = 666


class Failed(Exception):
    pass


class Service(service_pb2_grpc.GRPCInferenceServiceServicer):
    def __init__(self, models):
        self.models = models

    def ServerLive(self, request, context):
        return pb.ServerLiveResponse(live=True)

    def ServerReady(self, request, context):
        return pb.ServerReadyResponse(ready=True)

    def ModelReady(self, request, context):
        return pb.ModelReadyResponse(ready=request.name in self.models)

    def ModelMetadata(self, request, context):
        self.check(request.name, context)
        return pb.ModelMetadataResponse(name=request.name, versions=["1"], platform="stand-in")

    def ModelInfer(self, request, context):
        self.check(request.model_name, context)
        try:
            return infer(request)
        except Failed as error:
            context.abort(grpc.StatusCode.INTERNAL, str(error))

    def ModelStreamInfer(self, requests, context):
        for request in requests:
            self.check(request.model_name, context)
            try:
                yield pb.ModelStreamInferResponse(infer_response=infer(request))
            except Failed as error:
                yield pb.ModelStreamInferResponse(error_message=str(error), infer_response=pb.ModelInferResponse(id=request.id))

    def check(self, model, context):
        if model not in self.models:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model {model!r}")


def infer(request):
    data = np.frombuffer(request.raw_input_contents[0], dtype=np.float32)
    if data.size and data[0] == FAILING:
        raise Failed("simulated model failure")
    answer = pb.ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)
    answer.outputs.add(name="y", datatype="FP32", shape=request.inputs[0].shape)
    answer.raw_output_contents.append((data * 2).tobytes())
    return answer


def main():
    server = grpc.server(futures.ThreadPoolExecutor(64), options=OPTIONS)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Service(set(sys.argv[1:])), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


main()
