/* Measured constants of conv/direct/; how they are written down: ../tuning.h. */
#ifndef FC_TUNING_DIRECT_H
#define FC_TUNING_DIRECT_H

#include <stddef.h>

/* ---- Direct sums: conv/direct/ ---- */

/* Bytes. Copies of a bundle's planes should stay in L1, or nearly; of all channels, where these are the vector, in L2.
 * compare --layers 'mbv2_dw*,effnet_dw5' --algorithm direct/copies and direct/channels. */
static const ptrdiff_t FC_DIRECT_BAND_BYTES = 64 << 10, FC_DIRECT_CHANNELS_BAND_BYTES = 384 << 10;

/* Bytes of copies of a unit up to which the next unit's are filled before it is read, since loads wait for fresh
 * stores. FASTCONV_ISA=avx2, compare --layers mbv2_dw_7x7 --algorithm direct/copies. */
static const ptrdiff_t FC_DIRECT_SMALL_COPY_BYTES = 16 << 10;

/* Bytes of a unit's copies, or of a group's sums of dw, beyond which no arrangement tries: a bound of the workspace. */
static const ptrdiff_t FC_DIRECT_MAX_BYTES = 8 << 20;

/* Channels whose lines are transposed together, where they lie side by side: a vector of float32 at its longest. */
enum { FC_DIRECT_SIDE_BY_SIDE = 16 };

/* Positions of a plane that is transposed whole, so that channels are the vector. 7x7 took half of the time of copies,
 * 14x14 1.1 times. FASTCONV_ISA=avx2, compare --layers 'mbv2_dw*' --algorithm direct/transposed and direct/copies. */
static const ptrdiff_t FC_DIRECT_TRANSPOSED_POSITIONS = 1024;
/* Vectors of x in a line up to which dw is summed over transposed planes where registers are few, with 3 taps and with
 * more. AVX2, zoo.csv: 3x3 of 14x14 took 0.86 of the time of planes in place, of 28x28 1.19; 5x5 of 14x14 and 28x28
 * 0.62 and 0.8. choose.py --set zoo --layers '*-g*' --ops dw --isa avx2. */
static const ptrdiff_t FC_DIRECT_TRANSPOSED_DW3_VECTORS = 2, FC_DIRECT_TRANSPOSED_DW_VECTORS = 4;

/* Outputs of a band of lines read in place, about; columns beyond which lines are copied band by band, which threads
 * share and signals wait less for. compare --layers 'mbv2_dw*,resnext_g32' --algorithm direct/in_place. */
static const ptrdiff_t FC_DIRECT_BAND_OUTPUTS = 4096, FC_DIRECT_IN_PLACE_COLUMNS = 4096;

/* Bytes of a line of outputs, and of x and y together, from which on what the next blocks of lines read is fetched: 32
 * planes of 112x112, 6 images and more, took 0.8 to 1.07 of the time (y, dx) and 0.55 to 0.85 (dw); of 1 to 4 images,
 * which stay in L3 (32 MiB), up to 1.06 and 1.14; lines of 56, which the processor fetches itself, up to 1.14.
 * `compare` --layers NAMES --ops forward,dx,dw --algorithm direct/in_place, with --isa avx2 too. */
static const ptrdiff_t FC_DIRECT_FETCH_LINE_BYTES = 320, FC_DIRECT_FETCH_BYTES = 16 << 20;
/* Taps of the longer axis. What is left to copies took up to 3 times as long in place: single lines (31 taps), several
 * channels of more than 3x3 taps (4x4 of 7x7: 1.5 times) or with a stride (3 to 25: 1.6), strides with 7 taps (1.3), or
 * of one axis (1.4). compare --layers NAMES --algorithm direct/in_place and direct/copies, of such layers. */
static const ptrdiff_t FC_DIRECT_STRIDED_TAPS = 5, FC_DIRECT_CHANNELS_TAPS = 3;

/* Narrow planes: planes that share a call of the kernel, and images, which share weights. Lines: fewer leave vectors
 * empty, more are fetched with every block of a plane. compare --layers mbv2_dw_7x7 --algorithm direct/narrow. */
