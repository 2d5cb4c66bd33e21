/* Depthwise convolution over narrow planes, and its adjoint in the weights: direct_narrow.tmpl.h. */
#ifndef FC_KERNELS_DIRECT_NARROW_H
#define FC_KERNELS_DIRECT_NARROW_H

#include <stddef.h>

#include "direct_lines.h"

enum { FC_NARROW_TAPS = 7 }; /* of each axis of narrow planes, at most */

/* So many planes of one channel each, of so many images; `each` is of them all, their weights, or sums of dw, are
 * w_plane apart. */
typedef struct {
    fc_direct_lines each;
    ptrdiff_t planes, x_plane, y_plane, w_plane;
    ptrdiff_t images, x_image, y_image;
} fc_direct_narrow;

typedef void (*fc_direct_narrow_kernel)(const fc_direct_narrow *n, const void *x, const void *w, const void *bias,
                                        void *y);
typedef void (*fc_direct_narrow_gradient_kernel)(const fc_direct_narrow *n, const void *x, const void *dy, void *sums,
                                                 void *bias);

#endif
