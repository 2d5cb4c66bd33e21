/* How a correlation of y or dx is run: what is chosen, the scratch of a task, and the pieces of a stage. */
#ifndef FC_GEMM_STAGE_H
#define FC_GEMM_STAGE_H

#include "../../arithmetic.h"
#include "../../geometry/block.h"
#include "correlate.h"
#include "shared.h"

/* Bytes of a block of the input in a core's L2: of 14x14 outputs with stride 2 and 128 planes (rn50_l3_3x3s2), with
 * 384 KiB two blocks instead of one, which took 1.03 times as long. */
enum { FC_BLOCK_BYTES = 448 << 10 };
/* Longest chain of sums in one register: longer ones lose accuracy, shorter ones cost stores. */
enum { FC_CHAIN = 1152 };

typedef struct fc_gemm_stage {
    const fc_correlation *c;
    const fc_kernels *kernels;
    ptrdiff_t size; /* bytes of an element */
    fc_run *run;
    fc_blocks blocks;
    ptrdiff_t planes;    /* of the input that a block holds at once */
    ptrdiff_t tile_vectors;      /* vectors across a register tile */
    ptrdiff_t tile_rows; /* rows of a register tile */
    ptrdiff_t panel;     /* output channels of a tile */
    int by_line;         /* pixels in the vector: tiles begin with each line of outputs */
    int is_dense;        /* of those: all rows of a block are one line, in y as in its copy */
    int by_cache_line;   /* of those, where lines are whole images: tiles and blocks begin where all planes' do */
    fc_rows_of_b rows_of_b; /* of tiles */
    int by_channel;      /* channels in the vector */
    int by_piece;        /* of those: blocks cut where taps leave the source, which are left out */
    int by_row;          /* of those: only above and below, of blocks that are copied */
    ptrdiff_t last_plane; /* highest of c->x_plane */
    double cycles;       /* estimate of the whole */
    int by_chunk;        /* all blocks of a task of some planes, then all of the next: weights stay in L2 */
    int by_panel;        /* tasks share panels out, and pack them unless they are prepared; otherwise blocks */
    ptrdiff_t row_parts; /* a block's output channels are shared out among so many tasks */
    int parts;
    FC_ATOMIC int *not_finite; /* set if some packed weight is not */
    const char *weights; /* copy [panel][term][channel of the panel], or NULL */
    char *own;           /* the same, if the call made it */
    char *bias;          /* with channels in the vector: padded to whole vectors, or NULL */
    /* What is summed of each block: the plan itself, or several that read the same copies of planes. */
    const struct fc_gemm_stage *residue;
    int residues;
} fc_gemm_stage;

/* Terms [first, last) of the sums, of a block that holds the terms from `block_first` on. */
typedef struct {
    ptrdiff_t block_first, first, last;
} fc_terms;

/* Outputs of a block that read the same taps; those before and after it end at `last`. */
typedef struct {
    ptrdiff_t last;        /* in the order of fc_workspace.pixels */
    fc_taps_inside taps[2]; /* height, width */
    ptrdiff_t depth;       /* terms of the tables */
} fc_piece;

/* Scratch of one task. */
typedef struct {
    char *copy; /* padded copy of the planes */
    ptrdiff_t *w_offsets, *x_offsets; /* of each term, piece after piece, `table` apart */
    ptrdiff_t table;
    ptrdiff_t *tap_weight, *tap_offset; /* of each tap of a plane */
    fc_block block;  /* whose outputs the following describe, if there are pieces */
    char *y;         /* of its first image */
    ptrdiff_t *pixels, *targets; /* offset of each output in the input, and in y */
    ptrdiff_t *ends; /* of the run of outputs, evenly apart in y, that it is in, whatever its piece */
    fc_piece *pieces;
    ptrdiff_t count; /* of pieces */
    char *stage[2];  /* tiles on their way out */
    char *panel;     /* weights of one panel that the task packs, with by_panel */
    const char *weights; /* packed, from channel `first_row` on; NULL: not packed */
    ptrdiff_t first_row;
    fc_fetch fetch;
} fc_workspace;

