/* Every measured constant of the engine: how blocks are cut and paths are chosen.
 *
 * Each says its unit, what was measured, and how to measure it again. `compare` stands for
 * `python bench/compare.py --peers numpy --threads 1`, `choose` for `python bench/choose.py --threads 1`, each with the
 * options that follow; of several algorithms each is run in turn. NAMES are layers of bench/layers.csv of the kind that
 * is described. Old and new values are built and run a few times in turn; the peer shows how the machine drifts. Ratios
 * are of the time with the value that stands here. Measured on Zen 4 (1 MiB L2 a core, 32 KiB L1) unless it says
 * otherwise. What follows from a constant is computed where it is used. */
#ifndef FC_TUNING_H
#define FC_TUNING_H

#include <stddef.h>

/* ---- Threads, correlations: platform/, conv/correlations.c ---- */

/* Rounds of waiting before a thread sleeps: about 50 us, the time a short call takes.
 * bench/compare.py --layers NAMES --threads 1,2, of layers that take 20 to 200 us. */
enum { FC_THREADS_SPINS = 2000 };

/* Workers that are kept off their caller's processor. With more a collision is rarer than the calls that prevent it are
 * long. A call of rn50_l1_3x3 every 10 ms, on a virtual machine's two processors. */
enum { FC_THREADS_MAX_MOVED = 8 };

/* Seconds between two questions whether to stop; nanoseconds that a caller sleeps in between. They are what
 * somebody notices who presses Ctrl-C, not a measurement. */
static const double FC_THREADS_QUESTION_SECONDS = 0.05;
enum { FC_THREADS_NAP_NANOSECONDS = 20000000 };

/* Multiply-adds of a convolution that are worth a thread more: about the 5 us that waking one takes.
 * bench/compare.py --layers NAMES --threads 1,2, of layers that take 5 to 20 us. */
static const double FC_CONV_THREAD_WORK = 512 << 10;

/* A loop over units of work asks at every unit that moves so many bytes, else at one in so many: about 10 us. */
enum { FC_THREADS_QUESTION_BYTES = 64 << 10, FC_THREADS_QUESTION_UNITS = 32 };

/* Scratch that is kept between calls: bytes and blocks. Smaller requests, in bytes, go to malloc, which keeps such
 * sizes itself. Fresh pages cost more than small convolutions.
 * bench/compare.py --layers NAMES, of layers that take less than 100 us. */
static const size_t FC_MEMORY_KEPT_BYTES = 64 << 20, FC_MEMORY_SMALL = 4 << 10;
enum { FC_MEMORY_KEPT_BLOCKS = 64 };

/* Rows of the register tile of gathered GEMMs up to which an instruction set has few registers, 16 of them. */
enum { FC_FEW_TILE_ROWS = 4 };
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

/* ---- Winograd: conv/winograd/ ---- */

/* Costs, in units of 32 multiply-adds for an input and an output channel, at which it took the time of gathered GEMMs:
 * of a tile in the GEMMs, and in the transforms of one channel; of the weights, or their gradient, whose transform is
 * a matter of memory when they are many. */
typedef struct {
    double tile, transforms, weights, many_weights;
} fc_winograd_cost;

enum { FC_WINOGRAD_UNIT = 32 }; /* multiply-adds */

/* y, and dx with stride 1, a row for each fc_winograd_shape. 4x4_3x3 is fitted, here and for dw, to 1700 problems of
 * 16 to 512 channels, images of 1x1 to 28x28 and batches of 1 to 32, in float32 and float64, with AVX-512: the choice
 * cost 0.2 % of the time and 2 % of dw for images of 4x4 and more, of smaller ones 1 % and 5 %. The others to 3800 in
 * float32, signals of 4 to 4096 and images of 3x3 to 55x55: it cost 1 to 2 %, at worst (few outputs, many weights) 1.5
 * to 2.9 times the other way; 5x5_2x2 to 600 images of 11x11 to 120x120: it cost 2 to 3 %. `compare` with --algorithm
 * winograd and with implicit_gemm gives the two times of a problem; `choose` says what the choice costs. */
