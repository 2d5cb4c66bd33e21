/* Depthwise convolution over narrow planes, and its adjoint in the weights: direct_narrow.tmpl.h, or, where lanes are
 * not picked, direct_flat.tmpl.h. */
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

/* direct_flat.tmpl.h: vectors of a line, and between the beginnings of two lines with what is between them, at most. */
enum { FC_FLAT_COLUMNS = 2, FC_FLAT_PITCH = 3 };

/* direct_flat.tmpl.h: elements between lines. The taps of output q lie at q * stride + origin + t * step; of stride 1,
 * zeros between two lines serve as the padding of either, of stride 2 lines have their padding. */
static inline ptrdiff_t fc_flat_pitch(ptrdiff_t columns, ptrdiff_t outputs, ptrdiff_t origin, ptrdiff_t taps,
                                      ptrdiff_t step, ptrdiff_t stride) {
    if (stride > 1) return outputs + (taps - 1) / 2;
    const ptrdiff_t end = origin + (taps - 1) * step, first = origin < end ? origin : end;
    const ptrdiff_t beyond = outputs - columns + (origin < end ? end : origin), before = first < 0 ? -first : 0;
    const ptrdiff_t pitch = columns + (before > beyond ? before : beyond);
    return pitch > outputs ? pitch : outputs;
}

typedef void (*fc_direct_narrow_kernel)(const fc_direct_narrow *n, const void *x, const void *w, const void *bias,
                                        void *y);
typedef void (*fc_direct_narrow_gradient_kernel)(const fc_direct_narrow *n, const void *x, const void *dy, void *sums,
                                                 void *bias);

#endif
