/* dw and db of a correlation: a GEMM whose depth is the pixels.
 *
 * A tile has taps as rows, broadcast from the planes, and output channels as columns, read from dy or a
 * copy of it with its channels adjacent. Its depth is the pixels of a block; what it sums is kept as
 * [tap of a plane][channel] and transposed into dw at the end. (Georganas et al. 2018,
 * arXiv:1808.05567, discuss the reductions; the parallel one here is over a number of partial results
 * that depends on the problem alone.) */
#include <string.h>

#include "../../arithmetic.h"
#include "../../platform/memory.h"
#include "shared.h"
#include "weights.h"

/* Pixels of a block: long enough that adding a tile to the sums costs little. */
enum { BLOCK_PIXELS = 1024 };
/* Half of them where dy would be transposed again for so few rows of sums (rn50_l3_3x3s2: 0.91 of the time), or
 * strided planes in place, which each part of dy's channels reads again, are more than stay in L2
 * (rn50_l2_down1x1: 0.79; with stride 1, 512 -> 256 channels of 28x28: 1.06). */
enum { FEW_ROWS = 512, MAX_READ_AGAIN = 1 << 20 };
/* Bytes of the planes and of the transposed dy that a block holds. */
enum { PLANES_BYTES = 512 << 10, DY_BYTES = 384 << 10 };
/* dw up to this size is summed in several parts, so that threads share out the pixels. */
enum { PARTIAL_BYTES = 896 << 10, MAX_PARTIALS = 16 };
/* Rows of sums that a task has at least (transposing dy costs as much as about 50 of them), and their
 * bytes at most. */
enum { TASK_ROWS = 1024, TASK_BYTES = 4 << 20 };
/* Pixels of a block of panels: a tile reads two panels, which stay in L1 and L2. */
enum { PANEL_PIXELS = 256 };
/* Channels that stay side by side in the copy of the planes: with more, a row of pixels is spread over
 * too many lines (deeplab_d2 took 1.14 times as long, mbv2_stem 0.77). */
enum { MAX_INNER = 64 };
/* dy whose channels lie side by side is read in place if they, or the sums it takes part in, are no more:
 * rn50_l4_3x3 with 512 channels, whose pixels are in the same sets of the cache, took 1.3 times as long,
 * mbv2_expand with 24 sums 0.93 to 0.85 of the time for a copy. */
enum { MAX_IN_PLACE = 64 };
/* Runs of dy that are fetched ahead: as many as a block has, where they are whole rows of several images. */
enum { MAX_RUNS = 4096 };
/* Sums that are transposed into dw at once. */
enum { STORED_ROWS = 48 };

typedef struct {
    const fc_weights_gradient *gradient;
    const fc_correlation *c; /* the gradient's */
    const fc_kernels *kernels;
    ptrdiff_t size;
    fc_run *run;
    int accumulate;
    fc_blocks blocks;
    int dy_in_place;
    ptrdiff_t panel;          /* so many planes that lie side by side are copied to [panel][pixel][plane]; or 0 */
    ptrdiff_t panel_stride;
    int by_tap;               /* pixels for which a tap lies in the padding are left out of its sums */
    FC_ATOMIC int *not_finite; /* set then if some dy is not */
    ptrdiff_t planes;         /* filled at once */
    ptrdiff_t channels;       /* transposed at once, to [channels of a tile][pixel][channel] */
    ptrdiff_t rows, tile_vectors;     /* of a register tile */
    ptrdiff_t channel_part;   /* channels whose sums are held at once */
    ptrdiff_t pitch;          /* elements between rows of sums: these, padded to whole vectors */
    ptrdiff_t partials;       /* sums that the pixels are shared out among */
    ptrdiff_t plane_tasks;    /* or tasks that the planes are */
    char *sums;               /* (partials, planes * taps, pitch) if there are several */
    double *bias_sums;        /* (partials, channels) */
} plan;

static ptrdiff_t tile_channels(const plan *p) { return p->tile_vectors * p->kernels->lanes; }
static ptrdiff_t taps_of(const plan *p) { return p->c->axis[0].taps * p->c->axis[1].taps; }

/* Cycles that a pixel keeps the multipliers busy, for one tap, which its entry in the tables of that tap
 * is worth: cifar_rn20_l1 with 9 took 1.2 times as long tap by tap, rn50_l1_3x3 with 132 took 0.92. */
enum { CYCLES_WORTH_A_TABLE = 40 };