static const fc_winograd_cost FC_WINOGRAD_COSTS[] = {
    {1.75, 0, 0, 0},  /* 4x4_3x3 */
    {0.72, 2, 0, 0},  /* 2x2_3x3 */
    {0.96, 2, 6, 0},  /* 4x2_5x5 */
    {6.2, 40, 32, 0}, /* 5x5_2x2 */
    {0.28, 2, 1, 0},  /* 5_2 */
    {0.28, 0, 1, 0},  /* 4_3 */
    {0.39, 0, 1, 0},  /* 4_5 */
    {0.43, 0, 0, 0},  /* 2_7 */
};
static const fc_winograd_cost FC_WINOGRAD_DW_COSTS[] = {
    {2.25, 0, 4, 0.02}, /* 4x4_3x3 */
    {0.8, 2, 6, 0},     /* 2x2_3x3 */
    {2.56, 0, 8, 0},    /* 4x2_5x5 */
    {7.2, 6, 32, 0},    /* 5x5_2x2 */
    {0.3, 0, 5, 0},     /* 5_2 */
    {0.29, 0, 4, 0},    /* 4_3 */
    {0.43, 0, 4, 0},    /* 4_5 */
    {0.43, 0, 2, 0},    /* 2_7 */
};
/* dx with stride 2, fitted to 2500 problems of 16 to 512 channels, images of 7x7 to 112x112, half of them in float64:
 * the choice cost 1.3 %, never to take Winograd 11 %. */
static const fc_winograd_cost FC_WINOGRAD_SPREAD_COST = {6, 0, 8, 0.05};
/* Units that gathered GEMMs take for a tap of an output; what the estimate must be better by. Both are of the fits. */
static const double FC_WINOGRAD_GATHERED_TAP = 0.375 / 9, FC_WINOGRAD_MARGIN = 1.05;
/* Channels in and out that it takes unasked: fewer were not fitted, of more than 2048 too few tiles fit a block. */
enum { FC_WINOGRAD_MIN_CHANNELS = 16, FC_WINOGRAD_MAX_CHANNELS = 2048 };

/* Bytes of transformed tiles of a block, which should stay in L2: 256 and 768 KiB were slower. `compare` --layers
 * rn50_l2_3x3,vgg_c3_1,unet_hi --algorithm winograd. */
enum { FC_WINOGRAD_BLOCK_BYTES = 384 << 10 };
/* Tiles that a block has at least, so that its transforms of weights, or reading them, are shared. Same layers. */
enum { FC_WINOGRAD_MIN_TILES = 32 };
/* Bytes of transformed weights of all panels that are kept for all blocks; of more, each block transforms 64 planes of
 * a panel at a time, in L2: rn50_l4_3x3 took 0.75 of the time, dx 0.82. `compare` --layers rn50_l4_3x3,vgg_c4. */
enum { FC_WINOGRAD_WEIGHTS_BYTES = 10 << 20 };
/* Bytes of a task, which keep its workspace below 16 MiB: of transformed tiles where each block transforms the weights;
 * of them and their products then, and where the weights are shared, which are part of the workspace. Of 1024 -> 1024
 * channels of 28x28, 1 and 3 MiB for the first took 1.12 and 1.16 times as long, of 2 times 512 -> 512 of 14x14 0.87
 * and 1.0; 4 MiB for the second 1.31 and 1.0, 8 MiB 1.0; 2 and 3 MiB for the third 0.97 to 1.01 on two threads.
 * `compare` --algorithm winograd --layers rn50_l4_3x3,vgg_c4; third: rn50_l2_3x3,rn50_l3_3x3 --threads 2. */
enum {
    FC_WINOGRAD_LARGE_BLOCK_BYTES = 7 << 20,
    FC_WINOGRAD_MAX_BYTES = 11 << 20,
    FC_WINOGRAD_MAX_BYTES_SHARED = 5 << 20,
};
/* Bytes of all that a line of tiles needs, which is cut until it is enough; and points of its tiles above which it is
 * cut: 64 tiles of 36 points. 1 MiB took 1.09 to 1.12 times as long (unet_hi, vgg_c1_1), 12 MiB 1.0; 32 tiles 1.09
 * (unet_hi), 128 tiles 0.98 to 1.01. `compare` --algorithm winograd --ops forward --layers unet_hi,vgg_c1_1. */
enum { FC_WINOGRAD_LINE_BYTES = 4 << 20, FC_WINOGRAD_LINE_POINTS = 64 * 36 };
/* Bytes of a copy of lines of an image, beside which the tiles that are made of it fit L2. 64 KiB took 0.93 to 1.01 of
 * the time, 256 KiB 0.98 to 1.01: `compare` --algorithm winograd --layers rn50_l2_3x3,rn50_l3_3x3,unet_hi. */
enum { FC_WINOGRAD_COPY_BYTES = 128 << 10 };
/* How many times as fast as the defining sums gathered GEMMs are: `compare` --layers rn50_l3_3x3 --algorithm naive. */
enum { FC_WINOGRAD_REDO_RATIO = 100 };

