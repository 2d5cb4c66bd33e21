/* What the GEMMs of y and dx (stage.h) and those of dw (weights.h) have in common: sizes and cycles of register tiles,
 * and what is fetched ahead. */
#ifndef FC_GEMM_SHARED_H
#define FC_GEMM_SHARED_H

#include "../../arithmetic.h"
#include "../../kernels/kernels.h"

/* The rows of the highest tile of so many vectors, and the vectors of the widest of so many rows. */
ptrdiff_t fc_highest_tile(const fc_kernels *kernels, ptrdiff_t tile_vectors);
ptrdiff_t fc_widest_tile(const fc_kernels *kernels, ptrdiff_t tile_rows);

/* Vectors across a tile for so many channels: those that take the fewest cycles. */
ptrdiff_t fc_channel_tile_vectors(const fc_kernels *kernels, ptrdiff_t channels);

/* Cycles that an output takes for each term, all channels of it, in panels of `tile_vectors` vectors. */
double fc_channel_cycles(const fc_kernels *kernels, ptrdiff_t channels, ptrdiff_t tile_vectors);

/* Cycles that a term of a register tile takes: multiply-adds, loads (b_loads a vector of b: 2 where
 * it may cross a cache line) or the latency of the sum, two of each a cycle. */
static inline double fc_tile_cycles(ptrdiff_t tile_rows, ptrdiff_t tile_vectors, int b_loads) {
    const double multiplies = (double)(tile_rows * tile_vectors) / 2;
    const double loads = (double)(tile_rows + b_loads * tile_vectors) / 2;
    const double cycles = multiplies > loads ? multiplies : loads;
    return cycles > 4 ? cycles : 4;
}

/* What the task reads next, on its way to L2 while tiles are multiplied. */
typedef struct {
    const char *from;
    ptrdiff_t *offsets;  /* of runs of elements */
    ptrdiff_t runs;
    ptrdiff_t step;      /* elements to a term of a tile; 0: nothing is fetched */
    ptrdiff_t terms;     /* that a run takes */
    ptrdiff_t run, done; /* reached so far: run and term */
} fc_fetch;

/* Spreads runs of `length` elements over the next `terms` terms of tiles. */
static inline void fc_spread_fetch(fc_fetch *f, ptrdiff_t size, ptrdiff_t length, ptrdiff_t terms) {
    const ptrdiff_t line = FC_CACHE_LINE / size, max_of_run = length + line - 1; /* wherever it begins */
    if (!f->runs || !terms) return;
    const ptrdiff_t step = quotient_up(f->runs * max_of_run, terms);
    f->step = step <= line ? step : 0;
    f->terms = quotient_up(max_of_run, step);
}

/* What the next tile fetches: nothing once less is left than a tile fetches. */
static inline void fc_fetch_ahead(fc_fetch *f, fc_tile *tile) {
    const int enough = f->run < f->runs && tile->depth <= (f->runs - f->run) * f->terms - f->done;
    tile->fetch_step = enough ? f->step : 0;
    if (!tile->fetch_step) return;
    tile->fetch = f->from;
    tile->fetch_offsets = f->offsets + f->run;
    tile->fetch_terms = f->terms;
    tile->fetch_done = f->done;
    f->done += tile->depth;
    f->run += f->done / f->terms;
    f->done %= f->terms;
}

#endif