/* Of planes that lie side by side a tap's pixels are far apart. rn50_l3_3x3s2, 0.93 of whose taps lie inside,
 * took 1.3 times as long as with a copy, rn50_l4_3x3 with 0.82 as long, aspp_d12 with 0.51 took 0.68. */
static const double MAX_INSIDE = 0.75;

/* `may_leave_out`: dy is not known to hold what 0 * dy would make NaN. */
static int may_go_by_tap(const plan *p, int may_leave_out) {
    const fc_correlation *c = p->c;
    if (!may_leave_out || p->accumulate || !p->gradient->has_dw || p->blocks.in_place || p->dy_in_place) return 0;
    if (!fc_has_all_planes(c)) return 0;
    const double inside = fc_share_inside(&c->axis[0], NULL) * fc_share_inside(&c->axis[1], NULL);
    if (p->blocks.adjacent && inside > MAX_INSIDE) return 0;
    const ptrdiff_t tiles = c->planes / p->rows * quotient_up(c->rows, p->tile_vectors * p->kernels->lanes);
    return (double)tiles * fc_tile_cycles(p->rows, p->tile_vectors, 1) >= CYCLES_WORTH_A_TABLE;
}

static void choose_blocks(plan *p, ptrdiff_t max_pixels) {
    const fc_correlation *c = p->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    fc_blocks *b = &p->blocks;
    *b = (fc_blocks){.axis = c->axis, .images = c->images, .x_image = c->x_image, .inner = 1};
    b->adjacent = fc_are_adjacent(c);
    for (int a = 0; a < 2; a++)
        b->residues[a] = fc_whole_axis(&c->axis[a], min(c->axis[a].outputs, a ? max_pixels : 32));
    b->in_place = fc_is_inside(h) && fc_is_inside(w) && fc_has_all_planes(c);
    /* Whole tiles, but not less than a vector, which is quicker to copy than part of one. */
    p->panel = quotient_up(p->kernels->lanes, p->rows) * p->rows;
    if (!b->in_place || !b->adjacent || taps_of(p) > 1 || c->planes <= MAX_INNER || !p->gradient->has_dw) p->panel = 0;
    const ptrdiff_t pixels = p->panel ? PANEL_PIXELS : max_pixels;
    b->size[2] = even_block(w->outputs, pixels);
    b->size[1] = even_block(h->outputs, pixels / b->size[2]);
    b->size[0] = b->size[1] == h->outputs && b->size[2] == w->outputs
                     ? even_block(c->images, pixels / (b->size[1] * b->size[2])) : 1;
    fc_lay_out(b);
    p->planes = c->planes;
    const ptrdiff_t budget = PLANES_BYTES / p->size;
    if (p->panel) {
        p->panel_stride = b->size[0] * b->size[1] * b->size[2] * p->panel;
        p->planes = min(c->planes, max(1, budget / p->panel_stride) * p->panel);
    }
    if (b->in_place) return;
    b->size[0] = min(b->size[0], max(1, budget / (b->plane_stride / b->size[0])));
    fc_lay_out(b);
    p->planes = even_block(c->planes, budget / b->plane_stride);
    if (b->adjacent && c->planes <= MAX_INNER) b->inner = p->planes;
    fc_lay_out(b);
}

static int blocks_are_large(const plan *p) {
    const fc_correlation *c = p->c;
    const fc_blocks *b = &p->blocks;
    if (!p->gradient->has_dw || p->panel) return 0;
    if (!b->in_place) return p->planes < c->planes && p->planes * taps_of(p) < FEW_ROWS;
    const ptrdiff_t pixels = b->size[0] * b->size[1] * b->size[2], stride = c->axis[1].stride;
    return stride > 1 && pixels * c->rows * p->size > DY_BYTES &&
           pixels * stride * c->planes * p->size > MAX_READ_AGAIN;
}

