/* How a correlation of y or dx is run: what is chosen of it, what a call binds, and the scratch of a task.
 *
 * The room is a stack: paths (implicit_gemm.c) are made of the kinds of correlations that a problem has (kinds.c),
 * whose stages are chosen (arrange.c) by estimates (cost.c). A call runs them (correlate.c) by pixels.c or channels.c,
 * with weights of pack.c. */
#ifndef FC_GEMM_STAGE_H
#define FC_GEMM_STAGE_H

#include "../../geometry/block.h"
#include "../../platform/threads.h"
#include "../../tuning.h"
#include "../correlation.h"
#include "shared.h"

/* What the vector of a register tile holds, and what is left out. */
typedef enum {
    FC_GEMM_PIXELS,       /* consecutive outputs */
    FC_GEMM_PIXELS_APART, /* consecutive outputs; a line is copied once for each tap, and these make one of an image */
    FC_GEMM_CHANNELS,     /* output channels, of outputs that lie anywhere; weights are packed */
    FC_GEMM_PIECES,       /* output channels; blocks, read in place, are cut where taps leave the input */
    FC_GEMM_ROW_PIECES,   /* output channels; blocks, copied, are cut where taps leave it above and below */
    FC_GEMM_ARRANGEMENTS,
} fc_gemm_arrangement;

/* One correlation, or several that are summed from the same copies: the residues of a stride of dx. */
typedef struct fc_gemm_stage {
    /* What is chosen; it depends on no address, and serves all correlations of a kind. */
    fc_gemm_arrangement arrangement;
    fc_blocks blocks;                  /* `axis` is bound with the correlation */
    ptrdiff_t planes;                  /* of the input that a block holds at once */
    ptrdiff_t tile_rows, tile_vectors; /* of the register tile */
    ptrdiff_t panel;                   /* output channels of a tile */
    fc_rows_of_b rows_of_b;            /* of tiles */
    int by_line;       /* pixels: tiles begin with each line of outputs, else with each block */
    int is_dense;      /* by line: all lines of a block are one, in y as in their copy */
    int by_cache_line; /* by line, where lines are whole images: tiles and blocks begin where those of all planes do */
    int by_chunk;      /* all blocks of a task of some planes, then all of the next: weights stay in L2 */
    int by_panel;      /* tasks are dealt panels, and pack them unless they are prepared; otherwise blocks */
    ptrdiff_t panel_runs; /* the panels of a block are dealt in so many runs */
    int tasks;
    ptrdiff_t packed; /* bytes of the weights in panels; 0: they are read where they lie */
    double cycles;    /* estimate of the whole, of one thread */
    /* What is planned with, and bound by a call; NULL in plans. */
    const fc_correlation *c;
    const fc_kernels *kernels;
    ptrdiff_t size; /* bytes of an element */
    fc_run *run;
    ptrdiff_t last_plane;      /* pixels in place: the highest of c->x_plane */
    FC_ATOMIC int *not_finite; /* set if some packed weight is not, where padding counts */
    const char *weights;       /* [panel][term][channel of the panel], or NULL */
    char *own;                 /* these, if the call packed them */
    char *bias;                /* channels: padded to whole vectors, or NULL */
    const struct fc_gemm_stage *residue; /* what is summed of each block: itself, or several */
    int residues;
} fc_gemm_stage;

/* What correlations that are run alike have in common; of several that are summed together, what they read. */
typedef struct {
    ptrdiff_t residues; /* that are summed together */
    ptrdiff_t taps;     /* of a plane, of all of them */
    ptrdiff_t out_channels, planes;
    ptrdiff_t has_all_planes; /* none lies in the padding */
    fc_axis axis[2];          /* `weight` is 0 */
} fc_gemm_shape;

/* Correlations of one shape, and their stages. */
typedef struct {
    fc_gemm_shape shape;
    ptrdiff_t count;        /* in each group */
    ptrdiff_t at_once;      /* output channels that are summed at once */
    fc_gemm_stage stage[2]; /* of so many, and of those that are left at the end */
} fc_gemm_kind;

/* Terms [first, last) of the sums, of a block that holds the terms from `block_first` on. */
typedef struct {
    ptrdiff_t block_first, first, last;
} fc_terms;

/* Outputs of a block that read the same taps; those before and after it end at `last`. */
typedef struct {
    ptrdiff_t last;         /* in the order of fc_gemm_scratch.pixels */
    fc_taps_inside taps[2]; /* height, width */
    ptrdiff_t depth;        /* terms of the tables */
} fc_piece;

/* Scratch of one task. */
typedef struct {
    char *copy;                       /* padded copy of the planes */
    ptrdiff_t *w_offsets, *x_offsets; /* of each term, piece after piece, `table` apart */
    ptrdiff_t table;
    ptrdiff_t *tap_weight, *tap_offset; /* of each tap of a plane */
    fc_block block;              /* whose outputs the following describe, if there are pieces */
    char *y;                     /* of its first image */
    ptrdiff_t *pixels, *targets; /* offset of each output in the input, and in y */
    ptrdiff_t *ends; /* of the run of outputs, evenly apart in y, that it is in, whatever its piece */
    fc_piece *pieces;
    ptrdiff_t count; /* of pieces */
    char *stage[2];  /* tiles on their way out */
    char *panel;     /* weights of one panel that the task packs, with by_panel */
    const char *weights; /* packed, from `first_channel` on; NULL: not packed */
    ptrdiff_t first_channel;
    fc_fetch fetch;
} fc_gemm_scratch;

/* Sizes of the scratch. */
enum {
    FC_GEMM_GROUP = 48, /* pixels that are stored together where output channels are in the vector */
    FC_GEMM_GROUP_SIZE = FC_GEMM_GROUP * FC_MAX_TILE_COLS,
    FC_GEMM_MAX_PIECES = 25,     /* of an image: their tables stay in L2 */
    FC_GEMM_MAX_ROW_PIECES = 64, /* of lines of an image, which are read one after the other */
    FC_GEMM_MAX_RUNS = 4096      /* of the input that are fetched ahead */
};
_Static_assert((int)FC_GEMM_GROUP >= (int)FC_MAX_TILE_ROWS, "a tile is at most a group");

static inline int fc_by_channel(const fc_gemm_stage *p) { return p->arrangement >= FC_GEMM_CHANNELS; }
static inline int fc_by_piece(const fc_gemm_stage *p) { return p->arrangement >= FC_GEMM_PIECES; }

static inline ptrdiff_t fc_taps(const fc_gemm_stage *p) { return p->c->axis[0].taps * p->c->axis[1].taps; }

static inline ptrdiff_t fc_panels(const fc_gemm_stage *p) { return quotient_up(p->c->out_channels, p->panel); }

/* Elements of all packed weights. */
static inline ptrdiff_t fc_weight_elements(const fc_gemm_stage *p) {
    return fc_panels(p) * p->panel * p->c->planes * fc_taps(p);
}

/* With pixels in the vector: lines of outputs in an image of a block, and outputs in each. */
static inline ptrdiff_t fc_lines(const fc_gemm_stage *p, const fc_block *block) {
    return p->is_dense ? 1 : block->count[1];
}

static inline ptrdiff_t fc_line_length(const fc_gemm_stage *p, const fc_block *block) {
    return p->is_dense ? block->count[1] * block->count[2] : block->count[2];
}

/* Length of the outputs of a block taken as one line, those between two lines among them. */
static inline ptrdiff_t fc_positions(const fc_blocks *b, const ptrdiff_t count[3]) {
    return (count[0] - 1) * b->pitch[0] + (count[1] - 1) * b->pitch[1] + count[2];
}

#endif
