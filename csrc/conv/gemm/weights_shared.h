/* What the stages of fc_run_weights have in common: a gradient whose addresses are bound, and the scratch of a task. */
#ifndef FC_GEMM_WEIGHTS_SHARED_H
#define FC_GEMM_WEIGHTS_SHARED_H

#include "shared.h"
#include "weights.h"

enum {
    FC_STORED_ROWS = 48,        /* rows of sums that are transposed into dw at once */
    FC_WEIGHTS_MAX_RUNS = 4096, /* runs of dy that are fetched ahead: as many as a block of whole lines has */
};

typedef struct {
    fc_weights_layout layout;
    const fc_weights_gradient *gradient;
    const fc_correlation *c; /* the gradient's */
    const fc_kernels *kernels;
    ptrdiff_t size;
    fc_run *run;
    int accumulate;
    char *sums;        /* (partials, planes * taps, pitch) if there are several partials, else NULL */
    double *bias_sums; /* (partials, channels) */
    FC_ATOMIC int not_finite; /* by tap: set if some dy is not */
} fc_weights_job;

typedef struct {
    char *planes, *dy, *sums;
    char *stored;                     /* sums on their way out */
    ptrdiff_t *x_offsets, *y_offsets; /* of each pixel */
    fc_fetch fetch;
} fc_weights_scratch;

/* What a task sums: blocks [first_block, end_block), planes [first_plane, end_plane) and the held channels from
 * `first_channel` on, whose first sum is at `sums`; and db of these blocks and channels unless bias_sums is NULL. */
typedef struct {
    ptrdiff_t first_block, end_block, first_plane, end_plane, first_channel, end_channel;
    char *sums;
    double *bias_sums;
} fc_weights_unit;

static inline ptrdiff_t fc_weights_taps(const fc_correlation *c) { return c->axis[0].taps * c->axis[1].taps; }

static inline ptrdiff_t fc_weights_tile_channels(const fc_weights_layout *l, const fc_kernels *kernels) {
    return l->tile_vectors * kernels->lanes;
}

/* Sets the parts of a task's scratch; of none, if base is NULL, it counts only. Returns the bytes. */
size_t fc_carve_weights(const fc_weights_layout *layout, ptrdiff_t size, char *base, fc_weights_scratch *scratch);

/* Sums the blocks of a unit; at its end the sums stand there, unless the run was stopped. */
void fc_sum_weights(fc_weights_job *job, fc_weights_scratch *scratch, const fc_weights_unit *unit);

/* Transposes rows [first_row, end_row) of a unit's sums into dw; `stored` has FC_STORED_ROWS * FC_MAX_TILE_COLS
 * elements. */
void fc_store_weights(const fc_weights_job *job, const fc_weights_unit *unit, ptrdiff_t first_row, ptrdiff_t end_row,
                      char *stored);

/* Writes db, if it is wanted, from all partial sums. */
void fc_store_bias(const fc_weights_job *job);

#endif