static void choose(plan *p, int may_leave_out) {
    const fc_correlation *c = p->c;
    const fc_kernels *k = p->kernels;
    fc_blocks *b = &p->blocks;
    p->tile_vectors = fc_channel_tile_vectors(k, c->rows);
    p->rows = fc_highest_tile(k, p->tile_vectors);
    choose_blocks(p, BLOCK_PIXELS);
    if (blocks_are_large(p)) choose_blocks(p, BLOCK_PIXELS / 2);
    p->channel_part = c->rows;
    p->pitch = quotient_up(c->rows, k->lanes) * k->lanes;
    const ptrdiff_t tile = tile_channels(p), pixels = b->size[0] * b->size[1] * b->size[2];
    p->dy_in_place = c->y_row == 1 && c->rows == p->pitch &&
                     (c->rows <= MAX_IN_PLACE || c->planes * taps_of(p) <= MAX_IN_PLACE);
    p->by_tap = may_go_by_tap(p, may_leave_out);
    if (p->by_tap) {
        b->in_place = 1;
        b->inner = 1;
        p->planes = c->planes;
        fc_lay_out(b);
    }
    p->channels = min(p->pitch, max(tile, DY_BYTES / p->size / pixels / tile * tile));
    const ptrdiff_t blocks = b->count[0] * b->count[1] * b->count[2];
    const ptrdiff_t row_bytes = p->pitch * p->size, rows = c->planes * taps_of(p);
    p->partials = rows * row_bytes <= PARTIAL_BYTES ? min(MAX_PARTIALS, blocks) : 1;
    p->plane_tasks = 1;
    if (p->partials > 1 || !p->gradient->has_dw) return;
    /* Every sum is one task's, so their number may depend on the threads. */
    const ptrdiff_t threads = p->run->threads;
    p->plane_tasks = max(rows / TASK_ROWS, quotient_up(rows * row_bytes, TASK_BYTES));
    p->plane_tasks = min(c->planes, quotient_up(max(1, p->plane_tasks), threads) * threads);
    const ptrdiff_t max_rows = quotient_up(c->planes, p->plane_tasks) * taps_of(p);
    if (max_rows * row_bytes > TASK_BYTES) { /* the taps of one plane: a kernel as large as an image */
        p->channel_part = min(c->rows, max(1, TASK_BYTES / (max_rows * p->size) / tile) * tile);
        p->pitch = quotient_up(p->channel_part, k->lanes) * k->lanes;
    }
}

typedef struct {
    char *planes, *dy, *sums;
    char *stored;                     /* sums on their way out */
    ptrdiff_t *x_offsets, *y_offsets; /* of each pixel */
    fc_fetch fetch;
} workspace;

static char *acquire(const plan *p, workspace *ws) {
    const fc_blocks *b = &p->blocks;
    const ptrdiff_t pixels = b->size[0] * b->size[1] * b->size[2];
    const ptrdiff_t filled = !p->gradient->has_dw ? 0 : p->panel ? quotient_up(p->planes, p->panel) * p->panel_stride
                                                        : (b->inner > 1 ? 1 : p->planes) * b->plane_stride;
    const ptrdiff_t task_rows = quotient_up(p->c->planes, p->plane_tasks) * taps_of(p);
    const size_t planes = fc_aligned(filled * p->size);
    const ptrdiff_t copied = quotient_up(p->channels, tile_channels(p)) * tile_channels(p);
    const size_t dy = p->dy_in_place ? 0 : fc_aligned(pixels * copied * p->size);
    const size_t sums = p->sums || !p->gradient->has_dw ? 0 : fc_aligned(task_rows * p->pitch * p->size);
    const size_t stored = fc_aligned(STORED_ROWS * FC_MAX_TILE_COLS * p->size);
    const size_t table = fc_aligned(pixels * (ptrdiff_t)sizeof(ptrdiff_t));
    const size_t runs = fc_aligned(MAX_RUNS * (ptrdiff_t)sizeof(ptrdiff_t));
    char *scratch = fc_scratch_acquire(planes + dy + sums + stored + 2 * table + runs);
    if (!scratch) return NULL;
    ws->planes = scratch;
    ws->dy = scratch + planes;
    ws->sums = ws->dy + dy;
    ws->stored = ws->sums + sums;
    ws->x_offsets = (ptrdiff_t *)(ws->stored + stored);
    ws->y_offsets = (ptrdiff_t *)((char *)ws->x_offsets + table);
    ws->fetch.offsets = (ptrdiff_t *)((char *)ws->y_offsets + table);
    memset(ws->dy, 0, dy); /* the lanes beyond the channels */
    return scratch;
}

static ptrdiff_t block_pixels(const fc_block *b) { return b->count[0] * b->count[1] * b->count[2]; }

/* Offsets of the block's pixels in a plane, and in dy. */
static void set_offsets(const plan *p, const workspace *ws, const fc_block *block) {
    const fc_correlation *c = p->c;
    const ptrdiff_t *pitch = p->blocks.pitch;
    ptrdiff_t i = 0;
    for (ptrdiff_t n = 0; n < block->count[0]; n++)
        for (ptrdiff_t h = 0; h < block->count[1]; h++)
            for (ptrdiff_t w = 0; w < block->count[2]; w++, i++) {
                ws->x_offsets[i] = p->panel ? i * p->panel : n * pitch[0] + h * pitch[1] + w * pitch[2];
                ws->y_offsets[i] = p->dy_in_place ? n * c->y_image + h * c->axis[0].target_stride +
                                                        w * c->axis[1].target_stride
                                                  : i * tile_channels(p);
            }
}

