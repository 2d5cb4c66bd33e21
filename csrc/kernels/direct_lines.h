/* Convolution of few channels over planes where they lie, and its adjoint in the weights: direct_lines.tmpl.h,
 * direct_lines_gradient.tmpl.h. */
#ifndef FC_KERNELS_DIRECT_LINES_H
#define FC_KERNELS_DIRECT_LINES_H

#include <stddef.h>

#include "direct.h"

enum {
    FC_GRADIENT_CHAIN = 128, /* terms of a sum of dw in a register, or one block of lines: with 784 the error was 2.6
                              * times as large */
};

/* Outputs of one channel, or of two, over planes where they lie, of which all positions outside are zeros. Output
 * (m, q) of channel k is
 *   bias[k] + sum over planes c, r < taps, t < the residue's taps of
 *             w[k * w_channel + w_plane[c] + residue.w + r * w_row + t * w_column]
 *             * x[c][m * stride + origin + r * line_step][q * column_stride + residue.origin + t * tap_step].
 * With two residues, of stride 1, that is output 2 * q of the line, and that of the second, 2 * q + 1. */
typedef struct {
    ptrdiff_t lines, columns, pitch; /* of a plane; elements between lines */
    ptrdiff_t stride, origin, taps, line_step;
    ptrdiff_t column_stride, tap_step;
    struct {
        ptrdiff_t origin, taps, w;
    } residue[2];
    int residues;
    ptrdiff_t planes;
    const ptrdiff_t *w_plane;
    ptrdiff_t w_channel, w_row, w_column;
    ptrdiff_t outputs, width; /* lines, and elements of each */
    ptrdiff_t y_step, y_channel;
    ptrdiff_t to_next;  /* elements to planes that are fetched meanwhile, or 0; of two channels with 3 adjacent taps */
    const void *zeros;  /* a line of them: columns, of the adjoint at least `width` too */
    const void **table; /* room for FC_DIRECT_BLOCK * (taps + 1) pointers a plane */
    int fetch;          /* whether lines of x, and of dy, that the next blocks read are fetched */
    int relu;
} fc_direct_lines;

/* Whether register tiles are 8 lines by one vector, not 4 by 2, with stride 1: where one vector holds a line, and,
 * where registers are few, two overlapping ones do: planes of 14x14 took 0.7 of the time with AVX2, of 56x56 1.3. */
static inline int fc_lines_are_tall(const fc_direct_lines *d, ptrdiff_t lanes, int few_registers) {
    return d->width <= lanes || (few_registers && d->width < 2 * lanes);
}

typedef void (*fc_direct_lines_kernel)(const fc_direct_lines *d, const void *const *x, const void *w, const void *bias,
                                       void *y);

/* Adds dw of one channel, or of two, over one plane x: sums[channel * sums_step + (t * taps + r) * lanes + lane] of tap
 * (r, t) of its one residue; and unless it is NULL, to bias[channel * sums_step + lane], the sum of dy, d's y. */
typedef void (*fc_direct_lines_gradient_kernel)(const fc_direct_lines *d, const void *x, const void *dy, void *sums,
                                                ptrdiff_t sums_step, void *bias);

#endif
