"""The softmax classifier's loss and its gradient.

Source: Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs,
with relationships to statistical pattern recognition".
"""

import numpy as np

from ._geometry import check_shape, float_dtype


@np.errstate(all="ignore")
def softmax_cross_entropy(scores, labels):
    """The mean over the batch of -log p[label], where p is the softmax of the scores.

    For one example with scores z and label l::

        p[i] = exp(z[i]) / sum over j of exp(z[j])
        loss = -log p[l] = log(sum over j of exp(z[j])) - z[l]
        dz   = p - e_l,        e_l being 1 at l and 0 elsewhere

    A constant added to all scores cancels in p. Subtracting the largest score keeps exp from
    overflowing. Both the loss and dz are divided by N, for the mean.

    Parameters
    ----------
    scores : (N, classes)
    labels : (N,), integers in 0 ... classes - 1

    Returns
    -------
    loss : float; NaN for an empty batch, which has no mean
    dscores : (N, classes), in the dtype of scores
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    dtype = float_dtype(scores, "scores")
    N, classes = scores.shape
    check_shape("labels", labels, (N,))
    if N and not (0 <= labels.min() and labels.max() < classes):
        raise ValueError(
            f"labels are in {labels.min()} ... {labels.max()}, expected 0 ... {classes - 1}"
        )

    total = np.float64(0)
    dscores = np.empty((N, classes))
    for n in range(N):
        z = scores[n].astype(np.float64)
        z = z - z.max()
        denominator = np.exp(z).sum()
        p = np.exp(z) / denominator
        total += np.log(denominator) - z[labels[n]]
        dscores[n] = p / N
        dscores[n, labels[n]] = (p[labels[n]] - 1) / N
    return float(total / N), dscores.astype(dtype)