/* Image 0 and channel 0 of the block, in dy. */
static const char *find_dy(const plan *p, const fc_block *block) {
    const fc_correlation *c = p->c;
    return p->gradient->dy +
           (block->start[0] * c->y_image + block->start[1] * c->axis[0].target_stride +
            block->start[2] * c->axis[1].target_stride) * p->size;
}

/* Rows of the block's outputs in an image, and their length: one where whole rows follow each other. */
static void find_rows(const plan *p, const fc_block *block, ptrdiff_t *rows, ptrdiff_t *run) {
    const fc_axis *h = &p->c->axis[0], *w = &p->c->axis[1];
    *rows = block->count[1];
    *run = block->count[2];
    if (*run != w->outputs || h->target_stride != *run * w->target_stride) return;
    *run *= *rows;
    *rows = 1;
}

/* dy of the block's pixels and of channels [channel0, channel1) of a tile, channels adjacent. */
static void transpose_dy(const plan *p, const fc_block *block, ptrdiff_t channel0, ptrdiff_t channel1,
                         char *target) {
    const fc_correlation *c = p->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const ptrdiff_t pitch = tile_channels(p);
    ptrdiff_t rows, run;
    find_rows(p, block, &rows, &run);
    for (ptrdiff_t n = 0; n < block->count[0]; n++)
        for (ptrdiff_t row = 0; row < rows; row++, target += run * pitch * p->size) {
            const char *source = find_dy(p, block) +
                                 (n * c->y_image + channel0 * c->y_row + row * h->target_stride) * p->size;
            if (w->target_stride == 1) {
                p->kernels->transpose(channel1 - channel0, run, source, c->y_row, target, pitch);
                continue;
            }
            for (ptrdiff_t i = 0; i < run; i++)
                p->kernels->copy(channel1 - channel0, source + i * w->target_stride * p->size, c->y_row,
                                 target + i * pitch * p->size);
        }
}

/* What transpose_dy reads next is fetched while `terms` terms are multiplied: of a block and of channels
 * [channel0, channel1). rn50_l2_down1x1 takes 0.95 of the time, vgg_c1_1 0.91. */
static void plan_fetch(const plan *p, fc_fetch *f, const fc_block *next, ptrdiff_t channel0, ptrdiff_t channel1,
                       ptrdiff_t terms) {
    const fc_correlation *c = p->c;
    ptrdiff_t rows, run;
    find_rows(p, next, &rows, &run);
    *f = (fc_fetch){.from = find_dy(p, next), .offsets = f->offsets};
    if (!terms || p->dy_in_place || c->axis[1].target_stride != 1) return;
    if (next->count[0] * (channel1 - channel0) * rows > MAX_RUNS) return;
    for (ptrdiff_t n = 0; n < next->count[0]; n++)
        for (ptrdiff_t channel = channel0; channel < channel1; channel++)
            for (ptrdiff_t row = 0; row < rows; row++)
                f->offsets[f->rows++] = n * c->y_image + channel * c->y_row + row * c->axis[0].target_stride;
    fc_spread_fetch(f, p->size, run, terms);
}

/* Planes [first, last) of the block's pixels, a few pixels at a time: few lines are read side by side. */
static void fill_panels(const plan *p, const workspace *ws, const fc_block *block, ptrdiff_t first,
                        ptrdiff_t last) {
    enum { AT_ONCE = 8 };
    const fc_correlation *c = p->c;
    const ptrdiff_t *pitch = p->blocks.pitch;
    const ptrdiff_t offset = fc_block_offset(&p->blocks, block) + fc_tap_offset(&p->blocks, 0, 0);
    const char *image = fc_plane(c, first, p->size) + offset * p->size;
    const ptrdiff_t whole = (last - first) / p->panel, rest = (last - first) % p->panel;
    char *target = ws->planes;
    for (ptrdiff_t n = 0; n < block->count[0]; n++)
        for (ptrdiff_t h = 0; h < block->count[1]; h++)
            for (ptrdiff_t w = 0; w < block->count[2]; w += AT_ONCE) {
                const char *source = image + (n * pitch[0] + h * pitch[1] + w * pitch[2]) * p->size;
                fc_padded_lines s = {.lines = whole, .count = min(AT_ONCE, block->count[2] - w),
                                    .source_pitch = p->panel, .step = pitch[2],
                                    .target_pitch = p->panel_stride, .inner = p->panel, .adjacent = p->panel};
                p->kernels->pad(&s, source, target);
                if (rest) {
                    s.lines = 1;
                    s.adjacent = rest;
                    p->kernels->pad(&s, source + whole * p->panel * p->size,
                                    target + whole * p->panel_stride * p->size);
                }
                target += s.count * p->panel * p->size;
            }
}

