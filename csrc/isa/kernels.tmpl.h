/* All kernels of one instruction set for one element type, and their table. Needs what vectors.h lists as required. */
#include "../kernels/kernels.h"
#include "isa_list.h"
#include "vectors.h"

#define FC_NAME(stage) FC_JOIN4(fc_##stage##_, FC_DTYPE, _, FC_ISA)

#include "vec_defaults.tmpl.h"

#include "../kernels/gemm.tmpl.h"
#include "../kernels/move.tmpl.h"
#include "../kernels/direct.tmpl.h"
#include "../kernels/product.tmpl.h"
#include "../kernels/panels.tmpl.h"
#include "../kernels/direct_lines.tmpl.h"
#include "../kernels/direct_lines_gradient.tmpl.h"
#include "../kernels/direct_flat.tmpl.h"
#include "../kernels/direct_narrow.tmpl.h"
#include "../kernels/winograd.tmpl.h"
#include "../kernels/pool.tmpl.h"
#include "../kernels/pool_lines.tmpl.h"
#include "../kernels/norm.tmpl.h"
#include "../kernels/activation.tmpl.h"

const fc_kernels FC_JOIN4(fc_kernels_, FC_DTYPE, _, FC_ISA) = {
    .lanes = LANES,
    .few_registers = FC_REGISTERS < 32,
#if FC_REGISTERS >= 32
    .tile_rows = 8,
    .tile_vectors = 3,
#else
    .tile_rows = 4,
    .tile_vectors = 3,
#endif
    .gemm =
        {
            {FC_NAME(gemm_1x1), FC_NAME(gemm_1x2), FC_NAME(gemm_1x3), FC_NAME(gemm_1x4)},
            {FC_NAME(gemm_2x1), FC_NAME(gemm_2x2), FC_NAME(gemm_2x3), FC_NAME(gemm_2x4)},
#if FC_REGISTERS >= 32
            {FC_NAME(gemm_3x1), FC_NAME(gemm_3x2), FC_NAME(gemm_3x3), FC_NAME(gemm_3x4)},
            {FC_NAME(gemm_4x1), FC_NAME(gemm_4x2), FC_NAME(gemm_4x3), FC_NAME(gemm_4x4)},
            {FC_NAME(gemm_5x1), FC_NAME(gemm_5x2), FC_NAME(gemm_5x3), FC_NAME(gemm_5x4)},
            {FC_NAME(gemm_6x1), FC_NAME(gemm_6x2), FC_NAME(gemm_6x3), FC_NAME(gemm_6x4)},
            {FC_NAME(gemm_7x1), FC_NAME(gemm_7x2), FC_NAME(gemm_7x3), NULL},
            {FC_NAME(gemm_8x1), FC_NAME(gemm_8x2), FC_NAME(gemm_8x3), NULL},
#else
            {FC_NAME(gemm_3x1), FC_NAME(gemm_3x2), FC_NAME(gemm_3x3), NULL},
            {FC_NAME(gemm_4x1), FC_NAME(gemm_4x2), FC_NAME(gemm_4x3), NULL},
            {FC_NAME(gemm_5x1), FC_NAME(gemm_5x2), NULL, NULL},
            {FC_NAME(gemm_6x1), FC_NAME(gemm_6x2), NULL, NULL},
            {NULL, NULL, NULL, NULL},
            {NULL, NULL, NULL, NULL},
#endif
        },
    .store = FC_NAME(store),
#ifdef VSTORE_EVERY_OTHER
    .stores_apart = 1,
#endif
    .sum = FC_NAME(sum),
    .add = FC_NAME(add),
    .finite = FC_NAME(finite),
    .transpose = FC_NAME(transpose),
    .copy = FC_NAME(copy),
    .pad = FC_NAME(pad),
    .direct_pixels = FC_NAME(direct_pixels),
    .direct_channels = FC_NAME(direct_channels),
    .direct_gradient = FC_NAME(direct_gradient),
    .dots = {FC_NAME(dots_1), FC_NAME(dots_2), FC_NAME(dots_3), FC_NAME(dots_4)},
    .store_dots = {FC_NAME(store_dots_1), FC_NAME(store_dots_2), FC_NAME(store_dots_3), FC_NAME(store_dots_4)},
#ifdef VLOAD_FIRST
    .pixel_dots = {FC_NAME(pixel_dots_1), FC_NAME(pixel_dots_2), FC_NAME(pixel_dots_3), FC_NAME(pixel_dots_4)},
    .pixel_dots_taps = FC_PIXEL_DOTS_TAPS,
#endif
    .dots_filters = {FC_DOT_FILTERS(1), FC_DOT_FILTERS(2), FC_DOT_FILTERS(3), FC_DOT_FILTERS(4)},
#if FC_REGISTERS >= 32
    .outer = {FC_NAME(outer_1), FC_NAME(outer_2), FC_NAME(outer_3), FC_NAME(outer_4), FC_NAME(outer_5),
              FC_NAME(outer_6), FC_NAME(outer_7), FC_NAME(outer_8)},
#else
    .outer = {FC_NAME(outer_1), FC_NAME(outer_2), FC_NAME(outer_3), FC_NAME(outer_4)},
#endif
    .panel =
        {
            {FC_NAME(panel_1x1), FC_NAME(panel_1x2)},
            {FC_NAME(panel_2x1), FC_NAME(panel_2x2)},
            {FC_NAME(panel_3x1), FC_NAME(panel_3x2)},
            {FC_NAME(panel_4x1), FC_NAME(panel_4x2)},
            {FC_NAME(panel_5x1), FC_NAME(panel_5x2)},
#if FC_REGISTERS >= 32
            {FC_NAME(panel_6x1), FC_NAME(panel_6x2)},
            {FC_NAME(panel_7x1), FC_NAME(panel_7x2)},
            {FC_NAME(panel_8x1), FC_NAME(panel_8x2)},
#endif
        },
#if FC_REGISTERS >= 32
    .panel_rows = 8,
#else
    .panel_rows = 5,
#endif
    .to_panels = FC_NAME(to_panels),
    .outer_tile_rows = FC_OUTER_TILE_ROWS,
    .outer_tile_vectors = {FC_OUTER_TILE_VECTORS(1), FC_OUTER_TILE_VECTORS(2), FC_OUTER_TILE_VECTORS(3),
                           FC_OUTER_TILE_VECTORS(4), FC_OUTER_TILE_VECTORS(5), FC_OUTER_TILE_VECTORS(6),
                           FC_OUTER_TILE_VECTORS(7), FC_OUTER_TILE_VECTORS(8)},
#ifdef VLOAD_LANES
    .direct_lines = {FC_NAME(direct_lines), FC_NAME(direct_lines_pair)},
    .direct_lines_gradient = {FC_NAME(direct_lines_gradient), FC_NAME(direct_lines_gradient_pair)},
#endif
#ifdef VLOAD_LANES
    .direct_narrow = FC_NAME(direct_narrow),
    .direct_narrow_gradient = FC_NAME(direct_narrow_gradient),
#ifdef VPICK
    .narrow_columns = LANES / 2,
#else
    .narrow_columns = FC_FLAT_COLUMNS * LANES,
    .flat_pitch = FC_FLAT_PITCH * LANES,
#endif
#endif
    .winograd_tile_rows = {FC_WINOGRAD_TILE_ROWS(1), FC_WINOGRAD_TILE_ROWS(2), FC_WINOGRAD_TILE_ROWS(3),
                           FC_WINOGRAD_TILE_ROWS(4)},
    .winograd_product = {FC_NAME(winograd_product_1), FC_NAME(winograd_product_2), FC_NAME(winograd_product_3)},
    .winograd_reduction = {FC_NAME(winograd_reduction_1), FC_NAME(winograd_reduction_2), FC_NAME(winograd_reduction_3),
                           FC_NAME(winograd_reduction_4)},
    .winograd = {FC_WINOGRAD_KERNELS(3x3), FC_WINOGRAD_KERNELS(3x3_accurate), FC_WINOGRAD_KERNELS(5x5),
                 FC_WINOGRAD_KERNELS(2x2), FC_WINOGRAD_KERNELS(1x2), FC_WINOGRAD_KERNELS(1x3),
                 FC_WINOGRAD_KERNELS(1x5), FC_WINOGRAD_KERNELS(1x7)},
    .pool =
        {
            .column_size = (int)sizeof(COLUMN),
            .max_along = FC_NAME(max_along),
            .max_channels = FC_NAME(max_channels),
            .max_run = FC_NAME(max_run),
            .max_across = FC_NAME(max_across),
            .max_windows = FC_NAME(max_windows),
            .sum_windows = FC_NAME(sum_windows),
#ifdef VEVEN
            .cut_line = FC_NAME(cut_line),
            .cut_size = sizeof(FC_NAME(line_cut)),
            .max_lines = FC_NAME(max_lines),
            .sum_lines = FC_NAME(sum_lines),
#endif
            .sum_along = FC_NAME(sum_along),
            .sum_channels = FC_NAME(sum_channels),
            .sum_run = FC_NAME(sum_run),
            .sum_across = FC_NAME(sum_across),
            .divide = FC_NAME(divide),
            .total_across = FC_NAME(total_across),
            .spread = FC_NAME(spread),
            .interleave = FC_NAME(interleave),
            .scatter = FC_NAME(scatter),
            .widen = FC_NAME(widen),
            .narrow = FC_NAME(narrow),
        },
    .norm =
        {
            .moments_run = FC_NAME(moments_run),
            .moments_rows = FC_NAME(moments_rows),
            .products_run = FC_NAME(products_run),
            .products_rows = FC_NAME(products_rows),
            .apply_run = FC_NAME(apply_run),
            .apply_rows = FC_NAME(apply_rows),
            .finish = FC_NAME(finish_norm),
            .relu_gradient = FC_NAME(norm_relu_gradient),
        },
    .activation =
        {
            .relu = FC_NAME(relu),
            .sigmoid = FC_NAME(sigmoid),
            .sigmoid_gradient = FC_NAME(sigmoid_gradient),
            .softmax = FC_NAME(softmax),
        },
};
