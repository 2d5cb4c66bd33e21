/* Copies blocks of planes, padded and split into phases: axis.h. */
#ifndef FC_FILL_H
#define FC_FILL_H

#include "../kernels/kernels.h"
#include "axis.h"

/* A block of outputs: [start, start + count) of rows and columns. */
typedef struct {
    ptrdiff_t start[2], count[2];
} fc_rectangle;

/* Writes one image of one plane to target[fh][fw][zh][zw]: zw adjacent, rows `pitch` elements
 * apart, phases `phase_stride`. `plane` NULL is a plane of zeros. `size`: bytes of an element. */
void fc_fill_plane(const fc_kernels *kernels, ptrdiff_t size, const fc_axis axis[2],
                   const fc_phases phases[2], const fc_rectangle *block, const char *plane,
                   char *target, ptrdiff_t pitch, ptrdiff_t phase_stride);

#endif