/* Where the sums of a column of tiles find dy, the first of them `dy`: in place, or in a copy. */
static const char *find_column(const plan *p, const char *dy, ptrdiff_t column) {
    if (p->dy_in_place) return dy + column * p->size;
    const ptrdiff_t *size = p->blocks.size;
    return dy + column * size[0] * size[1] * size[2] * p->size;
}

/* Channels [channel0, channel1) by the taps of planes [plane0, plane1), of one block; `dy` holds them
 * and `sums` the first row. */
static void multiply(const plan *p, workspace *ws, const fc_block *block, const char *dy,
                     char *sums, int accumulate, ptrdiff_t plane0, ptrdiff_t plane1,
                     ptrdiff_t channel0, ptrdiff_t channel1) {
    const fc_correlation *c = p->c;
    const fc_kernels *k = p->kernels;
    const ptrdiff_t taps_w = c->axis[1].taps, taps = taps_of(p), rows = (plane1 - plane0) * taps;
    const void *x_rows[FC_MAX_TILE_ROWS];
    fc_tile tile = {
        .depth = block_pixels(block),
        .a_rows = x_rows,
        .a_offsets = ws->x_offsets,
        .b_offsets = ws->y_offsets,
        .c_row = p->pitch,
        .accumulate = accumulate,
    };
    for (ptrdiff_t row = 0; row < rows; row += p->rows) {
        const ptrdiff_t height = min(p->rows, rows - row);
        if (fc_stopped(p->run)) return;
        for (ptrdiff_t i = 0; i < height; i++) {
            const ptrdiff_t plane = (row + i) / taps, tap = (row + i) % taps;
            const char *base = p->panel ? ws->planes + (row / p->panel * p->panel_stride + row % p->panel + i) * p->size
                               : p->blocks.in_place
                                   ? fc_plane(c, plane0 + plane, p->size) +
                                         fc_block_offset(&p->blocks, block) * p->size
                                   : ws->planes + plane * (p->blocks.inner > 1 ? 1 : p->blocks.plane_stride) * p->size;
            x_rows[i] = base + fc_tap_offset(&p->blocks, tap / taps_w, tap % taps_w) * p->size;
        }
        for (ptrdiff_t column = channel0; column < channel1; column += p->tile_vectors * k->lanes) {
            const ptrdiff_t tile_vectors = min(p->tile_vectors, quotient_up(channel1 - column, k->lanes));
            tile.b = find_column(p, dy, column - channel0);
            tile.c = sums + (row * p->pitch + column) * p->size;
            fc_fetch_ahead(&ws->fetch, &tile);
            k->gemm[height - 1][tile_vectors - 1](&tile);
        }
    }
}

/* Of the block's pixels, those for which tap (s, t) lies inside: their number, and their offsets. */
static ptrdiff_t set_offsets_of_tap(const plan *p, const workspace *ws, const fc_block *block,
                                    ptrdiff_t s, ptrdiff_t t) {
    const fc_axis *axis = p->c->axis;
    const ptrdiff_t *pitch = p->blocks.pitch;
    ptrdiff_t i = 0, pixel = 0;
    for (ptrdiff_t n = 0; n < block->count[0]; n++)
        for (ptrdiff_t h = 0; h < block->count[1]; h++) {
            const ptrdiff_t row = (block->start[1] + h) * axis[0].stride + axis[0].tap + s * axis[0].tap_step;
            for (ptrdiff_t w = 0; w < block->count[2]; w++, pixel++) {
                const ptrdiff_t position = (block->start[2] + w) * axis[1].stride + axis[1].tap + t * axis[1].tap_step;
                if (row < 0 || row >= axis[0].size || position < 0 || position >= axis[1].size) continue;
                ws->x_offsets[i] = n * pitch[0] + h * pitch[1] + w * pitch[2];
                ws->y_offsets[i++] = pixel * tile_channels(p);
            }
        }
    return i;
}

