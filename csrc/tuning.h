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

/* Bytes. Copies of the planes of a bundle should stay in L1, or nearly; those of all channels, where channels are the
 * vector, in L2. compare --layers 'mbv2_dw*,effnet_dw5' --algorithm direct/copies, direct/channels. */
static const ptrdiff_t FC_DIRECT_BAND_BYTES = 64 << 10, FC_DIRECT_CHANNELS_BAND_BYTES = 384 << 10;

/* Bytes of copies of a unit up to which the next unit's are filled before the first is read, since loads wait for
 * fresh stores. compare --layers mbv2_dw_7x7 --algorithm direct/copies, with FASTCONV_ISA=avx2. */
static const ptrdiff_t FC_DIRECT_SMALL_COPY_BYTES = 16 << 10;

/* Bytes of a unit's copies, or of a group's sums of dw, beyond which no arrangement tries: a bound of the workspace. */
static const ptrdiff_t FC_DIRECT_MAX_BYTES = 8 << 20;

/* Channels whose lines are transposed together, where they lie side by side: a vector of float32 at its longest. */
enum { FC_DIRECT_SIDE_BY_SIDE = 16 };

/* Positions of a plane that is transposed whole, so that channels are the vector; lines of at most half a vector. 7x7
 * took half of the time of direct/copies, 14x14 1.1 times as long.
 * FASTCONV_ISA=avx2, compare --layers 'mbv2_dw*' --algorithm direct/transposed, direct/copies. */
static const ptrdiff_t FC_DIRECT_TRANSPOSED_POSITIONS = 1024;

/* Outputs of a band of lines read in place, about; columns of a line, beyond which lines are copied band by band, which
 * threads share, and which wait for less before a signal.
 * compare --layers 'mbv2_dw*,resnext_g32' --algorithm direct/in_place, direct/copies. */
static const ptrdiff_t FC_DIRECT_BAND_OUTPUTS = 4096, FC_DIRECT_IN_PLACE_COLUMNS = 4096;

/* Taps of the longer axis. What is left to copies took up to 3 times as long in place: single lines (31 taps), several
 * channels of more than 3x3 taps (4x4 of 7x7: 1.5 times) or with a stride (3 to 25: 1.6), strides with 7 taps (1.3), or
 * of one axis (1.4). compare --layers NAMES --algorithm direct/in_place, direct/copies, of such layers. */
static const ptrdiff_t FC_DIRECT_STRIDED_TAPS = 5, FC_DIRECT_CHANNELS_TAPS = 3;

/* Narrow planes: how many share a call of the kernel, whose tables take as long as a few of them; of how many images,
 * whose planes share weights. Lines of a plane: one block is fetched with all of the next plane, and fewer lines leave
 * its vectors empty. compare --layers mbv2_dw_7x7 --algorithm direct/narrow, direct/in_place, direct/transposed. */
static const ptrdiff_t FC_DIRECT_NARROW_PLANES = 128, FC_DIRECT_NARROW_IMAGES = 8;
static const ptrdiff_t FC_DIRECT_NARROW_MIN_LINES = 4, FC_DIRECT_NARROW_MAX_LINES = 16;

/* dw: terms of a lane's chain before it is added to a total in double, for the error alone (bench/accuracy.py). */
static const ptrdiff_t FC_DIRECT_CHAIN = 1024;

/* dw: chunks of the images with totals of their own, where there are fewer bundles than these to share; bytes of all
 * totals. Sums depend on them, so they cannot depend on the threads.
 * compare --layers 'mbv2_dw*' --ops dw --threads 1,2 --algorithm direct. */
static const ptrdiff_t FC_DIRECT_CHUNKS = 8, FC_DIRECT_FEW_BUNDLES = 64, FC_DIRECT_TOTALS_BYTES = 8 << 20;

/* dw in place: groups whose planes are read one after the other, as they lie; bundles that should remain for the
 * threads; bytes of a bundle's sums, which should stay in L2. compare --layers 'mbv2_dw*,effnet_dw5' --ops dw
 * --algorithm direct/in_place. */
static const ptrdiff_t FC_DIRECT_TOGETHER = 16, FC_DIRECT_MIN_BUNDLES = 16, FC_DIRECT_SUMS_BYTES = 512 << 10;

/* Channels of a group, and products of an input and an output one, beyond which gathered GEMMs win: they use an input
 * for more products than a register tile of few channels has. choose --algorithms direct,implicit_gemm, of layers of
 * groups of 1 to 8 channels. */
static const ptrdiff_t FC_DIRECT_MAX_CHANNELS = 8, FC_DIRECT_MAX_PRODUCTS = 16;
/* Outputs of a line and of a plane, below which lines do not fill vectors (the same command). */
static const ptrdiff_t FC_DIRECT_MIN_COLUMNS = 8, FC_DIRECT_MIN_OUTPUTS = 32;

/* Forward of few input channels, channels first: a regression of the logarithm of the time over that of gathered GEMMs,
 * whose tiles are better filled by multiples of 8 channels (`unfilled`); direct sums are taken below `limit`, of at
 * most `terms` products a sum. They are for a third of 2400 problems of 1 to 8 channels by 1 to 128, 2x2 to 7x7 taps,
 * outputs 8 to 224 wide, which take 0.933 of the time of GEMMs alone (the best of both: 0.917); of 640 with AVX2 0.921
 * (0.894). choose --ops forward --algorithms direct,implicit_gemm. */
static const struct {
    double in_channels, out_channels; /* of their logarithms */
    double fill, unfilled;            /* of the vectors of a line; of 8 output channels */
    double strided;                   /* of the logarithm of the taps, with a stride */
    double few_taps;                  /* beside, if taps are at most 4 */
    double limit;
    ptrdiff_t terms;
} FC_DIRECT_FORWARD = {0.12, 0.07, -0.49, -0.23, 0.09, 0.22, 0.34, 108};

/* dx of few input channels: a regression of the logarithm of the time over that of gathered GEMMs, of which direct sums
 * are taken below `limit`, or `one_vector` where a vector holds a line of outputs. Of 1728 problems of 1 to 8 channels by
 * 8 to 64, 3x3 to 7x7 taps, strides 1 and 2, outputs 8 to 112 wide, and of 250 of them in float64, the rules take 0.91
 * of the time of GEMMs alone (the best of both: 0.90). choose --ops dx --algorithms direct,implicit_gemm. */
static const struct {
    double in_channels, out_channels, taps, fill; /* of their logarithms */
    double strided, strided_taps;                 /* with a stride: beside, and of the logarithm of the taps */
    double limit, one_vector;
} FC_DIRECT_DX = {0.32, 0.12, -0.15, -0.17, -0.41, 0.19, 0.35, 0.59};
/* dx of lines of several vectors, with more than so many input and output channels and taps: 67 such problems that the
 * regression would take took 1.07 times as long (the same command). */
static const ptrdiff_t FC_DIRECT_DX_IN_CHANNELS = 2, FC_DIRECT_DX_OUT_CHANNELS = 8, FC_DIRECT_DX_TAPS = 9;

/* ---- Winograd: conv/winograd/ ---- */

/* ---- Gathered GEMMs, y and dx: conv/gemm/ ---- */

/* ---- Gathered GEMMs, dw: conv/gemm/ ---- */

/* ---- Fully connected: conv/fully_connected.c ---- */

/* ---- Pools: pool/ ---- */

/* ---- Columns, layers: columns/, layers/ ---- */

#endif
