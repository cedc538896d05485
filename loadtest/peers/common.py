"""What the peers are told, and the session that each of them makes of it."""

import os

import onnxruntime

MODEL = os.environ["PEER_MODEL"]  # the ONNX file
NAME = os.environ["PEER_NAME"]  # where a protocol wants one
PORT = int(os.environ["PEER_PORT"])
GRPC_PORT = int(os.environ["PEER_GRPC_PORT"])
THREADS = int(os.environ["PEER_THREADS"])  # within a run of the engine
WORKERS = int(os.environ["PEER_WORKERS"])  # processes that compute, where the peer has such
BATCH = int(os.environ["PEER_BATCH"])  # requests that may be joined


def session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    return onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