/* What `multiply` does, of channels that ws->dy holds, tap by tap. */
static void multiply_by_tap(const plan *p, const workspace *ws, const fc_block *block, char *sums,
                            int accumulate, ptrdiff_t plane0, ptrdiff_t plane1, ptrdiff_t channel0,
                            ptrdiff_t channel1) {
    const fc_correlation *c = p->c;
    const fc_kernels *k = p->kernels;
    const ptrdiff_t taps_w = c->axis[1].taps, taps = taps_of(p);
    const void *x_rows[FC_MAX_TILE_ROWS];
    fc_tile tile = {
        .a_rows = x_rows,
        .a_offsets = ws->x_offsets,
        .b_offsets = ws->y_offsets,
        .c_row = taps * p->pitch,
        .accumulate = accumulate,
    };
    for (ptrdiff_t tap = 0; tap < taps; tap++) {
        const ptrdiff_t s = tap / taps_w, t = tap % taps_w;
        const ptrdiff_t x = fc_block_offset(&p->blocks, block) + fc_tap_offset(&p->blocks, s, t);
        tile.depth = set_offsets_of_tap(p, ws, block, s, t);
        if (fc_stopped(p->run)) return;
        for (ptrdiff_t plane = plane0; plane < plane1; plane += p->rows) {
            const ptrdiff_t height = min(p->rows, plane1 - plane);
            for (ptrdiff_t i = 0; i < height; i++)
                x_rows[i] = fc_plane(c, plane + i, p->size) + x * p->size;
            for (ptrdiff_t column = channel0; column < channel1; column += p->tile_vectors * k->lanes) {
                const ptrdiff_t tile_vectors = min(p->tile_vectors, quotient_up(channel1 - column, k->lanes));
                tile.b = find_column(p, ws->dy, column - channel0);
                tile.c = sums + (((plane - plane0) * taps + tap) * p->pitch + column) * p->size;
                k->gemm[height - 1][tile_vectors - 1](&tile);
            }
        }
    }
}

/* db of the block, in double. */
static void sum_dy(const plan *p, const workspace *ws, const fc_block *block, const char *dy,
                   ptrdiff_t channels, double *sums) {
    const ptrdiff_t run = p->dy_in_place ? block->count[2] : block_pixels(block);
    for (ptrdiff_t i = 0; i < block_pixels(block); i += run)
        p->kernels->sum(run, channels, dy + ws->y_offsets[i] * p->size,
                        run > 1 ? ws->y_offsets[i + 1] - ws->y_offsets[i] : 0, sums);
}

/* dy of the block's channels [channel, end), in place or transposed, and their db if `bias_sums`; by tap, whether all
 * of it is finite. */
static const char *prepare_dy(const plan *p, const workspace *ws, const fc_block *block, ptrdiff_t channel,
                              ptrdiff_t end, double *bias_sums) {
    const ptrdiff_t tile = tile_channels(p);
    const char *dy = p->dy_in_place ? find_dy(p, block) + channel * p->size : ws->dy;
    for (ptrdiff_t column = channel; column < end; column += tile) {
        const char *part = find_column(p, dy, column - channel);
        const ptrdiff_t last = min(end, column + tile);
        if (!p->dy_in_place) transpose_dy(p, block, column, last, (char *)part);
        if (bias_sums) sum_dy(p, ws, block, part, last - column, bias_sums + column);
        if (p->by_tap && !p->kernels->finite(block_pixels(block) * tile, part)) *p->not_finite = 1;
    }
    return dy;
}

/* Adds blocks [block0, block1) to the sums of planes [plane0, plane1) and of a part of the channels,
 * from `channel0` on; db if `bias_sums`. */
