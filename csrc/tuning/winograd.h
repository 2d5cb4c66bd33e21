/* Measured constants of conv/winograd/; how they are written down: ../tuning.h. */
#ifndef FC_TUNING_WINOGRAD_H
#define FC_TUNING_WINOGRAD_H

#include <stddef.h>

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
/* Channels of 3x3 with stride 1, and with vectors of 16 lanes their product. Groups of 8 channels, planes of 7x7 to
 * 56x56, took 0.67 to 1.04 of the time, dw 0.46 to 1.05 (AVX2; AVX-512 doubles), with 16 lanes 0.93 to 1.3 and 0.75
 * to 1.25, of 12 0.63 to 0.8 and 0.54 to 0.78; 64 to 8 channels 0.76 and 0.4; of 4 2.4 (AVX2).
 * `choose` --set zoo --layers '*-grouped*'. */
enum { FC_WINOGRAD_MIN_CHANNELS_3X3 = 8, FC_WINOGRAD_MIN_PRODUCT_16_LANES = 144 };

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

#endif
