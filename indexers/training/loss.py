"""What is minimised: InfoNCE over pairs, with several positives, and KoLeo.

InfoNCE pulls a view to its anchor and from every other picture of the batch. KoLeo spreads the descriptors
over the sphere, so that one threshold suits all pictures (SSCD, https://arxiv.org/abs/2202.10261).
"""

import torch
from torch import Tensor

TEMPERATURE = 0.05
KOLEO_WEIGHT = 2.0
KOLEO_NEAREST = 0.35
"""Distances below this count as this: near-duplicates in the data are not torn apart."""


def loss(descriptors: Tensor, shown: Tensor) -> Tensor:
    """Compute the loss of a batch.

    Args:
        descriptors: (2 n, d) unit vectors, of n anchors and then of n views.
        shown: (n, 2) which anchors each view shows; -1 for none.

    Returns:
        A scalar.
    """
    related = _related(shown)
    similarity = descriptors.float() @ descriptors.float().T
    return _info_nce(similarity, related) + KOLEO_WEIGHT * _koleo(similarity, related)


def _related(shown: Tensor) -> Tensor:
    """Say which rows show a common picture, (2 n, 2 n) bool, the diagonal included."""
    n = len(shown)
    holds = torch.zeros(2 * n, n, device=shown.device)
    rows = torch.arange(n, device=shown.device)
    holds[rows, rows] = 1
    for column in shown.T:
        held = column >= 0
        holds[n + rows[held], column[held]] = 1
    return holds @ holds.T > 0


def _info_nce(similarity: Tensor, related: Tensor) -> Tensor:
    """Average over all positives of -log of their share against the row's negatives."""
    logits = similarity / TEMPERATURE
    negatives = logits.masked_fill(related, -torch.inf).logsumexp(1, keepdim=True)
    positive = related & ~torch.eye(len(related), dtype=torch.bool, device=related.device)
    each = torch.logaddexp(logits, negatives) - logits
    per_row = (each * positive).sum(1) / positive.sum(1)
    return per_row.mean()


def _koleo(similarity: Tensor, related: Tensor) -> Tensor:
    """Average of -log of the distance to the nearest unrelated descriptor."""
    nearest = similarity.masked_fill(related, -torch.inf).amax(1)
    distance = (2 - 2 * nearest).clamp(min=KOLEO_NEAREST**2).sqrt()
    return -distance.log().mean()