static const ptrdiff_t FC_DIRECT_NARROW_PLANES = 128, FC_DIRECT_NARROW_IMAGES = 8;
static const ptrdiff_t FC_DIRECT_NARROW_MIN_LINES = 4, FC_DIRECT_NARROW_MAX_LINES = 16;
/* Narrow planes that become one line, AVX2. y and dx: vectors of a line of stride 1, taps; dw: taps, positions of x in
 * several images. 3x3 of 7x7 took 0.65 of the time of lines in place, of 14x14 1.1; 7x7 1.2 to 1.6 times that of
 * transposed planes, dw of 5x5 1.1, of 3x3 0.8 to 0.9, of one image 1.3. choose.py --layers '*-g*' --isa avx2. */
static const double FC_DIRECT_FLAT_VECTORS = 1.65;
static const ptrdiff_t FC_DIRECT_FLAT_TAPS = 5, FC_DIRECT_FLAT_DW_TAPS = 3, FC_DIRECT_FLAT_DW_POSITIONS = 192;

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
 * are taken below `limit`, or `one_vector` where a vector holds a line of outputs. Of 1728 problems of 1 to 8 channels
 * by 8 to 64, 3x3 to 7x7 taps, strides 1 and 2, outputs 8 to 112 wide, and of 250 of them in float64, the rules take
 * 0.91 of the time of GEMMs alone (the best of both: 0.90). choose --ops dx --algorithms direct,implicit_gemm. */
static const struct {
    double in_channels, out_channels, taps, fill; /* of their logarithms */
    double strided, strided_taps;                 /* with a stride: beside, and of the logarithm of the taps */
    double limit, one_vector;
} FC_DIRECT_DX = {0.32, 0.12, -0.15, -0.17, -0.41, 0.19, 0.35, 0.59};
/* dx of lines of several vectors, with more than so many input and output channels and taps: 67 such problems that the
 * regression would take took 1.07 times as long (the same command). */
static const ptrdiff_t FC_DIRECT_DX_IN_CHANNELS = 2, FC_DIRECT_DX_OUT_CHANNELS = 8, FC_DIRECT_DX_TAPS = 9;

/* Cycles of an arrangement: of a vector of results for a tap and a plane; of a vector of results, and beside that of
 * one whose elements lie apart in the array; of a vector of a plane that is copied, and of one that is gathered from
 * elements apart; of a plane that meets a channel; of a tap's sum of dw. With AVX-512 (in_place and narrow everywhere),
 * then elsewhere: y and dx, then dw; in order of fc_direct_arrangement. Fitted to 1086 runs of 90 layers, 526 with
 * AVX2, before it had in_place: half were estimated within 3 to 9 % (copies 15 %), nine of ten within 15 to 50 %. They
 * choose nothing. choose.py --algorithms direct/in_place,direct/copies, and fastconv.explain. */
typedef struct {
    double term, output, scattered, copied, gathered, plane, sum;
} fc_direct_unit_cycles;
static const fc_direct_unit_cycles FC_DIRECT_CYCLES[2][2][5] = {
    {{{0.78, 3.6, 0, 8.7, 8.7, 0, 0},         /* channels */
      {1.4, 8.5, 0, 0, 0, 0, 0},              /* narrow */
      {0.83, 6.8, 0, 11.5, 11.5, 141, 0},     /* transposed */
      {1.12, 7.4, 0, 0, 0, 67, 0},            /* in_place */
      {0.94, 2, 9.6, 10.5, 17, 35, 0}},       /* copies */
     {{1.02, 3.7, 0, 8.3, 8.3, 249, 200},
      {1.69, 6.3, 0, 0, 0, 0, 37},
      {0.99, 7.9, 0, 10.9, 10.9, 814, 119},
      {1.3, 3.8, 0, 0, 0, 110, 58},
      {1.41, 12, 12.5, 7.9, 28.7, 40, 52}}},
    {{{0.57, 3.5, 0, 5.2, 5.2, 19, 0},
      {0, 0, 0, 0, 0, 0, 0},
      {0.54, 5.5, 0, 6.8, 6.8, 165, 0},
      {0, 0, 0, 0, 0, 0, 0},
      {0.51, 0, 4.6, 7.2, 11.3, 56, 0}},
     {{0.73, 0, 0, 5.6, 5.6, 125, 66},
      {0, 0, 0, 0, 0, 0, 0},
      {0.65, 2, 0, 6.1, 6.1, 580, 44},
      {0, 0, 0, 0, 0, 0, 0},
      {0.59, 2.1, 15, 5.9, 11.3, 71, 42}}},
};

#endif