/* dw: bytes of the workspace of one thread and of the sums of all splits; channels are cut until it is enough. */
enum { FC_WINOGRAD_DW_MAX_BYTES = 15 << 20 };
/* dw: bytes of transformed tiles of a block, which should stay in L2, but no fewer tiles than make the adding of sums
 * cheap: 128 took 1.0 to 1.2 times as long as 64 with 64 and 128 channels, which 48 to 96 do alike. `compare` --ops dw
 * --layers rn50_l1_3x3,rn50_l2_3x3 --algorithm winograd. */
enum { FC_WINOGRAD_DW_BLOCK_BYTES = 1 << 20, FC_WINOGRAD_DW_MIN_TILES = 64 };
/* dw: bytes of sums of register tiles that share the points of a panel: one tile at a time took 1.1 to 1.3 times as
 * long. Same layers. */
enum { FC_WINOGRAD_DW_GROUP_BYTES = 320 << 10 };
/* dw: tiles of a split, bytes of the sums of all splits, which must be added, and splits at most: with up to 1024 tiles
 * rn50_l1_3x3 and unet_valid took 1.16 times as long on two threads, on one thread 0.97 to 0.99 times. */
enum { FC_WINOGRAD_DW_SPLIT_TILES = 512, FC_WINOGRAD_DW_SPLIT_BYTES = 6 << 20, FC_WINOGRAD_DW_MAX_SPLITS = 16 };
/* dw: channels of a range that threads make do with: on two threads rn50_l2_3x3 took 1.17 times as long with 16, 0.99
 * with 64 and 1.89 with 128; vgg_c4 and rn50_l4_3x3 0.98 to 1.02. `compare` --ops dw --algorithm winograd --threads
 * 2. */
enum { FC_WINOGRAD_DW_MIN_RANGE = 32 };

/* ---- Products over packed panels: conv/packed/ ---- */

/* Bytes and outputs of the panels of a block, which stay in L2 beside what is read from memory. Not measured here. */
enum { FC_PACKED_BLOCK_BYTES = 200 << 10, FC_PACKED_BLOCK_OUTPUTS = 1024 };
/* Terms of the longest chain of sums in one register, for its accuracy (bench/accuracy.py). */
enum { FC_PACKED_CHAIN = 1152 };
/* Bytes of x above which, and register tiles of channels up to which, what the next block reads is fetched to L2
 * meanwhile: 256 -> 64 channels of 56x56 took 0.92, dx of 24 -> 144 0.74; where x is in L3 up to 1.11. */
enum { FC_PACKED_FETCH_BYTES = 5 << 20, FC_PACKED_FETCH_TILES = 32 };
/* Panels up to which weights that lie apart, as dx's do, are read in place, in chunks of so many terms, whose cache
 * lines stay in L1; bytes of weights that are packed at once, of more in parts: a bound of the workspace. */
enum { FC_PACKED_FEW_PANELS = 8, FC_PACKED_FEW_TERMS = 256, FC_PACKED_WEIGHT_BYTES = 8 << 20 };
/* Terms whose weights are packed for all register tiles at a time: their lines stay in L1. Not measured. */
enum { FC_PACKED_WEIGHT_TERMS = 64 };
/* Taken unasked from so many outputs of all images and of one on; output channels of a correlation, where register
 * tiles of gathered GEMMs have few rows (16 registers), fewer if planes are 4 KiB apart; and where they have more.
 * Layers of zoo.csv with one tap, y and dx, took 0.8 of the time (AVX2, 40 channels and more; of 24 to 40 1.0, of 16 to
 * 24 1.03, but 64x64 planes 0.5 to 0.7), with AVX-512 0.94 (512 and more; of 128 to 512 0.97): choose.py --set zoo
 * --layers '*-1x1*' --isa avx2. */
enum {
    FC_PACKED_MIN_OUTPUTS = 32,
    FC_PACKED_MIN_OUTPUTS_OF_IMAGE = 16,
    FC_PACKED_MIN_CHANNELS = 40,
    FC_PACKED_MIN_CHANNELS_COLLIDING = 16,
    FC_PACKED_COLLIDE_BYTES = 4096,
    FC_PACKED_MIN_CHANNELS_MANY_ROWS = 512,
};
/* Cycles: a term of a register tile at least; of an element packed; of a panel's row stored. Guesses, never fitted. */
static const double FC_PACKED_LATENCY = 4, FC_PACKED_PACK = 0.25, FC_PACKED_STORE = 4;