enum {
    FC_GROUP = 48, /* pixels that leave together when channels are in the vector */
    FC_STAGE = FC_GROUP * FC_MAX_TILE_COLS,
    FC_MAX_PIECES = 25, /* of an image: their tables stay in L2 */
    FC_MAX_ROW_PIECES = 64, /* and of rows, which are read one after the other */
    FC_MAX_RUNS = 4096  /* of the input that are fetched ahead */
};

static inline ptrdiff_t fc_taps(const fc_gemm_stage *p) { return p->c->axis[0].taps * p->c->axis[1].taps; }

/* Offset in the weights that tap (s, t) adds. */
static inline ptrdiff_t fc_tap_weight(const fc_correlation *c, ptrdiff_t s, ptrdiff_t t) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    return h->weight + s * h->weight_step + w->weight + t * w->weight_step;
}

/* Weights are copied up to this size, where a copy is not needed. */
enum { FC_PACKED_BYTES = 12 << 20 };

/* Elements of all packed weights. */
ptrdiff_t fc_weight_elements(const fc_gemm_stage *plan);
int fc_needs_packed(const fc_gemm_stage *plan);
/* All panels; NULL if there is no memory. fc_scratch_release releases them. */
char *fc_pack_all(fc_gemm_stage *plan);
/* Those of one panel, from channel `row` on, that its task packs for itself. */
void fc_pack_own(const fc_gemm_stage *plan, fc_workspace *ws, ptrdiff_t row);

/* Set the fields above `cycles` that depend on the arrangement, and `cycles`. */
void fc_plan_pixels(fc_gemm_stage *plan);
void fc_plan_channels(fc_gemm_stage *plan);
/* The same by pieces, or by pieces of whole rows, whose cost is infinite where that cannot be. */
void fc_plan_pieces(fc_gemm_stage *plan);
void fc_plan_row_pieces(fc_gemm_stage *plan);

/* Moves a block's ends to where cache lines begin, if the plan is by_cache_line; it may become empty. */
void fc_align_block(const fc_gemm_stage *plan, fc_block *block);

/* Sets ws's pieces and what each output reads and writes. */
void fc_set_pixels(const fc_gemm_stage *plan, fc_workspace *ws, const fc_block *block);

/* All tiles of output channels [row0, row1) of a block, for terms that ws's tables describe. */
void fc_multiply_pixels(const fc_gemm_stage *plan, fc_workspace *ws, const fc_block *block, ptrdiff_t row0,
                        ptrdiff_t row1, const fc_terms *terms);
void fc_multiply_channels(const fc_gemm_stage *plan, fc_workspace *ws, const fc_block *block, ptrdiff_t row0,
                          ptrdiff_t row1, const fc_terms *terms);

/* With pixels in the vector: lines of outputs in an image of a block, and outputs in each. */
static inline ptrdiff_t fc_lines(const fc_gemm_stage *p, const fc_block *block) {
    return p->is_dense ? 1 : block->count[1];
}

static inline ptrdiff_t fc_line_length(const fc_gemm_stage *p, const fc_block *block) {
    return p->is_dense ? block->count[1] * block->count[2] : block->count[2];
}

/* Cycles that all copies of planes take. */
double fc_fill_cycles(const fc_gemm_stage *plan);

/* Where the copy of a block begins, or the block itself, and term 0 of it reads. */
static inline const char *fc_input(const fc_gemm_stage *p, const fc_workspace *ws, const fc_block *block,
                                   const fc_terms *terms) {
    if (!p->blocks.in_place) return ws->copy;
    const ptrdiff_t plane = terms->block_first / fc_taps(p);
    return p->c->x + p->c->x_plane[plane] * p->size + fc_block_offset(&p->blocks, block) * p->size;
}

#endif
