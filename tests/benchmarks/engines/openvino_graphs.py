"""OpenVINO on the exported graph: float32, bf16 by hint, or NNCF's int8."""

from collections.abc import Sequence
from typing import Any

from tests.benchmarks.engines.engine import Engine, Rows, Setting
from tests.benchmarks.engines.padded import Batch, Batches, gather, pool


class OpenVino(Engine):
    """`precision` is the inference precision; int8 is a graph of its own, what is left of it in bf16."""

    def __init__(self, setting: Setting, precision: str) -> None:
        import openvino

        quantized = precision == "int8"
        path = setting.exports / ("int8.xml" if quantized else "fp32.onnx")
        hints = {
            "INFERENCE_PRECISION_HINT": "bf16" if quantized else precision,
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_NUM_THREADS": setting.cores,
        }
        compiled = openvino.Core().compile_model(str(path), "CPU", hints)
        self._queue = openvino.AsyncInferQueue(compiled)
        self._queue.set_callback(self._finished)
        self._batches = Batches(setting.model)
        self._parts: list[tuple[Sequence[int], Rows]] = []

    def embed(self, texts: Sequence[str]) -> Rows:
        """As many batches at a time as OpenVINO's hint asks for."""
        self._parts = []
        for batch in self._batches.of(texts):
            self._queue.start_async(batch.inputs(), batch)
        self._queue.wait_all()
        return gather(len(texts), self._parts)

    def _finished(self, request: Any, batch: Batch) -> None:
        hidden = request.get_output_tensor(0).data
        self._parts.append((batch.places, pool(hidden, batch.mask)))