/* ---- Gathered GEMMs, y and dx: conv/gemm/; blocks: geometry/ ---- */

enum {
    /* Elements of which planes of a copy are a multiple, so that they begin alike in their cache lines: forward of
     * rn50_l2_down1x1 took 0.96 of the time, dx of mbv2_stem 0.9.
     * `compare --layers rn50_l2_down1x1,mbv2_stem --algorithm implicit_gemm`. */
    FC_BLOCK_PLANE_STEP = 16,
};

enum {
    /* Bytes of a block of the input in a core's L2: with 384 KiB, 14x14 outputs of stride 2 and 128 planes become two
     * blocks instead of one: 1.03. `compare --layers rn50_l3_3x3s2 --algorithm implicit_gemm`. */
    FC_GEMM_BLOCK_BYTES = 448 << 10,
    /* Blocks of so few planes are copied as fast when they are small, and their tables are: cifar_rn20_down, 16 planes,
     * took 0.96 of the time of blocks as of many; with 32 planes and more nothing or, where there is more than one
     * block an image, 1.03. `compare --layers cifar_* --algorithm implicit_gemm`. */
    FC_GEMM_FEW_IN_BLOCK = 16,
    FC_GEMM_BLOCK_OF_FEW_BYTES = 240 << 10,
    /* Terms of the longest chain of sums in one register: longer ones lose accuracy, shorter ones cost stores.
     * `python bench/accuracy.py`. */
    FC_GEMM_CHAIN = 1152,
    /* Bytes up to which weights are packed at once, a bound of the workspace; output channels are summed in parts
     * where they take more. 1024 channels of 14x14, 36 MiB, took 0.94 to 1.00 of the time with 6 MiB, 1.02 to 1.04
     * with 24; rn50_l4_3x3, 9 MiB, 0.97 and 1.02. `compare --layers rn50_l4_3x3 --algorithm implicit_gemm`. */
    FC_GEMM_PACKED_BYTES = 12 << 20,
    /* Outputs from which on a copy of the weights is worth its time, where they take more than that: with 8 to 512
     * rn50_l4_3x3_b1's kind, 9 to 49 outputs of 512 channels, took 0.95 to 1.02 of the time.
     * `compare --layers rn50_l4_3x3,rn50_l3_3x3_b1 --algorithm implicit_gemm`. */
    FC_GEMM_WORTH_PACKING = 64,

    /* Outputs of a block at most: its tables and stage stay in L1. With 1024, wavenet_1d took 0.98, tcn_1d_d64 0.99,
     * images' y 0.87 to 0.99, but dx of rn50_stem and rn50_l1_3x3 1.04; with 512 wavenet_1d 1.11, with 4096 rn50_stem,
     * unet_hi and tcn_1d_d64 1.07 to 1.09.
     * `compare --layers rn50_stem,unet_hi,wavenet_1d,tcn_1d_d64 --algorithm implicit_gemm`. */
    FC_GEMM_BLOCK_OUTPUTS = 2048,
    /* Lines of a block about which taps are held to lie apart, those further being copied apart. */
    FC_GEMM_BLOCK_LINES = 64,
    /* Outputs of a line of a block at most, where an image has several: FC_GEMM_CHAIN planes of a line of them, the
     * least that a block holds, are 5.6 MiB of float64, of the 16 MiB that a task may take. */
    FC_GEMM_LINE_OUTPUTS = 640,
    /* Where an image is one line that is read in place, outputs of a block at least, and what they are a multiple of:
     * the widest tile of AVX-512. */
    FC_GEMM_LINE_MIN = 512,
    FC_GEMM_LINE_STEP = 48,

