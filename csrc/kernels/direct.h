/* Convolution of few channels over padded copies, and its adjoint in the weights: direct.tmpl.h. */
#ifndef FC_KERNELS_DIRECT_H
#define FC_KERNELS_DIRECT_H

#include <stddef.h>

enum {
    FC_DIRECT_BLOCK = 8,   /* outputs of a block of direct kernels, at most */
    FC_GRADIENT_BLOCK = 4, /* outputs of a block of their adjoint */
};

/* Outputs of one channel, or with channels in the vector of as many as it has lanes: `outputs` along the
 * blocked axis, `width` adjacent elements each. Output m of element i is
 *   bias + sum over k < others, r < taps of w[other_w[k] + r * w_tap]
 *                                           * x[other_x[k] + m * x_step + r * tap_step + i].
 * x is readable up to the outputs of a whole block, and to whole vectors of it. */
typedef struct {
    ptrdiff_t outputs, width;
    ptrdiff_t taps, tap_step, w_tap;
    ptrdiff_t x_step, y_step;
    ptrdiff_t others;
    const ptrdiff_t *other_x, *other_w;
    const void *w, *bias;
    int relu;
} fc_direct;

typedef void (*fc_direct_kernel)(const fc_direct *d, const void *x, void *y);

/* The adjoint of fc_direct in the weights; elements `repeats` times, x_repeat and dy_repeat apart. */
typedef struct {
    ptrdiff_t outputs, repeats; /* outputs: a multiple of FC_GRADIENT_BLOCK */
    ptrdiff_t x_repeat, dy_repeat;
    ptrdiff_t taps, tap_step;
    ptrdiff_t x_step, dy_step;
    ptrdiff_t others;
    const ptrdiff_t *other;
} fc_direct_gradient;

typedef void (*fc_direct_gradient_kernel)(const fc_direct_gradient *d, const void *x, const void *dy, void *sums);

#endif
