/* What the files conv_winograd*.c share. */
#ifndef FC_CONV_WINOGRAD_H
#define FC_CONV_WINOGRAD_H

#include "../correlations.h"

enum {
    FC_WINOGRAD_COPY_BYTES = 128 << 10, /* of a part of an image */
    FC_WINOGRAD_LINE_BYTES = 4 << 20,   /* workspace of a row of tiles, which is cut until it is enough */
};

static inline int fc_is_reversed(const fc_axis *axis) { return axis->taps > 1 && axis->tap_step < 0; }

/* Taps and outputs of a tile along rows and columns, and the points of both. Kernels of one column are `upright`:
 * theirs are those of a row, along the other axis. */
typedef struct {
    fc_winograd_shape shape;
    int upright;
    ptrdiff_t stride;
    int spread; /* outputs are those of the four residues of dx with stride 2 */
    ptrdiff_t taps[2], tile[2], points; /* taps: with a stride, of its first residue, than which none has more */
} fc_winograd_form;

/* That of a problem; of forward and dw the same. points are 0 if there is none. */
fc_winograd_form fc_winograd_form_for(fc_op op, const fc_conv_problem *p);

const char *fc_winograd_refuses(const fc_path *path, fc_op op, const fc_problem *problem);
const char *fc_winograd_doubt(fc_op op, const fc_problem *problem);

/* Planes whose points are multiplied; those of a residue of a stride begin with a vector. */
ptrdiff_t fc_winograd_planes(const fc_winograd_form *form, ptrdiff_t channels, ptrdiff_t lanes);

/* Whether planes [begin, end), of which a residue has `pitch`, have no weight at a point: where one tap is all that a
 * residue of a stride has along an axis, that of infinity is zero. */
int fc_winograd_lacks(const fc_winograd_form *form, ptrdiff_t point, ptrdiff_t pitch, ptrdiff_t begin, ptrdiff_t end);

/* Workspace of a tile of a row, at most; `adjacent`: the channels are, and are copied together. Of dw with ranges of
 * channels as small as can be. */
double fc_winograd_tile_bytes(const fc_winograd_form *form, ptrdiff_t size, ptrdiff_t channels, int adjacent);
double fc_winograd_weights_tile(const fc_winograd_form *form, ptrdiff_t size);

/* Tiles of an image. With dilation, outputs that are as far apart as the taps share tiles: rows of such a residue
 * are an image of their own, and its columns stand between those of the others. Long rows are cut into segments,
 * whose rows of tiles follow those of the one before. */
typedef struct {
    fc_winograd_form form;
    ptrdiff_t row_step, column_step; /* between taps, and so residues */
    ptrdiff_t deep;           /* planes of an image */
    ptrdiff_t segments;
    ptrdiff_t of_residue, across, down; /* tiles of a row of a residue and a segment, of a row, and rows of a residue */
    ptrdiff_t all;            /* rows of tiles of all segments of all residues of all planes */
} fc_winograd_grid;

/* Of all planes (fc_conv_deep_correlation). */
fc_winograd_grid fc_winograd_grid_of(const fc_correlation *c, const fc_axis *depth, fc_winograd_form form);

/* Tiles of a row above which it is cut, but that those of one column of tiles stay together. */
static inline ptrdiff_t fc_winograd_max_across(const fc_winograd_form *form) { return 64 * 36 / form->points; }
void fc_winograd_cut(fc_winograd_grid *g, const fc_correlation *c, ptrdiff_t max_across);

/* A row of tiles: its image and plane, its first output, and the rows of tiles from it on that lie below each other. */
typedef struct {
    ptrdiff_t image, plane, row, column, below;
} fc_winograd_place;

fc_winograd_place fc_winograd_find(const fc_winograd_grid *g, ptrdiff_t line);

/* Images whose tiles are transformed: where their channels lie, and how rows of them are copied, channels
 * side by side. Those of a tap of the depth axis follow those of the one before. Strides are in elements. */
typedef struct {
    const void *base;
    ptrdiff_t image, plane, row, column, channel;
    ptrdiff_t row_step;              /* between the rows that are copied */
    ptrdiff_t stride;                /* between those of outputs, and columns */
    ptrdiff_t planes, rows, columns; /* of an image */
    ptrdiff_t first_row, first_column; /* where the first tile begins: in the padding if negative */
    ptrdiff_t first_plane, plane_step, plane_stride; /* of tap 0 and output 0; to the next tap, and the next output */
    ptrdiff_t of_tap;                /* channels of a tap */
    ptrdiff_t first, channels;       /* of all of them, those that are read */
    ptrdiff_t width, pitch;          /* positions of a row of the copy; channels, in whole vectors */
    ptrdiff_t part;                  /* so many of them are copied at a time */
} fc_winograd_images;

/* All channels of a position where they are adjacent, else a vector, whose rows stay in L1 and come from few streams
 * (all at once, vgg_c1_2 took 1.05 times as long, unet_hi 1.12). */
static inline ptrdiff_t fc_winograd_part(const fc_winograd_images *images, ptrdiff_t lanes) {
    return images->channel == 1 ? images->pitch : lanes;
}

/* A part of the channels, from `channel` on, of `count` rows of the tiles from a place on; what lies outside the image
 * or beyond the channels is zero, if it was before the first. */
void fc_winograd_copy(const fc_kernels *kernels, ptrdiff_t size, const fc_winograd_images *images,
                      const fc_winograd_place *place, ptrdiff_t count, ptrdiff_t channel, char *copy);

/* Tiles of a row in a copy, whose points are `point_step` apart and which are `target_step` apart afterwards. */
fc_winograd_tiles fc_winograd_tiles_of(const fc_winograd_grid *g, const fc_winograd_images *images,
                                       ptrdiff_t target_step, ptrdiff_t point_step);

/* `channels` of x of a correlation of all planes, from the first. */
fc_winograd_images fc_winograd_input(const fc_correlation *c, const fc_axis *depth, ptrdiff_t first,
                                     ptrdiff_t channels, const fc_winograd_grid *g, ptrdiff_t size, ptrdiff_t lanes);

/* Weights of a correlation whose points are wanted. */
typedef struct {
    const fc_correlation *c;
    const fc_kernels *kernels;
    ptrdiff_t size, lanes;
    fc_winograd_form form;
    ptrdiff_t pitch;       /* planes of a residue of a stride */
    ptrdiff_t two_taps[2]; /* of a spread: the residues that see two taps of an axis */
} fc_winograd_filters;

/* The taps of a plane, and of a residue of a spread, transposed so that `count` output channels from `first` on are a
 * vector: those that a residue lacks are zeros. Returns whether they are in the order of the array though they should
 * be reversed. There is room for FC_WINOGRAD_MOST_TAPS vectors. */
enum { FC_WINOGRAD_MOST_TAPS = 25 };
int fc_winograd_gather(const fc_winograd_filters *f, const ptrdiff_t residue[2], ptrdiff_t first, ptrdiff_t count,
                       ptrdiff_t plane, char *taps);

/* Whether a residue of a spread has no weight at a point: the only tap of an axis has none at 0 or at infinity. */
int fc_winograd_residue_lacks(const fc_winograd_filters *f, const ptrdiff_t residue[2], ptrdiff_t point);

/* Vectors across the register tile that loads the least: of `vectors`, at most `widest`. */
ptrdiff_t fc_winograd_tile_vectors(const fc_kernels *kernels, ptrdiff_t vectors, int widest);

/* dw and db of a correlation of all planes; returns whether all sums are finite. */
int fc_winograd_weights(fc_conv_job *j, const fc_weights_gradient *gradient, const fc_axis *depth);

#endif