    /* Outputs from which on tiles of planes that lie alike begin with cache lines; with fewer the tiles at both ends
     * take more than is gained. Tiles that do not, as those of NumPy's arrays, 16 bytes into one, take 1.08 to 1.12
     * times as long in L2. `compare --layers rn50_l1_1x1* --algorithm implicit_gemm`. */
    FC_GEMM_WORTH_ALIGNING = 256,
    /* Planes of a copy from which on processors do not foresee the rows that a tile reads: with 32, tiles that look
     * them up took 0.97 to 0.99 of the time, dx of stems, 32 to 64 planes, 0.88, with 3 to 16 planes 1.00 to 1.06.
     * `compare --layers rn50_stem,mbv2_stem,cs231n_* --algorithm implicit_gemm`. */
    FC_GEMM_SCATTERED_PLANES = 32,
    /* Bytes of the weights of a panel that stay in L1: cifar_rn20_down, 18 KiB of them, took 0.96 of the time without a
     * fetch. `compare --layers cifar_rn20_down --algorithm implicit_gemm`. */
    FC_GEMM_NEAR_BYTES = 24 << 10,
    /* Planes, panels and outputs from which on 1x1 kernels with a stride are quicker from a copy: in place
     * rn50_l2_down1x1 took 1.26 times as long on one thread, 1.66 on two; with a single panel 0.8, with 64 planes 0.9.
     * `compare --layers rn50_l2_down1x1 --algorithm implicit_gemm`. */
    FC_GEMM_SPREAD_PLANES = 128,
    FC_GEMM_SPREAD_PANELS = 4,
    FC_GEMM_SPREAD_OUTPUTS = 64,
    /* Stride up to which copies of each tap are worth making. 577 problems of 1 to 32 channels by 4 to 128, outputs 2
     * to 112 wide, take 0.944 of the time with them where they are taken (the best of both: 0.930); 565 of float64
     * 0.967. `choose cs231n_*,cifar_*,mbv2_stem`. */
    FC_GEMM_APART_STRIDE = 2,
    /* Planes from which on pieces are long enough for their tables: of 3x3 and 5x5 taps and 7x7 to 14x14 outputs,
     * pieces took 3.7 times as long with 1 plane, 2 with 4, 1.3 with 16, and as long with 32.
     * `compare --layers cs231n_*,cifar_*,rn50_l4_3x3 --algorithm implicit_gemm/pieces` and implicit_gemm/pixels. */
    FC_GEMM_PIECES_PLANES = 32,

    /* Bytes of an input that stays in a core's L2 beside a panel of weights.
     * `compare --layers rn50_l4_1x1 --algorithm implicit_gemm`. */
    FC_GEMM_BY_PANEL_BYTES = 1 << 20,
    /* Blocks a thread below which they are cut so that each thread gets as many: 2 and 4 took 0.98 to 1.02 of the
     * time, 16 too, but for cifar_rn20_l3 1.16 and rn50_l4_3x3 0.94.
     * `compare --threads 2 --layers cifar_rn20_l3,rn50_l2_3x3,rn50_l4_3x3,*_b1 --algorithm implicit_gemm`. */
    FC_GEMM_FEW_BLOCKS = 8,
};

/* Cycles of one thread of Zen 4 with AVX-512, of which the estimates are made, up to FC_GEMM_OUTPUT_ALONE. They are
 * judged together: `choose --ops forward,dx --algorithms
 * implicit_gemm/pixels,implicit_gemm/pixels_apart,implicit_gemm/channels,implicit_gemm/pieces,implicit_gemm` says what
 * the choices that they lead to cost, fastconv.explain what each estimate is. */
static const double FC_GEMM_WORTH_CHOOSING = 2000; /* below, a choice takes longer than it gains */
/* An element that is copied: that follows the one before, that is transposed, that is fetched alone; and each line. */
static const double FC_GEMM_COPY_FOLLOWING = 0.2, FC_GEMM_COPY_TRANSPOSED = 0.5, FC_GEMM_COPY_ALONE = 2,
                    FC_GEMM_COPY_LINE = 8;
/* A tile, beside its terms. */
static const double FC_GEMM_TILE = 30;
/* A vector of a tile of pixels that is stored: to y, by way of a stage; and an element of one that is stored apart,
 * every second one by vectors, and alone. */
static const double FC_GEMM_STORE = 1, FC_GEMM_STORE_STAGED = 5, FC_GEMM_STORE_SECOND = 0.4, FC_GEMM_STORE_ALONE = 1.2;
/* An output of a tile of channels: its share of the call, of a transpose, of one that is stored element by element. */
static const double FC_GEMM_OUTPUT = 0.1, FC_GEMM_OUTPUT_TRANSPOSED = 0.6, FC_GEMM_OUTPUT_ALONE = 1.6;
/* Time of pieces over their estimate, for their tables and for tiles that end with them: with 3x3 pad 1, 28x28 and
 * 14x14 took longer by pieces, 8x8 and 7x7 less. `choose rn50_l4_3x3,cifar_rn20_l3,rn50_l3_3x3,rn50_l2_3x3`. */
static const double FC_GEMM_PIECES_COST = 1.15;
/* The factor of pieces of whole lines: 4x32x56x56 with 7x7, 11x11, 15x15 and 31x31 taps, whose shares are 0.97, 0.95,
 * 0.93 and 0.86, took 0.98, 0.96, 0.935 and 0.88 of the time, 8x256x14x14 with 3x3 0.97. */
