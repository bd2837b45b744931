"""A causal language model whose weights, gradients and optimizer state are divided among processes.

PyTorch's FSDP2 (`fully_shard`) keeps a part of each weight in each process, puts the weights of one layer together
while the layer is evaluated, and adds the parts of its gradient up. For that all processes must evaluate the model at
the same time and equally often. Here they play different problems, so each has another number of evaluations. Hence
every evaluation is `processes.shared_work`: a process that has none evaluates one token and forgets the result, and for
an evaluation with gradient gives a gradient of zero. That takes it no more than the others' evaluation takes.

To everybody else the model stays what it was. Any process evaluates it whenever it likes, as long as the others
come to an exchange at last; `state_dict` gives whole weights and `load_state_dict` takes them, and so does the
optimizer, so checkpoints do not depend on how many processes there are.
"""

from __future__ import annotations

import atexit
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from gfn_agents import processes

Evaluation = Callable[[], Sequence[Tensor]]


def is_sharded(model: nn.Module) -> bool:
    """Says whether a model is divided among processes."""
    return isinstance(model, FSDPModule)


# -- model -----------------------------------------------------------------------------------------
def shard(model: Any, layers: Sequence[nn.Module], files_hold_all: bool = True) -> None:
    """Divides a causal language model among the processes of the run, in place.

    Args:
        layers: its parts that are put together one after another.
        files_hold_all: `state_dict` makes all weights whole; otherwise those alone that are trained.

    Raises:
        ValueError: its weights are quantised.
    """
    if not all(parameter.is_floating_point() for parameter in model.parameters()):
        raise ValueError("weights in 8 or 4 bits cannot be divided among processes; use dtype=bfloat16 with use_peft")
    mesh = init_device_mesh(model.device.type, (processes.count(),))
    atexit.register(vars(mesh).clear)  # PyTorch's caches keep it, and it the process group
    for module in (*layers, model):
        part = fully_shard(module, mesh=mesh, reshard_after_forward=True)
        # The sum over processes, not its mean: the trainer weighs losses itself.
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)

    evaluating = processes.shared_work(lambda: _evaluate_in_vain(model, with_gradient=False))
    learning = processes.shared_work(lambda: _evaluate_in_vain(model, with_gradient=True))
    stored = [p for p in model.parameters() if isinstance(p, DTensor) and (files_hold_all or p.requires_grad)]
    gathering = processes.shared_work(lambda: [weight.full_tensor() for weight in stored])

    def before_evaluation(module: nn.Module, arguments: Any) -> None:
        (learning if torch.is_grad_enabled() else evaluating)()

    def make_whole(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
        gathering()
        whole = {id(weight): weight.full_tensor().cpu() for weight in stored}
        state.update({name: whole[id(weight)] for name, weight in _named(model) if id(weight) in whole})

    def divide(module: nn.Module, state: dict[str, Any], *arguments: Any) -> None:
        state.update({name: _part(state[name], weight) for name, weight in _named(model) if name in state})

    model.register_forward_pre_hook(before_evaluation, prepend=True)  # before that of FSDP
    model.register_state_dict_post_hook(make_whole)
    model.register_load_state_dict_pre_hook(divide)


class SecondPass:
    """Evaluations of a sharded model that are repeated once the gradient of the loss by their results is known.

    Each is then evaluated and differentiated at once, as one piece of shared work, outside of any other backward pass:
    inside of one, FSDP keeps the weights of a layer whole after its evaluation.
    """

    def __init__(self) -> None:
        self._due: list[tuple[Evaluation, list[Tensor]]] = []

    def first(self, evaluate: Evaluation) -> list[Tensor]:
        """Returns what an evaluation says, as leaves that gather their gradient."""
        with torch.no_grad():
            leaves = [result.requires_grad_() for result in evaluate()]
        self._due.append((evaluate, leaves))
        return leaves

    def run(self) -> None:
        """Repeats the evaluations whose results have a gradient, and adds theirs to the weights'."""
        while self._due:
            evaluate, leaves = self._due.pop()
            wanted = [place for place, leaf in enumerate(leaves) if leaf.grad is not None]
            if wanted:
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", message="FSDP2-wrapped module")  # nobody writes into results
                    results = evaluate()
                torch.autograd.backward([results[n] for n in wanted], [leaves[n].grad for n in wanted])


def _evaluate_in_vain(model: Any, with_gradient: bool) -> None:
    """Takes part in an evaluation that others want."""
    with torch.set_grad_enabled(with_gradient):
        logits = model(input_ids=torch.zeros((1, 1), dtype=torch.long, device=model.device), use_cache=False).logits
        if with_gradient:
            logits.backward(torch.zeros_like(logits))


def _named(model: Any) -> list[tuple[str, DTensor]]:
    """Returns the divided weights by all their names, of which tied ones have two."""
    named = model.named_parameters(remove_duplicate=False)
    return [(name, weight) for name, weight in named if isinstance(weight, DTensor)]


def _part(whole: Tensor, like: DTensor) -> DTensor:
    """Returns this process's part of a tensor that all processes hold, divided as another one is."""
    return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


# -- optimizer -------------------------------------------------------------------------------------
def shard_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Lets an optimizer of divided weights give and take its state as whole tensors."""

    def help_with() -> None:
        for entry in optimizer.state.values():
            for value in entry.values():
                if isinstance(value, DTensor):
                    value.full_tensor()

    gathering = processes.shared_work(help_with)

    def make_whole(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        gathering()
        return {**state, "state": {place: _whole(entry) for place, entry in state["state"].items()}}

    def divide(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        return {**state, "state": {place: _like(entry, weights[place]) for place, entry in state["state"].items()}}

    optimizer.register_state_dict_post_hook(make_whole)
    optimizer.register_load_state_dict_pre_hook(divide)


def _whole(entry: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.full_tensor().cpu() if isinstance(value, DTensor) else value for name, value in entry.items()}


def _like(entry: dict[str, Tensor], weight: Tensor) -> dict[str, Tensor]:
    """Returns the state of a weight, divided as it is; what is no tensor of its shape counts steps."""
    if not isinstance(weight, DTensor):
        return entry
    return {name: _part(value, weight) if value.shape == weight.shape else value for name, value in entry.items()}


# -- gradients -------------------------------------------------------------------------------------
def clip_gradients(parameters: Iterable[nn.Parameter], largest: float) -> float:
    """Scales gradients in place to a norm of at most `largest`; returns that from before, the same in each process.

    PyTorch's own function takes either divided gradients or whole ones.
    """
    with_gradient = [parameter for parameter in parameters if parameter.grad is not None]
    divided = [parameter for parameter in with_gradient if isinstance(parameter, DTensor)]
    others = [parameter for parameter in with_gradient if not isinstance(parameter, DTensor)]
    norms = [get_total_norm([p.grad for p in part if p.grad is not None]) for part in (divided, others) if part]
    norm = torch.stack([n.full_tensor() if isinstance(n, DTensor) else n for n in norms]).norm()
    for part in (divided, others):
        clip_grads_with_norm_(part, largest, norm)
    return float(norm)
