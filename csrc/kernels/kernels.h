/* What the kernels of one instruction set and element type are: a table of pointers. Each family has its contract in
 * <family>.h and its body in <family>.tmpl.h.
 * Elements are float or double throughout a table; pointers to them are void here. */
#ifndef FC_KERNELS_H
#define FC_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "../fastconv.h"
#include "activation.h"
#include "direct.h"
#include "direct_lines.h"
#include "direct_narrow.h"
#include "gemm.h"
#include "move.h"
#include "norm.h"
#include "panels.h"
#include "pool.h"
#include "pool_lines.h"
#include "product.h"
#include "winograd.h"

enum { FC_CACHE_LINE = 64 }; /* bytes */

typedef struct {
    int lanes;         /* elements of a vector */
    int few_registers; /* vector registers: 16, not 32 and more */
    int tile_rows;     /* the register tile that keeps the multipliers busiest: tile_rows x tile_vectors * lanes */
    int tile_vectors;
    /* [tile_rows - 1][tile_vectors - 1]; NULL where the accumulators would not fit the registers. */
    fc_gemm_kernel gemm[FC_MAX_TILE_ROWS][FC_MAX_TILE_VECTORS];
    fc_store_kernel store;
    int stores_apart; /* by vectors also where y_step is 2, not element by element */
    fc_sum_kernel sum;
    fc_add_kernel add;
    fc_finite_kernel finite;
    fc_transpose_kernel transpose;
    fc_copy_kernel copy;
    fc_pad_kernel pad;
    fc_direct_kernel direct_pixels, direct_channels;
    fc_direct_gradient_kernel direct_gradient;
    /* By the rows of x, less one; by those of c, of which there are at most outer_tile_rows. */
    void (*dots[FC_DOT_ROWS])(const fc_dots *p);
    void (*store_dots[FC_DOT_ROWS])(const fc_dot_outputs *p);
    int dots_filters[FC_DOT_ROWS];
    void (*pixel_dots[FC_DOT_ROWS])(const fc_pixel_dots *p); /* by the channels, less one; NULL without VLOAD_FIRST */
    int pixel_dots_taps;
    void (*outer[FC_MAX_TILE_ROWS])(const fc_outer *p);
    fc_panel_kernel panel[FC_MAX_TILE_ROWS][FC_PANEL_VECTORS]; /* by rows and vectors less one; at most panel_rows */
    int panel_rows;
    fc_to_panels_kernel to_panels;
    int outer_tile_rows;
    int outer_tile_vectors[FC_MAX_TILE_ROWS]; /* of a register tile, by its rows less one */
    /* NULL where loads are not masked: for one channel, and for two with one residue and column_stride 1. */
    fc_direct_lines_kernel direct_lines[2];
    fc_direct_lines_gradient_kernel direct_lines_gradient[2];
    fc_direct_narrow_kernel direct_narrow; /* NULL as well */
    fc_direct_narrow_gradient_kernel direct_narrow_gradient;
    int narrow_columns, flat_pitch; /* of narrow planes at most: fc_flat_pitch, or 0: lanes are picked */
    /* By the vectors across, less one; rows of a register tile. */
    int winograd_tile_rows[FC_MAX_TILE_VECTORS];
    void (*winograd_product[FC_WINOGRAD_PRODUCT_VECTORS])(const fc_winograd_product *product);
    void (*winograd_reduction[FC_MAX_TILE_VECTORS])(const fc_winograd_reduction *reduction);
    fc_winograd_kernels winograd[FC_WINOGRAD_SHAPES];
    fc_pool_kernels pool;
    fc_norm_kernels norm;
    fc_activation_kernels activation;
} fc_kernels;

/* The kernels of the instruction set at `isa` in fc_isa_name's order. */
const fc_kernels *fc_find_kernels(int isa, fc_dtype dtype);

#endif