static void run_blocks(const plan *p, workspace *ws, char *sums, double *bias_sums,
                       ptrdiff_t block0, ptrdiff_t block1, ptrdiff_t plane0, ptrdiff_t plane1,
                       ptrdiff_t channel0) {
    const fc_correlation *c = p->c;
    const ptrdiff_t channel1 = min(c->rows, channel0 + p->channel_part), tile = tile_channels(p);
    fc_block before;
    for (ptrdiff_t index = block0; index < block1; index++) {
        const fc_block block = fc_find_block(&p->blocks, index);
        if (index == block0 || memcmp(before.count, block.count, sizeof before.count) != 0) set_offsets(p, ws, &block);
        before = block;
        const ptrdiff_t step = p->gradient->has_dw ? p->planes : plane1 - plane0;
        for (ptrdiff_t first = plane0; first < plane1; first += step) {
            const ptrdiff_t last = min(plane1, first + step);
            if (p->panel)
                fill_panels(p, ws, &block, first, last);
            else if (p->gradient->has_dw && !p->blocks.in_place)
                fc_fill_block(p->kernels, p->size, &p->blocks, &block, c->x, c->x_plane, first, last, ws->planes);
            for (ptrdiff_t channel = channel0; channel < channel1; channel += p->channels) {
                const ptrdiff_t end = min(channel1, channel + p->channels);
                if (fc_stopped(p->run)) return;
                const char *dy = prepare_dy(p, ws, &block, channel, end, first == plane0 ? bias_sums : NULL);
                if (p->by_tap) {
                    multiply_by_tap(p, ws, &block, sums - channel0 * p->size, index > block0, first, last,
                                    channel, end);
                    set_offsets(p, ws, &block);
                } else if (p->gradient->has_dw) {
                    const ptrdiff_t row = (first - plane0) * taps_of(p);
                    /* The next channels of the block, its first ones again, or those of the next block. */
                    const int again = end < channel1 || last < plane1;
                    const fc_block next = again ? block : fc_find_block(&p->blocks, min(index + 1, block1 - 1));
                    const ptrdiff_t from = end < channel1 ? end : channel0;
                    const ptrdiff_t tiles = quotient_up((last - first) * taps_of(p), p->rows);
                    plan_fetch(p, &ws->fetch, &next, from, min(channel1, from + p->channels),
                               again || index + 1 < block1
                                   ? tiles * quotient_up(end - channel, tile) * block_pixels(&block) : 0);
                    multiply(p, ws, &block, dy, sums + (row * p->pitch - channel0) * p->size, index > block0,
                             first, last, channel, end);
                }
            }
        }
    }
}

/* Transposes sums into dw: rows [row0, row1) of them, of planes from `plane0` on and a part of the
 * channels from `channel0` on. */
static void store_sums(const plan *p, const char *sums, char *stored, ptrdiff_t plane0,
                       ptrdiff_t channel0, ptrdiff_t row0, ptrdiff_t row1) {
    const fc_correlation *c = p->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const ptrdiff_t taps = taps_of(p), size = p->size;
    const ptrdiff_t channel1 = min(c->rows, channel0 + p->channel_part);
    const int in_order = w->weight_step == 1 || w->taps == 1;
    const ptrdiff_t run = in_order && (h->taps == 1 || h->weight_step == w->taps) ? taps : w->taps;
    for (ptrdiff_t row = row0; row < row1; row += STORED_ROWS)
        for (ptrdiff_t channel = channel0; channel < channel1; channel += FC_MAX_TILE_COLS) {
            const ptrdiff_t end = min(row1, row + STORED_ROWS);
            const ptrdiff_t channels = min(FC_MAX_TILE_COLS, channel1 - channel);
            p->kernels->transpose(end - row, channels,
                                  sums + (row * p->pitch + channel - channel0) * size, p->pitch, stored,
                                  STORED_ROWS);
            for (ptrdiff_t i = row; i < end;) {
                const ptrdiff_t tap = i % taps, plane = plane0 + i / taps;
                ptrdiff_t length = min(run - tap % run, end - i);
                /* Planes that follow each other go at once. */
                if (in_order && run == taps)
                    while (i + length < end && c->w_plane[plane0 + (i + length) / taps] - c->w_plane[plane] ==
                                                   ((i + length) / taps - i / taps) * taps)
                        length = min(length + taps, end - i);
                void *targets[FC_MAX_TILE_COLS];
                const ptrdiff_t offset = c->w_plane[plane] + h->weight + w->weight +
                                         tap / w->taps * h->weight_step + tap % w->taps * w->weight_step;
                for (ptrdiff_t j = 0; j < channels; j++)
                    targets[j] = p->gradient->dw + (offset + (channel + j) * c->w_row) * size;
                p->kernels->store(channels, length, stored + (i - row) * size, STORED_ROWS, targets,
                                  in_order ? 1 : w->weight_step, p->accumulate, 0);
                i += length;
            }
        }
}

