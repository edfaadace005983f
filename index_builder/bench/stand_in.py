"""An encoder that takes next to no time, for measurements of everything else."""

from __future__ import annotations

from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import AutoTokenizer, BertConfig, BertModel

from server.retrieval.encoder.source import SAMPLE, encoder_path

_DIMENSION = 384
_LAYERS, _HEADS, _INNER, _MAX_TOKENS = 1, 4, 64, 256


def write_stand_in(folder: Path) -> Path:
    """A random BERT of one thin layer with the sample encoder's tokenizer and dimension, at `folder`."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(encoder_path(SAMPLE))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=_DIMENSION,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        intermediate_size=_INNER,
    )
    bert = folder / "bert"
    BertModel(config).save_pretrained(bert)
    tokenizer.save_pretrained(bert)
    transformer = Transformer(str(bert), max_seq_length=_MAX_TOKENS)
    SentenceTransformer(modules=[transformer, Pooling(_DIMENSION)], device="cpu").save(str(folder / "encoder"))
    return folder / "encoder"
