/* What the files of Winograd's algorithms share, each section for the file of its name. They stand upon each other:
 *
 *   winograd.c   the paths: plans, runs, prepared weights
 *   choice.c     what a path refuses and doubts, its estimate
 *   sums.c       y and dx            weights.c   dw and db
 *   outputs.c    points to outputs   taps.c      weights as transforms read them
 *   images.c     tiles of images
 *   form.c       forms, and what follows from one
 *
 * A line of tiles are the tiles that lie side by side along the last axis of an image. */
#ifndef FC_CONV_WINOGRAD_SHARED_H
#define FC_CONV_WINOGRAD_SHARED_H

#include "../correlations.h"

/* ---- form.c ---- */

/* Taps and outputs of a tile along columns and lines, and the points of both. Kernels of one column are `upright`:
 * they are those of a line, along the other axis. */
typedef struct {
    fc_winograd_shape shape;
    int upright;
    ptrdiff_t stride;
    int spread; /* outputs are those of the four residues of dx with stride 2 */
    ptrdiff_t taps[2], tile[2], points; /* taps: with a stride, of its first residue, than which none has more */
} fc_winograd_form;

/* The form of a shape for a problem; points are 0 if the shape is not for its kernel and stride. Forward and dw of a
 * problem have one form. */
fc_winograd_form fc_winograd_form_of(fc_winograd_shape shape, fc_op op, const fc_conv_problem *p);

/* Planes whose points are multiplied; those of a residue of a stride begin with a vector. */
ptrdiff_t fc_winograd_planes(const fc_winograd_form *form, ptrdiff_t channels, ptrdiff_t lanes);

/* Whether planes [begin, end), of which a residue has `pitch`, have no weight at a point: where one tap is all that a
 * residue of a stride has along an axis, that of infinity is zero. */
int fc_winograd_lacks(const fc_winograd_form *form, ptrdiff_t point, ptrdiff_t pitch, ptrdiff_t begin, ptrdiff_t end);

enum { FC_WINOGRAD_VECTOR_BYTES = 64 }; /* of the widest vectors of any instruction set */

/* Bytes of workspace that a tile of a line takes with any instruction set, at most. Forward and dx; `adjacent`: the
 * channels are, and are copied together. */
double fc_winograd_tile_bytes(const fc_winograd_form *form, ptrdiff_t size, ptrdiff_t channels, int adjacent);
/* dw, with ranges of channels as small as can be. */
double fc_winograd_weights_tile_bytes(const fc_winograd_form *form, ptrdiff_t size);

/* Vectors across the register tile that loads the least: of `vectors`, at most `widest`. */
ptrdiff_t fc_winograd_tile_vectors(const fc_kernels *kernels, ptrdiff_t vectors, int widest);

/* ---- images.c ---- */

static inline int fc_is_reversed(const fc_axis *axis) { return axis->taps > 1 && axis->tap_step < 0; }

/* Tiles of an image. With dilation, outputs that are as far apart as the taps share tiles: lines of such a residue
 * are an image of their own, and its columns stand between those of the others. Long lines are cut into segments,
 * whose lines of tiles follow those of the one before. */
typedef struct {
    fc_winograd_form form;
    ptrdiff_t line_step, column_step; /* between taps, and so residues of the dilation */
    ptrdiff_t depth;                  /* planes of an image */
    ptrdiff_t segments;               /* of a line */
    ptrdiff_t tiles;                  /* of a line of tiles and one residue along it */
    ptrdiff_t across, down;           /* tiles of a line of tiles; lines of tiles of a residue */
    ptrdiff_t lines;                  /* of tiles, of all segments of all residues of all planes */
} fc_winograd_grid;

/* Tiles of all planes of a correlation (fc_conv_deep_correlation). */
fc_winograd_grid fc_winograd_grid_of(const fc_correlation *c, const fc_axis *depth, fc_winograd_form form);

/* Cuts lines so that at most `max_across` tiles are across, but that those of one column of tiles stay together. */
void fc_winograd_cut(fc_winograd_grid *g, const fc_correlation *c, ptrdiff_t max_across);

/* A line of tiles: its image and plane, its first output, and the lines of tiles from it on that lie below each
 * other. */
typedef struct {
    ptrdiff_t image, plane, line, column, below;
} fc_winograd_place;

fc_winograd_place fc_winograd_find(const fc_winograd_grid *g, ptrdiff_t line_of_tiles);

/* Images whose tiles are transformed: where their channels lie, and how lines of them are copied, channels side by
 * side. Channels of a tap of the depth axis follow those of the tap before. */
typedef struct {
    const void *base;                           /* a call binds it; NULL in plans */
    ptrdiff_t image, plane, line, column, channel; /* elements between them */
    ptrdiff_t line_step;                        /* between the lines that are copied */
    ptrdiff_t stride;                           /* between the lines of neighbouring outputs, and the columns */
    ptrdiff_t planes, lines, columns;           /* of an image */
    ptrdiff_t first_line, first_column;         /* where the first tile begins: in the padding if negative */
    ptrdiff_t first_plane, plane_step, plane_stride; /* of tap 0 and output 0; to the next tap, and the next output */
    ptrdiff_t tap_channels;                     /* channels of a tap of the depth axis */
    ptrdiff_t first, channels;                  /* of all channels of all taps, those that are read */
    ptrdiff_t width;                            /* positions of a line of the copy */
    ptrdiff_t pitch;                            /* the channels that are read, in whole vectors */
    ptrdiff_t copy_channels;                    /* so many of them are copied at a time */
} fc_winograd_images;