static const double FC_GEMM_ROW_PIECES_COST = 1.02;
/* Kernels whose taps of one line of outputs span more elements are nobody's; their copies would not fit memory. */
static const double FC_GEMM_MAX_ELEMENTS = 1 << 20;

/* ---- Gathered GEMMs, dw: conv/gemm/ ---- */

/* Where layers are named, `compare --ops dw --layers` these, with --algorithm implicit_gemm/by_block, .../by_tap or
 * .../few_sums; the last of two versions is measured after the constant is changed. */
enum {
    /* Output pixels of a block: with more, adding a tile to the sums costs less, with fewer, dy and planes stay nearer.
     * The chain of sums in a register is as long, so that it counts for accuracy too (bench/accuracy.py). With 512,
     * rn50_l1_3x3 took 1.02, cifar_rn20_l1 1.07, rn50_l2_3x3 1.11, rn50_l1_1x1 1.18. */
    FC_GEMM_DW_BLOCK_PIXELS = 1024,
    /* Half of them where dy would be transposed again for fewer rows of sums than these (rn50_l3_3x3s2: 0.91 of the
     * time) ... */
    FC_GEMM_DW_FEW_ROWS = 512,
    /* ... or where strided planes in place, which are read again for each range of dy's channels, take more bytes than
     * these of L2 (rn50_l2_down1x1: 0.79; stride 1, 512 -> 256 channels of 28x28: 1.06). */
    FC_GEMM_DW_MAX_READ_AGAIN = 1 << 20,
    /* Lines of a block, about: taps further apart are copied apart. 8, 16 and 64 took 0.99 to 1.04 of the time of
     * aspp_d12, rn50_stem, conv5x5 and rn50_l2_down1x1, 0.91 to 1.0 of wavenet_1d's. */
    FC_GEMM_DW_BLOCK_LINES = 32,
    /* Bytes of the planes and of the transposed dy that a block holds, together within L2: half of the planes' took
     * 0.99 to 1.03 (rn50_l3_3x3, vgg_c3_1), twice 0.94 (rn50_l2_down1x1) to 1.01; half of dy's 0.99 to 1.04
     * (rn50_l3_3x3), twice 0.98 to 1.15 (rn50_l1_1x1). */
    FC_GEMM_DW_PLANES_BYTES = 512 << 10,
    FC_GEMM_DW_DY_BYTES = 384 << 10,
    /* Bytes of dw up to which threads share the pixels out, and partial sums, each of that size, at most; a larger dw
     * is shared out by its planes. With --threads 2 and 256 KiB rn50_l2_down1x1 took 0.94, rn50_l2_3x3 0.97,
     * mbv2_expand 1.05, with 2 MiB rn50_l4_1x1 1.02, mbv2_expand 1.03, others 1.00. */
    FC_GEMM_DW_PARTIAL_BYTES = 896 << 10,
    FC_GEMM_DW_MAX_PARTIALS = 16,
    /* Rows of sums that a range of planes has at least, as transposing dy costs as much as about 50 rows, and bytes of
     * its sums at most. */
    FC_GEMM_DW_RANGE_ROWS = 1024,
    FC_GEMM_DW_RANGE_BYTES = 4 << 20,
    /* Output pixels of a block of panels: a tile reads two panels, which stay in L1 and L2. 128 and 512 took 0.96 to
     * 1.01 of the time (rn50_l1_1x1, rn50_l1_1x1_reduce, rn50_l4_1x1). */
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
     * most took 1.01 to 1.04 times as long, vgg_c1_1 1.04), with fewer, dy of a tile and what it reads of x stay near.
     * At least 2048 took 1.10 of cs231n_notebook on two threads, 512 as long. `compare --ops dw --layers
     * cs231n_*,cifar_rn20_l1,rn50_stem,mbv2_stem,vgg_c1_1 --algorithm implicit_gemm/few_sums`. */
    FC_FEW_SUMS_MAX_PIXELS = 2048,
    FC_FEW_SUMS_MIN_PIXELS = 1024,
    FC_FEW_SUMS_MAX_PARTIALS = 16,
    /* Bytes that a block reads of x, and of a partial result: a bound of the memory. Half of x's took 0.94
     * (cifar_rn20_l1) to 1.05 (mbv2_stem), twice 1.08 and, of vgg_c1_1, 1.11. */
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

