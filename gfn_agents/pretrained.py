"""Causal language models with their tokenizers: from a folder, the hub, a GGUF file or a name that we know.

A model may have a low-rank adapter (LoRA, through peft) beside its weights. Then only the adapter is
trained and stored, and the model with the adapter switched off is the reference.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, GgufConfig
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging

from gfn_agents.default_policy import DEFAULT_POLICY_FOLDER
from gfn_agents.model_options import ModelOptions, check_model_options
from gfn_agents.smollm2 import smollm2_folder
from gfn_envs.agents import is_model_folder
from gfn_envs.hints import did_you_mean

ADAPTER_FILE, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
NAMED_MODELS: dict[str | Path, Callable[[], Path]] = {
    "default": lambda: DEFAULT_POLICY_FOLDER,
    "smollm2": smollm2_folder,
}
_DTYPES: dict[str, Any] = {"auto": "auto", "float32": torch.float32, "bfloat16": torch.bfloat16}
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, struct.error)


# -- loading ---------------------------------------------------------------------------------------
def load_pretrained(source: str | Path, options: ModelOptions = ModelOptions(), seed: int = 0) -> tuple[Any, Any]:
    """Returns a causal language model and its tokenizer.

    Args:
        source: a folder, a hub name, "default", "smollm2", or a file in a folder or hub repository whose name ends
            in .gguf. A folder with an adapter leads to the model that it was trained beside.
        options: type, device, adapter.
        seed: of a new adapter.

    Raises:
        ValueError: one sentence that says what is missing.
        ImportError: the options need a package that is not installed.
    """
    check_model_options(options)
    device = find_device(options.device)
    place = locate(source)
    if (Path(place) / ADAPTER_CONFIG).is_file():
        model, tokenizer = _load_with_adapter(Path(place), options, device)
    else:
        model, tokenizer = _load_plain(source, place, options, device)
        if options.use_peft:
            model = _add_adapter(model, source, options, seed)
    if options.gradient_checkpointing:
        checkpoint_layers(model)
    return model, tokenizer


def locate(source: str | Path) -> str | Path:
    """Returns the folder that a name stands for, and any other source as it is.

    Raises:
        ValueError: there is no such folder or file.
    """
    if source in NAMED_MODELS:
        return NAMED_MODELS[source]()
    path = Path(source)
    if path.suffix == ".gguf":
        if path.is_absolute() and not path.is_file():
            raise ValueError(f"there is no GGUF file '{source}'")
    elif path.is_dir():
        if not is_model_folder(path):
            policies = sorted(path.glob("checkpoints/step-*/policy")) or sorted(path.glob("policy"))
            remedy = f"; the policy of this run is in '{policies[-1]}'" if policies else ""
            raise ValueError(f"'{source}' is not a model folder: it has no config.json{remedy}")
    elif path.exists() or path.is_absolute() or str(source).count("/") > 1:
        raise ValueError(f"there is no model folder '{source}'")
    return source


def lasting_name(source: str | Path) -> str:
    """Returns a name of the same source that holds in any working folder."""
    local = source not in NAMED_MODELS and Path(source).exists()
    return str(Path(source).resolve() if local else source)


def find_device(name: str) -> torch.device:
    """Returns the device of a name; auto is the first GPU where there is one, and otherwise the CPU.

    Raises:
        ValueError: it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        here = ["auto", "cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise ValueError(f"there is no device {name!r} here; choose one of {', '.join(here)}") from None
    return device


def _load_plain(source: str | Path, place: str | Path, options: ModelOptions, device: torch.device) -> tuple[Any, Any]:
    """Returns model and tokenizer without an adapter."""
    quantisation, where, arguments = _quantisation(options), Path(place), {}
    what = f"'{source}' cannot be loaded as a causal language model"
    if where.suffix == ".gguf":
        if quantisation:
            raise ValueError(f"'{source}' is unpacked when it is read; leave load_in_8bit and load_in_4bit out")
        if find_spec("gguf") is None:
            raise ImportError("a GGUF file is read with the package gguf, which is missing: pip install gguf")
        quantisation, where, arguments = GgufConfig(dequantize=True), where.parent, {"gguf_file": where.name}
        what = f"'{source}' is not a whole GGUF file of a causal language model"
    name = str(where)
    with _one_sentence(what):
        if not arguments and AutoConfig.from_pretrained(name).is_encoder_decoder:
            raise ValueError("it is an encoder with a decoder")
    with _one_sentence(what if arguments else f"'{source}' has no tokenizer that can be read, such as tokenizer.json"):
        tokenizer = AutoTokenizer.from_pretrained(name, **arguments)
    with _one_sentence(what):
        model, report = AutoModelForCausalLM.from_pretrained(
            name,
            dtype=_DTYPES[options.dtype],
            use_safetensors=not arguments,
            quantization_config=quantisation,
            device_map={"": device},
            output_loading_info=True,
            **arguments,
        )
        if report["missing_keys"]:
            raise ValueError(f"it has no weights for {', '.join(sorted(report['missing_keys'])[:3])}")
        if not is_causal(model):
            raise ValueError("it is an encoder, which reads the words that are still to come")
    return model, tokenizer


def _quantisation(options: ModelOptions) -> Any:
    if not (options.load_in_8bit or options.load_in_4bit):
        return None
    if find_spec("bitsandbytes") is None:
        raise ImportError("weights in 8 or 4 bits need bitsandbytes, which is missing: pip install bitsandbytes")
    compute = torch.bfloat16 if options.dtype == "bfloat16" else torch.float32
    return BitsAndBytesConfig(
        load_in_8bit=options.load_in_8bit, load_in_4bit=options.load_in_4bit, bnb_4bit_compute_dtype=compute
    )


@contextmanager
def _one_sentence(what: str) -> Iterator[None]:
    """Turns what goes wrong while files are read into one ValueError, without other messages."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    except _UNREADABLE as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{what}: {reason}") from None
    finally:
        logging.set_verbosity(verbosity)


@torch.no_grad()
def is_causal(model: Any) -> bool:
    """Says whether what a model says at a token is the same whatever comes later.

    A probe: models that were made as encoders load as language models too.
    """
    size = model.config.get_text_config().vocab_size
    texts = torch.tensor([[2, 3, 5, 7], [2, 3, 5, 11]], device=model.device) % size
    logits = model(input_ids=texts, attention_mask=torch.ones_like(texts)).logits.float()
    change = (logits[0] - logits[1]).abs().amax(dim=-1)
    return not bool(change[:-1].max() > 1e-3 * change[-1])


# -- adapters --------------------------------------------------------------------------------------
def has_adapter(model: Any) -> bool:
    """Says whether a model has an adapter beside its weights."""
    return isinstance(model, PeftModel)


def _add_adapter(model: Any, source: str | Path, options: ModelOptions, seed: int) -> Any:
    """Returns the model with a new adapter that changes nothing yet; only the adapter can be trained."""
    targets = list(options.lora_target_modules)
    if targets != ["all-linear"]:
        _check_targets(model, targets)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=options.lora_r,
        lora_alpha=options.lora_alpha,
        lora_dropout=0.0,  # what is sampled must be what is scored
        target_modules="all-linear" if targets == ["all-linear"] else targets,
    )
    # Adapters are made on the CPU and moved, so that the seed means the same anywhere; no other GPU is woken up.
    with torch.random.fork_rng(devices=[]), _quiet_peft():
        torch.default_generator.manual_seed(seed)
        adapted = get_peft_model(model, config)
    adapted.active_peft_config.base_model_name_or_path = lasting_name(source)
    return adapted


@contextmanager
def _quiet_peft() -> Iterator[None]:
    """Leaves out warnings that say nothing to the user: what peft sets right by itself, and its use of old names."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="fan_in_fan_out")
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")
        yield


def _check_targets(model: Any, targets: list[str]) -> None:
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Embedding | Conv1D)]
    for target in targets:
        if not any(f".{name}".endswith(f".{target}") for name in names):
            known = sorted({name.rpartition(".")[2] for name in names})
            hint = did_you_mean(target, known, f"; there are {', '.join(known)}, and all-linear")
            raise ValueError(f"the model has no layer {target!r} that could get an adapter{hint}")


