/* What conv_winograd.c, conv_winograd_images.c and conv_winograd_weights.c share. */
#ifndef FC_CONV_WINOGRAD_H
#define FC_CONV_WINOGRAD_H

#include "conv_correlations.h"

enum {
    FC_WINOGRAD_POINTS = 36,
    FC_WINOGRAD_SIDE = 6,   /* points along an axis: taps and outputs, less one */
    FC_WINOGRAD_COPY_BYTES = 128 << 10, /* of a part of an image */
};

static inline int fc_is_reversed(const fc_axis *axis) { return axis->tap_step < 0; }

/* Outputs of a tile along an axis. */
static inline ptrdiff_t fc_winograd_outputs_of(ptrdiff_t taps) { return FC_WINOGRAD_SIDE + 1 - taps; }

/* Tiles of an image. With dilation, outputs that are as far apart as the taps share tiles: rows of such a phase
 * are an image of their own, and its columns stand between those of the others. */
typedef struct {
    ptrdiff_t taps, tile;     /* along an axis: taps, and outputs of a tile */
    ptrdiff_t row_step, column_step; /* between taps, and so phases */
    ptrdiff_t of_phase, across, down; /* tiles of a row of a phase, of a row, and rows of tiles of a phase */
    ptrdiff_t all;            /* rows of tiles of all phases of all images */
} fc_winograd_grid;

fc_winograd_grid fc_winograd_grid_of(const fc_correlation *c);

/* Images whose tiles are transformed: where their channels lie, and how rows of them are copied, channels
 * side by side. Strides are in elements. */
typedef struct {
    const void *base;
    ptrdiff_t image, row, column, channel;
    ptrdiff_t row_step;              /* between the rows that are copied */
    ptrdiff_t rows, columns;         /* of an image */
    ptrdiff_t first_row, first_column; /* where the first tile begins: in the padding if negative */
    ptrdiff_t channels;
    ptrdiff_t width, pitch;          /* positions of a row of the copy; channels, in whole vectors */
    ptrdiff_t part;                  /* so many of them are copied at a time */
} fc_winograd_images;

/* All channels of a position where they are adjacent, else a vector, whose rows stay in L1 and come from few streams
 * (all at once, vgg_c1_2 took 1.05 times as long, unet_hi 1.12). */
static inline ptrdiff_t fc_winograd_part(const fc_winograd_images *images, ptrdiff_t lanes) {
    return images->channel == 1 ? images->pitch : lanes;
}

/* A part of the channels, from `channel` on, of `count` rows from `row` of the tiles of a phase on, which is numbered
 * among those of all images; what lies outside the image or beyond the channels is zero, if it was before the first. */
void fc_winograd_copy(const fc_kernels *kernels, ptrdiff_t size, const fc_winograd_images *images, ptrdiff_t image,
                      ptrdiff_t row, ptrdiff_t count, ptrdiff_t channel, char *copy);

/* x of a correlation. */
fc_winograd_images fc_winograd_input(const fc_correlation *c, const fc_winograd_grid *g, ptrdiff_t size,
                                     ptrdiff_t lanes);

/* Vectors across the register tile that loads the least: of `vectors`, at most `widest`. */
ptrdiff_t fc_winograd_vecs(const fc_kernels *kernels, ptrdiff_t vectors, int widest);

/* dw and db. */
void fc_winograd_weights(fc_conv_job *j, const fc_correlation *c);

#endif
