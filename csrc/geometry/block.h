/* Blocks of outputs, and where they read their planes: in place, or from a padded copy in cache. */
#ifndef FC_BLOCK_H
#define FC_BLOCK_H

#include "../kernels/kernels.h"
#include "axis.h"

/* The offset of a plane that lies in the padding and is all zeros. */
#define FC_ZEROS PTRDIFF_MIN

/* How a problem is cut: `size` outputs a block, in images, lines, columns. */
typedef struct {
    const fc_axis *axis; /* height, width */
    ptrdiff_t images;    /* in all */
    ptrdiff_t x_image;   /* elements between images in the source */
    fc_residues residues[2];
    int in_place;
    int adjacent;    /* the planes lie side by side in each position of the source */
    ptrdiff_t inner; /* planes that lie side by side in each position of the copy */
    ptrdiff_t size[3], count[3];
    ptrdiff_t pitch[3]; /* elements between neighbouring outputs, images, lines, columns: in the copy or in place */
    ptrdiff_t line_stride, residue_stride, plane_stride; /* of the copy */
} fc_blocks;

typedef struct {
    ptrdiff_t start[3], count[3];
} fc_block;

/* Whether no tap of any output lies in the padding. */
int fc_is_inside(const fc_axis *axis);

/* Sets counts, pitches and strides; the rest is there. */
void fc_lay_out(fc_blocks *blocks);

static inline ptrdiff_t fc_count_blocks(const fc_blocks *blocks) {
    return blocks->count[0] * blocks->count[1] * blocks->count[2];
}

fc_block fc_find_block(const fc_blocks *blocks, ptrdiff_t index);

/* Offset that tap (s, t) adds. */
ptrdiff_t fc_tap_offset(const fc_blocks *blocks, ptrdiff_t s, ptrdiff_t t);

/* Offset in a plane of what output (0, 0, 0) of the block reads in place, but for the tap. */
ptrdiff_t fc_block_offset(const fc_blocks *blocks, const fc_block *block);

/* Runs of the source, each `length` elements long; none where it is not made of a few. */
typedef struct {
    ptrdiff_t count, length;
} fc_runs;

/* What a block reads of planes[first..last), offsets of image 0 of each, as runs at offsets[i] elements from
 * planes[first], at most `max_runs`. */
fc_runs fc_find_runs(const fc_blocks *blocks, const fc_block *block, const ptrdiff_t *planes, ptrdiff_t first,
                     ptrdiff_t last, ptrdiff_t *offsets, ptrdiff_t max_runs);

/* Copies `count` planes, offsets from x of image 0 of each, to a block's copy: plane i of them to
 * target + i * plane_stride, or + i where inner > 1. `size`: bytes of an element. */
void fc_fill_block(const fc_kernels *kernels, ptrdiff_t size, const fc_blocks *blocks, const fc_block *block,
                   const char *x, const ptrdiff_t *planes, ptrdiff_t count, char *target);

#endif