/* Images and D = channels of a group * taps up to which weights that are read where they lie win against packed ones,
 * as `choose --algorithms fully_connected,implicit_gemm` compares them: of 1 to 2048 images, D of 16 to 2048 and 10 to
 * 1000 filters, on one thread. dx won up to 256 images (1.1 to 4.3), dw up to 512, but of short lines (D = 64 of 128
 * images 0.85 to 1.1); forward, which adds up the lanes of each product, from D = 10 * images on, from 16 * images on
 * where weights are packed before, with few filters far sooner (10 of 128 images: D = 128). */
enum {
    FC_FULLY_CONNECTED_FEW_FILTERS = 16,
    FC_FULLY_CONNECTED_FORWARD_IMAGES = 128,
    FC_FULLY_CONNECTED_FORWARD_RATIO = 16,          /* of D to the images, with more filters */
    FC_FULLY_CONNECTED_FORWARD_ENOUGH = 256,        /* elements of D, with few filters, however many the images */
    FC_FULLY_CONNECTED_DX_IMAGES = 256,
    FC_FULLY_CONNECTED_DW_IMAGES = 512,
    /* Filters of a group, of several groups, that fill enough of a tile: depthwise 7x7 took 2 to 4 times as long. */
    FC_FULLY_CONNECTED_MIN_GROUP = 4,
};

/* Blocks of products. `compare --algorithm fully_connected --layers` has no layer of this kind: a problem of one output
 * pixel is to be added to bench/layers.csv, such as 1,512,7,7,4096,7,7,1,0,0,1,1. */
enum {
    /* Bytes that a single tile fetches ahead: of weights in memory, 0.75 of the time that 256 took, as 512 to 4096. */
    FC_FULLY_CONNECTED_AHEAD_BYTES = 1024,
    /* Bytes of a line of x and of w that several tiles of images use, and filters whose lines they are: 2 KiB took 1.15
     * times as long, 4 KiB 1.05; 48 filters 1.05, of 4096 channels 1.25. */
    FC_FULLY_CONNECTED_LINE_BYTES = 8192,
    FC_FULLY_CONNECTED_FILTERS = 24,
    /* Images of a block of y and of dx, filters of a block of dw. y of 256 and 1000 images took 0.78 and 0.86 of the
     * time with 256, of 64 images 0.98; dx 1.0. 32 filters took 0.97 to 1.15, 128 0.99 to 1.01. */
    FC_FULLY_CONNECTED_IMAGES = 128,
    FC_FULLY_CONNECTED_DW_FILTERS = 64,
    /* Bytes of a block's positions of dx, with as few images as a tile has, and with more. 8 KiB took 1.02 to 1.15
     * times as long, 32 KiB 0.90 to 0.97; with more images 1 KiB 0.99 to 1.12, 4 KiB 0.86 to 0.99. */
    FC_FULLY_CONNECTED_FEW_DX_BYTES = 16384,
    FC_FULLY_CONNECTED_DX_BYTES = 2048,
    /* Filters that dx sums at a time, with at most so many images, and with more. 4 took 1.29 times as long, 16 1.03;
     * from 1 or 4 images on 0.92 to 1.03; 32 filters 0.98 to 1.06, 128 0.97 to 1.0. */
    FC_FULLY_CONNECTED_FEW_IMAGES = 2,
    FC_FULLY_CONNECTED_FEW_TERMS = 8,
    FC_FULLY_CONNECTED_TERMS = 64,
    /* Images that dw sums at a time, and bytes of x that they have in a block: half and twice of either took 0.98 to
     * 1.02 of the time. */
    FC_FULLY_CONNECTED_DW_TERMS = 256,
    FC_FULLY_CONNECTED_DW_BYTES = 256 << 10,
    /* Blocks for each thread from which on it does not matter that some threads get one more than others. */
    FC_FULLY_CONNECTED_MANY_BLOCKS = 8,
    /* Longest chain of sums in a lane. */
    FC_FULLY_CONNECTED_CHAIN = FC_GEMM_CHAIN,
};

/* ---- Pools: pool/ ---- */

/* Bytes that a thread takes at most, beyond which a path refuses: a bound of the workspace, not a measurement. */
static const size_t FC_POOL_WORKSPACE = 16 << 20;

/* Bytes that are read and written, worth a thread more: about 10 us of copying.
 * bench/compare.py --ops pool --threads 1,2. */
static const double FC_POOL_THREAD_BYTES = 128 << 10;

/* pool/rows, bytes: pooled lines that are kept should stay in L2 beside what is read and written. Outputs and elements
 * that a block has even so. bench/compare.py --ops pool --problems resnet_pool,spp_pool. */
static const ptrdiff_t FC_POOL_KEPT_BYTES = 96 << 10;
enum { FC_POOL_MIN_OUTPUTS = 4, FC_POOL_MIN_ELEMENTS = 64 };

