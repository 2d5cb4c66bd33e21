/* The register tile of a gathered GEMM: gemm.tmpl.h. */
#ifndef FC_KERNELS_GEMM_H
#define FC_KERNELS_GEMM_H

#include <stddef.h>

enum {
    FC_MAX_TILE_ROWS = 8,                           /* rows of the largest register tile */
    FC_MAX_TILE_VECTORS = 4,                        /* vectors across it */
    FC_MAX_TILE_COLS = 16 * FC_MAX_TILE_VECTORS,    /* elements across the widest tile of any instruction set */
    FC_AHEAD = 8,                                   /* rows of b that a tile fetches ahead */
};

/* Which rows of b a tile fetches to L1 some terms ahead. */
typedef enum {
    FC_ROWS_FOLLOW,    /* those that follow in memory */
    FC_ROWS_SCATTERED, /* those that the table names, which has FC_AHEAD entries more than terms */
    FC_ROWS_NEAR       /* none: they are in L1 */
} fc_rows_of_b;

typedef struct {
    ptrdiff_t depth;
    const void *const *a_rows;
    const ptrdiff_t *a_offsets;
    const void *b;
    const ptrdiff_t *b_offsets;
    void *c;
    ptrdiff_t c_row;     /* elements between its rows */
    const void *bias;    /* what the sums start from, or NULL: zeros */
    int bias_is_column;  /* one element a row of c, or one a column */
    int accumulate;      /* add what c holds */
    int relu;            /* c = max(c, 0), NaN kept */
    fc_rows_of_b rows_of_b;
    /* What later tiles read is brought to L2 meanwhile, fetch_step elements each term (0: nothing): of rows from
     * fetch + fetch_offsets[i] on, each fetched in fetch_terms; the first, of which fetch_done have been, is split. */
    const void *fetch;
    const ptrdiff_t *fetch_offsets;
    ptrdiff_t fetch_step, fetch_terms, fetch_done;
} fc_tile;

typedef void (*fc_gemm_kernel)(const fc_tile *tile);

#endif
