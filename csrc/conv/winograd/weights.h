/* dw and db of one group by tiles: weights.c. */
#ifndef FC_CONV_WINOGRAD_WEIGHTS_H
#define FC_CONV_WINOGRAD_WEIGHTS_H

#include "shared.h"

/* A range of output channels and of planes of x, which one thread at a time sums. */
typedef struct {
    ptrdiff_t first_out, out_channels, first_plane;
    fc_winograd_images x, dy;
    ptrdiff_t planes;         /* of x, with a stride of all its residues */
    ptrdiff_t panels, strips; /* of planes; register tiles along output channels */
} fc_winograd_range;

/* How dw of one group is summed: all groups alike. */
typedef struct {
    const fc_kernels *kernels;
    const fc_winograd_kernels *transforms;
    ptrdiff_t size, lanes;                           /* bytes of an element; elements of a vector */
    fc_axis depth;
    fc_winograd_grid grid;
    fc_winograd_images x, dy;                        /* of all channels */
    ptrdiff_t out_channels, in_planes;               /* of the group; planes: of x */
    ptrdiff_t range_out_channels, range_in_planes;   /* of a range */
    ptrdiff_t out_ranges, in_ranges;
    ptrdiff_t splits;                                /* of the lines of tiles, each with sums of its own */
    ptrdiff_t tasks;
    fc_winograd_range first;                         /* none is larger; what follows is the same in all */
    ptrdiff_t block_lines, copy_lines;               /* lines of tiles of a block, of a copy */
    ptrdiff_t tile_rows, tile_vectors, panel;        /* output channels and vectors of planes of a register tile */
    ptrdiff_t group;                                 /* strips whose sums are in L2 */
    int whole; /* all tiles are one block, of which no more sums are kept than of a group */
    ptrdiff_t v_point, v_panel, m_point, m_vector;   /* elements between points, and between (panels, vectors) */
    ptrdiff_t sums_point, sums_tile, sums_range;     /* elements of sums: of a point, a register tile, a range */
} fc_winograd_gradient;

/* Plans the adjoint of a correlation of all planes for the threads of the job. */
fc_winograd_gradient fc_winograd_plan_weights(const fc_conv_job *cj, fc_winograd_form form, const fc_correlation *c,
                                              const fc_axis *depth);

/* Bytes that all tasks keep, with db or without. */
size_t fc_winograd_gradient_bytes(const fc_winograd_gradient *s, int has_db);

/* Writes dw and db; returns whether the plan's fallback must do it again: some sum is not finite. */
int fc_winograd_sum_weights(const fc_winograd_gradient *s, const fc_weights_gradient *gradient, fc_run *run);

#endif
