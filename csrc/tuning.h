/* Every measured constant of the engine: how blocks are cut and paths are chosen.
 *
 * Each says its unit, what was measured, and how to measure it again. `compare` stands for
 * `python bench/compare.py --peers numpy --layers NAMES --algorithm PATH`, `choose` for
 * `python bench/choose.py --layers NAMES`; ratios are of the time with the value that stands here. Measured on Zen 4
 * (1 MiB L2 a core, 32 KiB L1) unless it says otherwise. What follows from a constant is computed where it is used. */
#ifndef FC_TUNING_H
#define FC_TUNING_H

#include <stddef.h>

/* ---- Threads, correlations: platform/, conv/correlations.c ---- */

/* ---- Direct sums: conv/direct/ ---- */

/* ---- Winograd: conv/winograd/ ---- */

/* ---- Gathered GEMMs, y and dx: conv/gemm/ ---- */

/* ---- Gathered GEMMs, dw: conv/gemm/ ---- */

/* Where layers are named, `compare --ops dw --layers` these, with --algorithm implicit_gemm/by_block, .../by_tap or
 * .../few_sums; the last of two versions is measured after the constant is changed. */
enum {
    /* Output pixels of a block: with more, adding a tile to the sums costs less, with fewer, dy and planes stay nearer.
     * The chain of sums in a register is as long, so that it counts for accuracy too (bench/accuracy.py). */
    FC_GEMM_DW_BLOCK_PIXELS = 1024,
    /* Half of them where dy would be transposed again for fewer rows of sums than these (rn50_l3_3x3s2: 0.91 of the
     * time) ... */
    FC_GEMM_DW_FEW_ROWS = 512,
    /* ... or where strided planes in place, which are read again for each range of dy's channels, take more bytes than
     * these of L2 (rn50_l2_down1x1: 0.79; stride 1, 512 -> 256 channels of 28x28: 1.06). */
    FC_GEMM_DW_MAX_READ_AGAIN = 1 << 20,
    /* Lines of a block, about: taps further apart are copied apart. Not measured. */
    FC_GEMM_DW_BLOCK_LINES = 32,
    /* Bytes of the planes and of the transposed dy that a block holds, together within L2. */
    FC_GEMM_DW_PLANES_BYTES = 512 << 10,
    FC_GEMM_DW_DY_BYTES = 384 << 10,
    /* Bytes of dw up to which threads share the pixels out, and partial sums, each of that size, at most; a larger dw
     * is shared out by its planes. */
    FC_GEMM_DW_PARTIAL_BYTES = 896 << 10,
    FC_GEMM_DW_MAX_PARTIALS = 16,
    /* Rows of sums that a range of planes has at least, as transposing dy costs as much as about 50 rows, and bytes of
     * its sums at most. */
    FC_GEMM_DW_RANGE_ROWS = 1024,
    FC_GEMM_DW_RANGE_BYTES = 4 << 20,
    /* Output pixels of a block of panels: a tile reads two panels, which stay in L1 and L2. */
    FC_GEMM_DW_PANEL_PIXELS = 256,
    /* Channels that stay side by side in the copy of the planes: with more, a line of pixels is spread over too many
     * cache lines (with --layout NHWC deeplab_d2, which has more, took 1.14 times as long, mbv2_stem 0.77). */
    FC_GEMM_DW_MAX_INNER = 64,
    /* Channels side by side of dy that is read in place, or sums that it takes part in: with more of both, pixels lie
     * in the same sets of the cache (--layout NHWC: rn50_l4_3x3 with 512 channels took 1.3 times as long, mbv2_expand
     * with 24 sums 0.93 to 0.85 of the time that a copy took). */
    FC_GEMM_DW_MAX_IN_PLACE = 64,
    /* Cycles that a pixel keeps the multipliers busy for one tap, which its entry in the tables of that tap is worth:
     * cifar_rn20_l1 with 9 took 1.2 times as long tap by tap, rn50_l1_3x3 with 132 took 0.92. */
    FC_GEMM_DW_CYCLES_WORTH_A_TABLE = 40,
};

/* Share of the taps inside up to which planes side by side, whose pixels are far apart for a tap, are taken tap by tap
 * (--layout NHWC: rn50_l3_3x3s2, 0.93 inside, took 1.3 times as long as with a copy, rn50_l4_3x3 with 0.82 as long,
 * aspp_d12 with 0.51 took 0.68). */
static const double FC_GEMM_DW_MAX_INSIDE = 0.75;

enum {
    /* Output pixels of a block of few sums: with more, adding the lanes up costs less (cs231n_three_layer with 1024 at
     * most took 1.04 times as long), with fewer, dy of a tile and what it reads of x stay near. */
    FC_FEW_SUMS_MAX_PIXELS = 2048,
    FC_FEW_SUMS_MIN_PIXELS = 1024,
    FC_FEW_SUMS_MAX_PARTIALS = 16,
    /* Bytes that a block reads of x, and of a partial result. */
    FC_FEW_SUMS_BLOCK_BYTES = 256 << 10,
    FC_FEW_SUMS_SUMS_BYTES = 96 << 10,
    /* Bytes between planes in place which put them in the same sets of L1, in which those of a tile would not stay. */
    FC_FEW_SUMS_SAME_SETS = 2048,
};

/* Cycles for an output pixel, with AVX-512: of few sums, and of a GEMM with its transposes. Fitted to 1400 problems of
 * 1 to 128 channels by 4 to 256, 1x1 to 7x7 taps, strides 1 and 2, outputs 4 to 224 wide, and to 280 of float64: those
 * that few sums are said to win take 0.63 of the time (float64 0.80), the hundredth that loses most 1.08 (1.23). To
 * judge it again: `choose --ops dw --algorithms implicit_gemm/few_sums,implicit_gemm/by_block`. */
static const struct {
    double copied_byte, copied_line;   /* of planes, of each residue of the stride that taps read: a byte, a line */
    double dots, tile, pixel;          /* few sums, beside a cycle for a vector of a tap and a channel: a vector of a
                                        * channel, the lanes of a tile once a block, a pixel */
    double in_place;                   /* the ratio by which x in place, which comes from further away, is dearer */
    double product, transposed, gemm_pixel; /* a GEMM: a vector of channels and a tap; ... of dy; a pixel */
} FC_FEW_SUMS_CYCLES = {
    .copied_byte = 0.2, .copied_line = 16, .dots = 5, .tile = 370, .pixel = 2, .in_place = 1.08,
    .product = 1.12, .transposed = 11, .gemm_pixel = 6,
};

/* ---- Fully connected: conv/fully_connected.c ---- */

/* ---- Pools: pool/ ---- */

/* ---- Columns, layers: columns/, layers/ ---- */

#endif
