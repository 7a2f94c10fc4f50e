"""Activations on a CPU whose result for a row has the same bits however many rows there are (docs/adr/0009).

torch shares the numbers out among its threads, and the last few of each share, where they fill no vector, are computed
by another formula. Here rows are added until every share is whole. Only float32 shows the difference; bfloat16 rounds
it away.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

_SHARE = 32768
"""torch takes no thread for fewer numbers than this."""
_WHOLE = 64
"""Numbers that fill torch's vectors, two at a time, for every instruction set."""
_HOMES = ("torch.nn.modules.activation", "transformers.activations")


class SteadyActivation(nn.Module):
    """Stands where an activation stood."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self._inner = inner

    def forward(self, values: Tensor) -> Tensor:
        """(…, rows, width) to the same shape."""
        rows, width = values.shape[-2:]
        if values.dtype is not torch.float32 or width % _WHOLE or values.numel() != rows * width:
            return self._activate(values)
        missing = whole_rows(rows, width, torch.get_num_threads()) - rows
        if not missing:
            return self._activate(values)
        return self._activate(pad(values, (0, 0, 0, missing)))[..., :rows, :]

    def _activate(self, values: Tensor) -> Tensor:
        result: Tensor = self._inner(values)
        return result


def whole_rows(rows: int, width: int, threads: int) -> int:
    """The fewest rows, at least these, that torch shares out in whole vectors; `width` is a multiple of 64."""
    while True:
        shares = min(threads, -(-rows * width // _SHARE))
        if -(-rows * width // shares) % _WHOLE == 0:
            return rows
        rows += 1


def steady_activations(model: nn.Module) -> None:
    """Replace every activation of a model that has no weights of its own."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__module__ in _HOMES and not any(True for _ in child.parameters()):
                setattr(parent, name, SteadyActivation(child))