/* pool/rows, in taps of a vector: what a line that is kept takes beside its taps; what a position takes that is copied,
 * and a copy of a line beside its positions; what one window takes that is pooled alone.
 * bench/compare.py --ops pool --layout NHWC, of pools of 2 to 31 channels. */
static const double FC_POOL_KEPT_LINE = 2, FC_POOL_COPIED = 1.5, FC_POOL_COPY = 20;
enum { FC_POOL_ONE_WINDOW = 8 };

/* pool/lines, bytes of x between two questions whether to stop. */
static const ptrdiff_t FC_POOL_RUN_BYTES = 512 << 10;

/* pool/lines, outputs: pool/rows cuts longer lines into blocks, which threads share. */
enum { FC_POOL_LINE_OUTPUTS = 1 << 13 };

/* Cycles of pool/lines and of pool/rows: of a tap and an element straight from x, and where lines are kept, for a
 * maximum per byte; of a line beside its taps. Fitted to pools of 2 to 32 taps, strides 1 and 2, lines of 12 to 56
 * outputs, AVX2 and AVX-512, float32 and float64. To fit them again let doubt() of pool/lines return NULL, then a
 * reason, and run bench/compare.py --ops pool of such pools. */
static const struct {
    double max_tap, max_kept; /* a byte */
    double sum_tap, sum_kept;
    double line;
} FC_POOL_CYCLES = {0.11, 0.081, 0.31, 0.28, 170};

/* Gradient by windows, positions of a line, whose windows are kept in tables: a bound of the workspace. */
enum { FC_POOL_WINDOW_POSITIONS = 1 << 16 };

/* Scatter: outputs between two questions whether to stop. Channels of a chunk where there are fewer images than
 * threads: at least a cache line of float32, so that threads do not write to the same ones. */
enum { FC_SCATTER_OUTPUTS = 64 << 10, FC_SCATTER_MIN_CHANNELS = 16, FC_SCATTER_CHANNELS = 64 };

/* ---- Columns, layers: columns/, layers/ ---- */

/* col2im, bytes: a band of lines of x should stay in L1 or L2 while all taps are added to it.
 * bench/compare.py --ops columns. */
static const ptrdiff_t FC_COLUMNS_BAND_BYTES = 64 << 10;
/* Bytes that a thread takes at most, beyond which col2im refuses: a bound of the workspace, not a measurement. */
static const ptrdiff_t FC_COLUMNS_WORKSPACE = 16 << 20;
/* Bytes of columns that are worth a thread more: about 10 us of copying.
 * bench/compare.py --ops columns --threads 1,2. */
static const double FC_COLUMNS_THREAD_BYTES = 256 << 10;

/* Layers, bytes that are worth a thread more, and elements of a softmax, which is longer over each: about 10 us.
 * bench/compare.py --ops norm --threads 1,2. */
static const double FC_LAYER_THREAD_BYTES = 128 << 10, FC_SOFTMAX_THREAD_ELEMENTS = 16 << 10;
/* Layers, elements of a block of a unit of work: 1024 took 1.04 of a ReLU, 16384 0.99. Bytes of a chunk that stays in
 * L1 (the same command). Statistics and sums are of chunks: results depend on their sizes. */
enum { FC_LAYER_BLOCK = 4096 };
static const ptrdiff_t FC_LAYER_CHUNK_BYTES = 16 << 10;

/* Affine: sums of chunks of rows that are added up at last. They do not depend on the threads. */
enum { FC_AFFINE_PARTIALS = 16 };

/* Batch norm: channels of a chunk whose rows are cut. 16 took 1.26 to 2.3 times as long with channels last, 256 0.99 to
 * 1.14. bench/compare.py --ops norm --layout NHWC --threads 1. */
enum { FC_NORM_CHANNELS = 64 };
/* Batch norm, chunks' statistics, with more of which they would pass 16 MiB beside those of each channel. */
static const ptrdiff_t FC_NORM_MAX_STATISTICS = 1 << 20;
/* Batch norm, elements: shorter runs lose to rows. The statistics of (2000, 512, 2) took twice PyTorch's time.
 * bench/compare.py --ops norm, of such arrays. */
static const ptrdiff_t FC_NORM_SHORT_RUN = 64;
/* Batch norm, bytes of x and dy of a channel that are still in L2 when its dx is computed.
 * bench/compare.py --ops norm --problems norm_56,norm_14. */
static const double FC_NORM_CHANNEL_BYTES = 1 << 20;

#endif