def _load_with_adapter(folder: Path, options: ModelOptions, device: torch.device) -> tuple[Any, Any]:
    with _one_sentence(f"the adapter in '{folder}' cannot be read"):
        if not (folder / ADAPTER_FILE).is_file():
            raise ValueError(f"it has no {ADAPTER_FILE}")
        base = PeftConfig.from_pretrained(str(folder)).base_model_name_or_path
        if not base:
            raise ValueError(f"{ADAPTER_CONFIG} does not say to which model it belongs (base_model_name_or_path)")
    try:
        model, tokenizer = _load_plain(base, locate(base), options, device)
    except ValueError as error:
        raise ValueError(f"the adapter in '{folder}' belongs to a model that cannot be read: {error}") from None
    with _one_sentence(f"the adapter in '{folder}' cannot be read"), _quiet_peft():
        if any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
            tokenizer = AutoTokenizer.from_pretrained(str(folder))
        return PeftModel.from_pretrained(model, str(folder), is_trainable=True), tokenizer


class WithoutAdapter(nn.Module):
    """The model beside which an adapter is trained: the same weights, not copied, with the adapter switched off.

    Args:
        model: with an adapter. Nothing is asked of its gradient here.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._shared = (model,)  # in a tuple, so that its parameters are not the parameters of this view

    @property
    def whole(self) -> Any:
        """The model with its adapter."""
        return self._shared[0]

    @property
    def config(self) -> Any:
        """The model's configuration."""
        return self._shared[0].config

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return torch.device(self._shared[0].device)

    @property
    def dtype(self) -> torch.dtype:
        """The type of its weights."""
        found: torch.dtype = self._shared[0].dtype
        return found

    @torch.no_grad()
    def forward(self, *arguments: Any, **options: Any) -> Any:
        """Returns what the model returns while its adapter is off."""
        with self._shared[0].disable_adapter():
            return self._shared[0](*arguments, **options)


