"""onnxruntime on the exported graph, in float32 or dynamic int8."""

from collections.abc import Sequence

from tests.benchmarks.engines.engine import Engine, Rows, Setting
from tests.benchmarks.engines.padded import Batches, gather, pool


class Onnx(Engine):
    """`precision` is the export's: fp32 or int8."""

    def __init__(self, setting: Setting, precision: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = setting.cores
        options.add_session_config_entry("session.force_spinning_stop", "1")  # between rounds
        path = setting.exports / f"{precision}.onnx"
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._batches = Batches(setting.model)

    def embed(self, texts: Sequence[str]) -> Rows:
        """One batch after the other, each on all cores."""
        parts = [
            (batch.places, pool(self._session.run(None, batch.inputs())[0], batch.mask))
            for batch in self._batches.of(texts)
        ]
        return gather(len(texts), parts)
