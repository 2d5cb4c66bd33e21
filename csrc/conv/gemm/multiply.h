/* Tiles of a block, for the terms that the tables of a scratch describe: pixels.c, channels.c. */
#ifndef FC_GEMM_MULTIPLY_H
#define FC_GEMM_MULTIPLY_H

#include "stage.h"

/* Moves a block's ends to where cache lines begin, if the stage is by_cache_line; it may become empty. */
void fc_align_block(const fc_gemm_stage *stage, fc_block *block);

/* All tiles of some output channels of a block with pixels in the vector; `channels` begin with a panel. */
void fc_multiply_pixels(const fc_gemm_stage *stage, fc_gemm_scratch *scratch, const fc_block *block,
                        fc_units channels, const fc_terms *terms);

/* Sets the scratch's pieces, and what each output reads and writes. */
void fc_set_pixels(const fc_gemm_stage *stage, fc_gemm_scratch *scratch, const fc_block *block);

/* The tiles with output channels in the vector, after fc_set_pixels. */
void fc_multiply_channels(const fc_gemm_stage *stage, fc_gemm_scratch *scratch, const fc_block *block,
                          fc_units channels, const fc_terms *terms);

/* Where the copy of a block begins, or the block itself, and term 0 of it reads. */
static inline const char *fc_input(const fc_gemm_stage *p, const fc_gemm_scratch *scratch, const fc_block *block,
                                   const fc_terms *terms) {
    if (!p->blocks.in_place) return scratch->copy;
    const ptrdiff_t plane = terms->block_first / fc_taps(p);
    return p->c->x + p->c->x_plane[plane] * p->size + fc_block_offset(&p->blocks, block) * p->size;
}

#endif
