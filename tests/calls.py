"""Every function that takes geometry, called with arguments that fit unless one is replaced."""

import numpy as np

import fastconv

X = np.ones((2, 4, 6, 6), np.float32)
W = np.ones((4, 4, 3, 3), np.float32)
DY = np.ones((2, 4, 4, 4), np.float32)


def conv(x=X, w=W, **options):
    return fastconv.conv_forward(x, w, **options)


def conv_grad(dy=DY, x=X, w=W, **options):
    return fastconv.conv_backward(dy, x, w, **options)


def max_pool(kernel=2, x=X, **options):
    return fastconv.max_pool_forward(x, kernel, **options)


def avg_pool(kernel=2, x=X, **options):
    return fastconv.avg_pool_forward(x, kernel, **options)


def avg_pool_grad(kernel=2, dy=DY, x_shape=X.shape, **options):
    return fastconv.avg_pool_backward(dy, x_shape, kernel, **options)


def im2col(kernel=2, **options):
    return fastconv.im2col(X, kernel, **options)


def col2im(kernel=2, **options):
    return fastconv.col2im(np.ones((2, 16, 25), np.float32), X.shape, kernel, **options)
