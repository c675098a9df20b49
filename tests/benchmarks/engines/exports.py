"""The graphs that the rivals run, made once a run and outside of their processes.

python -m tests.benchmarks.engines.exports MODEL FOLDER, with calibration texts as JSON on stdin.
"""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.benchmarks.engines.padded import Batches

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OPSET = 17


def export(model: Path, target: Path) -> None:
    """ONNX with both axes free."""
    import torch
    from transformers import AutoModel

    encoder = AutoModel.from_pretrained(model, attn_implementation="eager").eval()

    class Hidden(torch.nn.Module):
        """The last hidden states only."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, *given: torch.Tensor) -> torch.Tensor:
            hidden: torch.Tensor = self.encoder(
                **dict(zip(INPUTS, given, strict=True)), return_dict=False
            )[0]
            return hidden

    ids = torch.ones(2, 8, dtype=torch.long)
    mask = ids.clone()
    mask[1, 4:] = 0  # a mask of ones alone is folded away by the newer exporter
    axes = {name: {0: "batch", 1: "tokens"} for name in (*INPUTS, "hidden")}
    with warnings.catch_warnings():
        # The newer exporter's graph is a tenth slower in both runtimes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Hidden(), (ids, mask, torch.zeros_like(ids)), str(target),
            input_names=[*INPUTS], output_names=["hidden"],
            dynamic_axes=axes, opset_version=OPSET, dynamo=False,
        )  # fmt: skip


def quantize_onnx(source: Path, target: Path) -> None:
    """Dynamic int8; scales per channel cost no speed and halve the error."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(str(source), str(target), weight_type=QuantType.QInt8, per_channel=True)


def quantize_openvino(source: Path, target: Path, model: Path, texts: Sequence[str]) -> None:
    """NNCF's post-training int8 for transformers, calibrated on single texts: no padding."""
    import nncf
    import openvino

    batches = Batches(model)
    singles = [batch.inputs() for text in texts for batch in batches.of([text])]
    quantized = nncf.quantize(
        openvino.Core().read_model(str(source)),
        nncf.Dataset(singles),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(singles),
    )
    openvino.save_model(quantized, str(target), compress_to_fp16=False)


def main() -> None:
    """All three, one after the other."""
    model, folder = Path(sys.argv[1]), Path(sys.argv[2])
    texts = msgspec.json.decode(sys.stdin.buffer.read(), type=list[str])
    whole = folder / "fp32.onnx"
    export(model, whole)
    quantize_onnx(whole, folder / "int8.onnx")
    quantize_openvino(whole, folder / "int8.xml", model, texts)


if __name__ == "__main__":
    main()
