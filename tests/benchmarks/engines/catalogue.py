"""Every engine that is compared, as data: where its class is, and how it was set up."""

from typing import Literal

from msgspec import Struct

Kind = Literal["ours", "rival"]  # whose environment it runs in


class Entry(Struct, frozen=True):
    """`place` is `module:Class` below this package, `precision` its one argument.

    `speed` is a guess in tokens a second, for the time that is left; `setup` is for readers.
    """

    name: str
    kind: Kind
    place: str
    precision: str
    speed: int
    setup: str


BASELINE = "sentence-transformers fp32"
REQUESTS = "the server's request path in process, requests of up to 2,048 texts"
BATCH_32 = "SentenceTransformer.encode, batches of 32 (it sorts by length itself)"
ONNX = "torch.onnx export, all graph optimisations, sorted by length, batches of 16"
OPENVINO = "the same export, throughput hint, sorted by length, batches of 16"

ENTRIES = (
    Entry("ours fp32", "ours", "ours:Ours", "float32", 7_000, REQUESTS),
    Entry("ours bf16", "ours", "ours:Ours", "bfloat16", 15_000, REQUESTS),
    Entry("ours int8", "ours", "ours:Ours", "int8", 20_000, REQUESTS),
    Entry(BASELINE, "rival", "torch_encode:Encode", "float32", 4_000, BATCH_32),
    Entry("sentence-transformers bf16", "rival", "torch_encode:Encode", "bfloat16", 9_000, BATCH_32),
    Entry("onnxruntime fp32", "rival", "onnx_sessions:Onnx", "fp32", 7_000, ONNX),
    Entry("onnxruntime int8", "rival", "onnx_sessions:Onnx", "int8", 14_000, f"{ONNX}; dynamic int8, scales per channel"),
    Entry("OpenVINO fp32", "rival", "openvino_graphs:OpenVino", "f32", 8_000, OPENVINO),
    Entry(
        "OpenVINO bf16", "rival", "openvino_graphs:OpenVino", "bf16", 12_000,
        f"{OPENVINO}, bf16 as inference precision",
    ),
    Entry(
        "OpenVINO int8", "rival", "openvino_graphs:OpenVino", "int8", 17_000,
        f"{OPENVINO}, NNCF post-training int8, 150 calibration texts, the rest in bf16",
    ),
)  # fmt: skip
