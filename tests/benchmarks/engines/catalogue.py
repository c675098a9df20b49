"""Every engine that is compared, as data: where its class is, and how it was set up."""

from typing import Literal

from msgspec import Struct

Kind = Literal["ours", "rival"]  # whose environment it runs in


class Entry(Struct, frozen=True):
    """`place` is `module:Class`, `precision` its one argument.

    `speed` is a guess in tokens a second, for the time that is left; `setup` is for readers.
    """

    name: str
    kind: Kind
    place: str
    precision: str
    speed: int
    setup: str


BASELINE = "sentence-transformers fp32"
OURS = "tests.benchmarks.engines.ours:Ours"
ENCODE = "tests.benchmarks.engines.torch_encode:Encode"
ONNX = "tests.benchmarks.engines.onnx_sessions:Onnx"
OPENVINO = "tests.benchmarks.engines.openvino_graphs:OpenVino"
REQUESTS = "the server's request path in process, requests of up to 2,048 texts"
BATCH_32 = "SentenceTransformer.encode, batches of 32 (it sorts by length itself)"
EXPORTED = "torch.onnx export, all graph optimisations, sorted by length, batches of 16"
THROUGHPUT = "the same export, throughput hint, sorted by length, batches of 16"

ENTRIES = (
    Entry("ours fp32", "ours", OURS, "float32", 7_000, REQUESTS),
    Entry("ours bf16", "ours", OURS, "bfloat16", 15_000, REQUESTS),
    Entry(BASELINE, "rival", ENCODE, "float32", 4_000, BATCH_32),
    Entry("sentence-transformers bf16", "rival", ENCODE, "bfloat16", 9_000, BATCH_32),
    Entry("onnxruntime fp32", "rival", ONNX, "fp32", 7_000, EXPORTED),
    Entry("onnxruntime int8", "rival", ONNX, "int8", 14_000, f"{EXPORTED}; dynamic int8, scales per channel"),
    Entry("OpenVINO fp32", "rival", OPENVINO, "f32", 8_000, THROUGHPUT),
    Entry(
        "OpenVINO bf16", "rival", OPENVINO, "bf16", 12_000,
        f"{THROUGHPUT}, bf16 as inference precision",
    ),
    Entry(
        "OpenVINO int8", "rival", OPENVINO, "int8", 17_000,
        f"{THROUGHPUT}, NNCF post-training int8, 150 calibration texts, the rest in bf16",
    ),
)  # fmt: skip