static void run_task(void *context, int part) {
    const plan *p = context;
    const fc_correlation *c = p->c;
    workspace ws;
    char *scratch = acquire(p, &ws);
    if (!scratch) {
        fc_stop(p->run, FC_NO_MEMORY);
        return;
    }
    const ptrdiff_t *count = p->blocks.count, blocks = count[0] * count[1] * count[2];
    const ptrdiff_t taps = taps_of(p), tasks = p->partials * p->plane_tasks;
    const ptrdiff_t parts = min(tasks, p->run->threads);
    for (ptrdiff_t task = tasks * part / parts; task < tasks * (part + 1) / parts; task++) {
        const ptrdiff_t partial = task / p->plane_tasks, planes = task % p->plane_tasks;
        const ptrdiff_t plane0 = c->planes * planes / p->plane_tasks;
        const ptrdiff_t plane1 = c->planes * (planes + 1) / p->plane_tasks;
        char *sums = p->sums ? p->sums + partial * c->planes * taps * p->pitch * p->size : ws.sums;
        double *bias_sums = p->gradient->has_db && planes == 0 ? p->bias_sums + partial * c->rows : NULL;
        for (ptrdiff_t channel = 0; channel < c->rows; channel += p->channel_part) {
            run_blocks(p, &ws, sums, bias_sums, blocks * partial / p->partials,
                       blocks * (partial + 1) / p->partials, plane0, plane1, channel);
            if (p->gradient->has_dw && !p->sums)
                store_sums(p, sums, ws.stored, plane0, channel, 0, (plane1 - plane0) * taps);
        }
    }
    fc_scratch_release(scratch);
}

/* Adds the partial sums to the first, in order, and transposes them into dw: a share of the rows. */
static void reduce(void *context, int part) {
    const plan *p = context;
    const ptrdiff_t rows = p->c->planes * taps_of(p), parts = min(p->run->threads, p->c->planes);
    const ptrdiff_t row0 = p->c->planes * part / parts * taps_of(p);
    const ptrdiff_t row1 = p->c->planes * (part + 1) / parts * taps_of(p);
    char *sums = p->sums + row0 * p->pitch * p->size;
    char *stored = fc_scratch_acquire(STORED_ROWS * FC_MAX_TILE_COLS * (size_t)p->size);
    if (!stored) {
        fc_stop(p->run, FC_NO_MEMORY);
        return;
    }
    for (ptrdiff_t partial = 1; partial < p->partials; partial++)
        p->kernels->add((row1 - row0) * p->pitch, sums + partial * rows * p->pitch * p->size, sums);
    store_sums(p, p->sums, stored, 0, 0, row0, row1);
    fc_scratch_release(stored);
}

static void store_bias(const plan *p) {
    const fc_correlation *c = p->c;
    for (ptrdiff_t i = 0; p->gradient->has_db && i < c->rows; i++) {
        double sum = 0;
        for (ptrdiff_t partial = 0; partial < p->partials; partial++)
            sum += p->bias_sums[partial * c->rows + i];
        fc_put_gradient(p->size, p->gradient->db, i, sum, p->accumulate);
    }
}

/* Whether it was done: not if terms were left out that count. */
static int try_to_correlate(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                            const fc_weights_gradient *gradient, int accumulate, int may_leave_out) {
    const fc_correlation *c = &gradient->c;
    FC_ATOMIC int not_finite = 0;
    plan p = {.gradient = gradient, .c = c, .kernels = kernels, .size = element_size, .run = run,
              .accumulate = accumulate,
              .not_finite = &not_finite};
    choose(&p, may_leave_out);
    const size_t bias_bytes = fc_aligned(p.partials * c->rows * (ptrdiff_t)sizeof(double));
    const size_t sum_bytes = gradient->has_dw && p.partials > 1
                                 ? fc_aligned(p.partials * c->planes * taps_of(&p) * p.pitch * p.size) : 0;
    char *scratch = fc_scratch_acquire(bias_bytes + sum_bytes);
    if (!scratch) {
        fc_stop(run, FC_NO_MEMORY);
        return 1;
    }
    p.bias_sums = (double *)scratch;
    p.sums = sum_bytes ? scratch + bias_bytes : NULL;
    memset(p.bias_sums, 0, bias_bytes);
    fc_parallel(run, (int)min(p.partials * p.plane_tasks, run->threads), run_task, &p);
    if (!not_finite) {
        if (p.sums && !fc_stopped(run)) fc_parallel(run, (int)min(run->threads, c->planes), reduce, &p);
        store_bias(&p);
    }
    fc_scratch_release(scratch);
    return !not_finite;
}

void fc_correlate_weights(const fc_kernels *kernels, ptrdiff_t element_size, fc_run *run,
                          const fc_weights_gradient *gradient, int accumulate) {
    if (fc_correlate_weights_by_pixels(kernels, element_size, run, gradient, accumulate)) return;
    if (!try_to_correlate(kernels, element_size, run, gradient, accumulate, 1))
        try_to_correlate(kernels, element_size, run, gradient, accumulate, 0);
}
