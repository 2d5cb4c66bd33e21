/* Measured constants of conv/gemm/, conv/packed/ and conv/fully_connected.c; how they are written down: ../tuning.h. */
#ifndef FC_TUNING_GEMM_H
#define FC_TUNING_GEMM_H

#include <stddef.h>

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
 * images 0.85 to 1.1); forward, which adds up the lanes of each product, with vectors of 16 lanes from D = 7 * images
 * on, from 10 to 16 * images on where weights are packed before, of 8 lanes from 2 and 3 * images on (8 images of D =
 * 112, 1232 filters: 3.0, and 2.6), with few filters far sooner (10 of 128 images: D = 128). */
enum {
    FC_FULLY_CONNECTED_FEW_FILTERS = 16,
    FC_FULLY_CONNECTED_FORWARD_IMAGES = 128,
    FC_FULLY_CONNECTED_FORWARD_RATIO = 2,           /* of D to the images, with more filters; and with vectors of */
    FC_FULLY_CONNECTED_FORWARD_RATIO_16_LANES = 8,  /* 16 lanes */
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
     * time with 256, of 64 images 0.98; dx 1.0; with AVX2 0.98 to 1.03. 32 filters 0.97 to 1.15, 128 0.99 to 1.01. */
    FC_FULLY_CONNECTED_IMAGES = 128,
    FC_FULLY_CONNECTED_DW_FILTERS = 64,
    /* Bytes of a block's positions of dx, with as few images as a tile has, and with more. 8 KiB took 1.02 to 1.15
     * times as long, 32 KiB 0.90 to 0.97; with more images 1 KiB 0.99 to 1.12, 4 KiB 0.86 to 0.99, with AVX2 up to
     * 1.18. */
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

#endif