/* What a correlation of all planes reads, without an address; its channels are all. */
fc_winograd_images fc_winograd_input(const fc_correlation *c, const fc_axis *depth, const fc_winograd_grid *g,
                                     ptrdiff_t lanes);

/* Reads `channels` of them from `first` on. */
void fc_winograd_read(fc_winograd_images *images, ptrdiff_t first, ptrdiff_t channels, ptrdiff_t lanes);

/* Copies the channels from `channel` on that are copied at a time, of `count` lines of the tiles from a place on; what
 * lies outside the image or beyond the channels is zero, if it was before the first. */
void fc_winograd_copy(const fc_kernels *kernels, ptrdiff_t size, const fc_winograd_images *images,
                      const fc_winograd_place *place, ptrdiff_t count, ptrdiff_t channel, char *copy);

/* Tiles of a line of tiles and one residue in a copy, whose points are `point_step` apart and which are `target_step`
 * apart afterwards. */
fc_winograd_tiles fc_winograd_tiles_of(const fc_winograd_grid *g, const fc_winograd_images *images,
                                       ptrdiff_t target_step, ptrdiff_t point_step);

/* ---- taps.c ---- */

enum { FC_WINOGRAD_MAX_TAPS = 25 }; /* vectors that fc_winograd_gather writes, at most */

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
 * be reversed. */
int fc_winograd_gather(const fc_winograd_filters *f, const ptrdiff_t residue[2], ptrdiff_t first, ptrdiff_t count,
                       ptrdiff_t plane, char *taps);

/* Whether a residue of a spread has no weight at a point: the only tap of an axis has none at 0 or at infinity. */
int fc_winograd_residue_lacks(const fc_winograd_form *form, const ptrdiff_t two_taps[2], const ptrdiff_t residue[2],
                              ptrdiff_t point);

/* ---- outputs.c, sums.c ---- */

/* How y or dx of one group is summed: all groups alike. */
typedef struct {
    const fc_kernels *kernels;
    const fc_winograd_kernels *transforms;
    ptrdiff_t size, lanes;               /* bytes of an element; elements of a vector */
    fc_axis depth;
    fc_winograd_grid grid;
    fc_winograd_images x;
    ptrdiff_t planes;                    /* of x, or of all residues of a stride: 4 times whole vectors of them */
    ptrdiff_t tile_vectors, panel;       /* vectors and output channels of a panel */
    ptrdiff_t residue_panels, panels;    /* of a residue of a spread; of all of them */
    int straight;                        /* output channels are adjacent in y, and points go back to it at once */
    ptrdiff_t turns;                     /* panels whose outputs stand in turn in a line: those of 2 residues, or 1 */
    ptrdiff_t two_taps[2], dx_size[2];   /* of a spread: see fc_winograd_filters; lines and columns of dx */
    ptrdiff_t block_lines, blocks;       /* lines of tiles of a block; blocks: both at most */
    ptrdiff_t block_tiles;
    ptrdiff_t copy_lines;                /* lines of tiles of a copy */
    ptrdiff_t v_point, m_point, u_point; /* elements between points of transformed tiles, of products, of weights */
    ptrdiff_t line_tasks, panel_tasks;   /* a task has some of the lines of tiles and some of the panels */
    int shares_weights;                  /* weights that are not prepared are transformed once, for all blocks */
    int max_redone;                      /* lines of tiles and panels that are not finite and are done again alone */
} fc_winograd_sums;

enum { FC_WINOGRAD_MAX_REDONE = 8 };

/* Sums of one group as a call runs them. */
typedef struct {
    const fc_winograd_sums *s;
    const fc_correlation *c; /* of all planes */
    fc_run *run;
    fc_winograd_images x;
    fc_winograd_filters filters;
    const char *weights;      /* [panel][point][plane][channel of the panel]; NULL: each task transforms its own */
    FC_ATOMIC int not_finite; /* lines of tiles of a panel that are not; of the first, which */
    struct {
        ptrdiff_t line, first_channel;
    } redone[FC_WINOGRAD_MAX_REDONE];
} fc_winograd_job;

/* Residues of a spread, down and along, that a panel is of; else 0. Panels of the same lines follow each other. */
static inline ptrdiff_t fc_winograd_residue_down(const fc_winograd_sums *s, ptrdiff_t panel) {
    return panel / s->turns / s->residue_panels;
}
static inline ptrdiff_t fc_winograd_residue_along(const fc_winograd_sums *s, ptrdiff_t panel) {
    return panel % s->turns;
}
static inline ptrdiff_t fc_winograd_first_channel(const fc_winograd_sums *s, ptrdiff_t panel) {
    return panel / s->turns % s->residue_panels * s->panel;
}

/* Bytes of what fc_winograd_store keeps outputs in on their way to y. */
ptrdiff_t fc_winograd_stage_bytes(const fc_winograd_sums *s);

/* Points of a line of tiles of the panels that stand in turn, from `panel` on, back to outputs in y. `stage`: scratch.
 * Returns whether all are finite. */
int fc_winograd_store(const fc_winograd_job *j, const fc_winograd_place *place, ptrdiff_t panel, const char *points,
                      char *stage);

/* Outputs of a line of tiles and of the panel that begins with channel k0 by the defining sums, in double. */
void fc_winograd_redo(const fc_winograd_job *j, ptrdiff_t line_of_tiles, ptrdiff_t k0);

#endif
