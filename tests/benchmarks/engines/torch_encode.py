"""sentence-transformers, as its documentation shows it."""

from collections.abc import Sequence

import numpy as np

from tests.benchmarks.engines.engine import Engine, Rows, Setting

BATCH = 32


class Encode(Engine):
    """In float32, or with the weights in another precision of torch."""

    def __init__(self, setting: Setting, precision: str) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(setting.cores)
        self._model = SentenceTransformer(
            str(setting.model), device="cpu", model_kwargs={"dtype": getattr(torch, precision)}
        )

    def embed(self, texts: Sequence[str]) -> Rows:
        """In batches of 32."""
        found = self._model.encode(
            list(texts), batch_size=BATCH, show_progress_bar=False, convert_to_tensor=True
        )
        rows: Rows = found.float().numpy().astype(np.float32, copy=False)
        return rows
