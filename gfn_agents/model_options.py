"""How a pretrained language model is loaded, in a module without torch, so that the command line reads it at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, get_args

from gfn_agents.config import check_sizes

DtypeName = Literal["auto", "float32", "bfloat16"]
_MAY_CHANGE = ("device", "gradient_checkpointing")
"""Where and how a run computes, not what."""


@dataclass(frozen=True)
class ModelOptions:
    """How a pretrained language model is loaded. The names are those of TRL's ModelConfig.

    Args:
        dtype: type of the model's weights; auto is the type that they are stored in. LoRA weights are float32.
        device: auto is the first GPU where there is one, and otherwise the CPU.
        gradient_checkpointing: keep only the inputs of each layer for the gradient: less memory, more time. Not
            behind a trunk that all prompts share, such as few-shot examples.
        use_peft: train low-rank adapters (LoRA) beside the model's weights, which stay as they are.
        lora_r: rank of the adapters.
        lora_alpha: adapters are scaled by lora_alpha / lora_r.
        lora_target_modules: layers that get an adapter, by the ends of their names; all-linear is every linear one
            but the last, which makes words.
        load_in_8bit: keep the model's weights in 8 bits; needs bitsandbytes.
        load_in_4bit: keep the model's weights in 4 bits; needs bitsandbytes.
    """

    dtype: DtypeName = "float32"
    device: str = "auto"
    gradient_checkpointing: bool = False
    use_peft: bool = False
    lora_r: int = 16
    lora_alpha: int = 32
    lora_target_modules: tuple[str, ...] = ("all-linear",)
    load_in_8bit: bool = False
    load_in_4bit: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "lora_target_modules", tuple(self.lora_target_modules))  # JSON makes a list of it


def check_model_options(options: ModelOptions) -> None:
    """Raises ValueError with one sentence if an option makes no sense, whatever the model."""
    if options.dtype not in get_args(DtypeName):
        raise ValueError(f"dtype must be one of {', '.join(get_args(DtypeName))}, got {options.dtype!r}")
    check_sizes(vars(options), ("lora_r", "lora_alpha"))
    if not options.lora_target_modules:
        raise ValueError("lora_target_modules must name at least one layer, or be all-linear")
    if options.load_in_8bit and options.load_in_4bit:
        raise ValueError("load_in_8bit and load_in_4bit exclude each other; choose one")
    if (options.load_in_8bit or options.load_in_4bit) and not options.use_peft:
        raise ValueError("weights in 8 or 4 bits cannot be trained themselves; add use_peft")


def check_asked(options: ModelOptions) -> None:
    """Raises ValueError if somebody asks for an adapter's options and not for the adapter."""
    for name in ("lora_r", "lora_alpha", "lora_target_modules"):
        if not options.use_peft and getattr(options, name) != getattr(ModelOptions(), name):
            raise ValueError(f"{name} is of adapters, which are not used; add use_peft")


def check_same_model(saved: ModelOptions, wanted: ModelOptions) -> None:
    """Raises ValueError unless a run that was started with saved options can go on with the wanted ones."""
    before = asdict(saved)
    for name, value in asdict(wanted).items():
        if name not in _MAY_CHANGE and before[name] != value:
            raise ValueError(f"the run was started with {name}={before[name]!r}, not {value!r}; start a new run")