# -- files -----------------------------------------------------------------------------------------
def save_pretrained(model: Any, tokenizer: Any, folder: Path) -> None:
    """Writes a model and its tokenizer as a `from_pretrained` folder, of a model with an adapter the adapter alone."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, WithoutAdapter):
        return  # its weights are where the adapter's configuration says
    if has_adapter(model):
        model.save_pretrained(folder, save_embedding_layers=False)
    else:
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def load_weights(model: Any, folder: Path) -> None:
    """Reads the weights that `save_pretrained` wrote into this model.

    Raises:
        ValueError: they are the weights of another model.
    """
    if isinstance(model, WithoutAdapter):
        return
    if has_adapter(model):
        with _one_sentence(f"the adapter in '{folder}' does not fit"):
            found = set_peft_model_state_dict(model, load_file(folder / ADAPTER_FILE))
            if found.unexpected_keys:
                raise ValueError(f"the model has no {found.unexpected_keys[0]}")
    else:
        model.load_state_dict(load_pretrained(folder, ModelOptions(device="cpu"))[0].state_dict())


# -- memory ----------------------------------------------------------------------------------------
def decoder_layers(model: Any) -> list[Any]:
    """Returns the layers of a model, which are evaluated one after another."""
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def checkpoint_layers(model: Any) -> None:
    """Lets each layer keep only its inputs for the gradient, by the model's own method.

    Layers do so in training mode only, and not beside a cache. A policy stays in evaluation mode, so that what it
    samples is what it scores; hence the layers alone, and none of their dropouts, are told that they train, in those
    evaluations whose gradient will be asked for.
    """
    model.activation_checkpointing_enable()
    layers = decoder_layers(model)
    for layer in layers:
        for name, value in vars(layer).items():
            if "dropout" in name and isinstance(value, float):
                setattr(layer, name, 0.0)  # some layers drop out by themselves

    def tell(module: nn.Module, arguments: Any, options: dict[str, Any]) -> None:
        cached = options.get("use_cache") or options.get("past_key_values") is not None
        for layer in layers:
            layer.training = torch.is_grad_enabled() and not cached

    model.register_forward_pre_hook(tell, with_kwargs=True)
