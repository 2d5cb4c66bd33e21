/* How a gradient is cut for fc_run_weights: blocks of pixels, what each holds, and what threads share out. */
#include "../../platform/memory.h"
#include "../../tuning.h"
#include "weights_shared.h"

_Static_assert((int)FC_GEMM_DW_BLOCK_PIXELS <= (int)FC_GEMM_CHAIN, "the pixels of a block are a chain of sums");

static ptrdiff_t pixels_of(const fc_blocks *b) { return b->size[0] * b->size[1] * b->size[2]; }

/* Whether taps read the planes where they lie, as none reaches into the padding. */
static int may_be_in_place(const fc_correlation *c) {
    return fc_is_inside(&c->axis[0]) && fc_is_inside(&c->axis[1]) && fc_has_all_planes(c);
}

static void cut_blocks(const fc_weights_call *call, fc_weights_layout *l, ptrdiff_t max_pixels) {
    const fc_correlation *c = &call->gradient->c;
    const fc_kernels *k = call->kernels;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    fc_blocks *b = &l->blocks;
    *b = (fc_blocks){.axis = c->axis, .images = c->images, .x_image = c->x_image, .inner = 1};
    b->adjacent = fc_are_adjacent(c);
    b->residues[0] = fc_whole_axis(h, min(h->outputs, FC_GEMM_DW_BLOCK_LINES));
    b->residues[1] = fc_whole_axis(w, min(w->outputs, max_pixels));
    b->in_place = may_be_in_place(c);
    /* Whole tiles, but not less than a vector, which is quicker to copy than part of one. */
    l->panel = quotient_up(k->lanes, l->tile_rows) * l->tile_rows;
    if (!b->in_place || !b->adjacent || fc_weights_taps(c) > 1 || c->planes <= FC_GEMM_DW_MAX_INNER ||
        !call->gradient->has_dw)
        l->panel = 0;
    const ptrdiff_t pixels = l->panel ? FC_GEMM_DW_PANEL_PIXELS : max_pixels;
    b->size[2] = even_block(w->outputs, pixels);
    b->size[1] = even_block(h->outputs, pixels / b->size[2]);
    b->size[0] = b->size[1] == h->outputs && b->size[2] == w->outputs
                     ? even_block(c->images, pixels / (b->size[1] * b->size[2])) : 1;
    fc_lay_out(b);
    l->planes = c->planes;
    const ptrdiff_t budget = FC_GEMM_DW_PLANES_BYTES / call->size;
    if (l->panel) {
        l->panel_stride = pixels_of(b) * l->panel;
        l->planes = min(c->planes, max(1, budget / l->panel_stride) * l->panel);
    }
    if (b->in_place) return;
    b->size[0] = min(b->size[0], max(1, budget / (b->plane_stride / b->size[0])));
    fc_lay_out(b);
    l->planes = even_block(c->planes, budget / b->plane_stride);
    if (b->adjacent && c->planes <= FC_GEMM_DW_MAX_INNER) b->inner = l->planes;
    fc_lay_out(b);
}

/* Whether blocks of half as many pixels are quicker. */
static int blocks_are_large(const fc_weights_call *call, const fc_weights_layout *l) {
    const fc_correlation *c = &call->gradient->c;
    const ptrdiff_t stride = c->axis[1].stride, pixels = pixels_of(&l->blocks);
    if (!call->gradient->has_dw || l->panel) return 0;
    if (!l->blocks.in_place) return l->planes < c->planes && l->planes * fc_weights_taps(c) < FC_GEMM_DW_FEW_ROWS;
    return stride > 1 && pixels * c->out_channels * call->size > FC_GEMM_DW_DY_BYTES &&
           pixels * stride * c->planes * call->size > FC_GEMM_DW_MAX_READ_AGAIN;
}

static void choose_tile(const fc_weights_call *call, fc_weights_layout *l) {
    l->tile_vectors = fc_channel_tile_vectors(call->kernels, call->gradient->c.out_channels);
    l->tile_rows = fc_highest_tile(call->kernels, l->tile_vectors);
}

/* Whether dy's channels lie side by side, whole vectors of them, and few enough. */
static int reads_dy_in_place(const fc_weights_call *call) {
    const fc_correlation *c = &call->gradient->c;
    return c->y_channel == 1 && c->out_channels % call->kernels->lanes == 0 &&
           (c->out_channels <= FC_GEMM_DW_MAX_IN_PLACE || c->planes * fc_weights_taps(c) <= FC_GEMM_DW_MAX_IN_PLACE);
}

/* Partial sums of a small dw, or ranges of the planes of a large one. */
static void share_out(const fc_weights_call *call, fc_weights_layout *l) {
    const fc_correlation *c = &call->gradient->c;
    const ptrdiff_t *count = l->blocks.count, taps = fc_weights_taps(c), rows = c->planes * taps;
    const ptrdiff_t row_bytes = l->pitch * call->size, tile = fc_weights_tile_channels(l, call->kernels);
    l->partials = rows * row_bytes <= FC_GEMM_DW_PARTIAL_BYTES
                      ? min(FC_GEMM_DW_MAX_PARTIALS, count[0] * count[1] * count[2]) : 1;
    l->ranges = 1;
    if (l->partials > 1 || !call->gradient->has_dw) return;
    /* Every sum is one range's, so their number may depend on the threads. */
    const ptrdiff_t threads = call->run->threads;
    l->ranges = max(rows / FC_GEMM_DW_RANGE_ROWS, quotient_up(rows * row_bytes, FC_GEMM_DW_RANGE_BYTES));
    l->ranges = min(c->planes, quotient_up(max(1, l->ranges), threads) * threads);
    const ptrdiff_t max_rows = quotient_up(c->planes, l->ranges) * taps;
    if (max_rows * row_bytes > FC_GEMM_DW_RANGE_BYTES) { /* the taps of one plane: a kernel as large as an image */
        const ptrdiff_t channels = FC_GEMM_DW_RANGE_BYTES / (max_rows * call->size);
        l->held_channels = min(c->out_channels, max(1, channels / tile) * tile);
        l->pitch = quotient_up(l->held_channels, call->kernels->lanes) * call->kernels->lanes;
    }
}

size_t fc_carve_weights(const fc_weights_layout *l, ptrdiff_t size, char *base, fc_weights_scratch *s) {
    const ptrdiff_t table = pixels_of(&l->blocks) * (ptrdiff_t)sizeof(ptrdiff_t);
    size_t used = 0;
    s->planes = fc_carve(base, &used, l->copy_elements * size);
    s->dy = fc_carve(base, &used, l->dy_elements * size);
    s->sums = fc_carve(base, &used, l->sum_elements * size);
    s->stored = fc_carve(base, &used, FC_STORED_ROWS * FC_MAX_TILE_COLS * size);
    s->x_offsets = fc_carve(base, &used, table);
    s->y_offsets = fc_carve(base, &used, table);
    s->fetch = (fc_fetch){.offsets = fc_carve(base, &used, FC_WEIGHTS_MAX_RUNS * (ptrdiff_t)sizeof(ptrdiff_t))};
    return used;
}

static void count_memory(const fc_weights_call *call, fc_weights_layout *l) {
    const fc_correlation *c = &call->gradient->c;
    const fc_blocks *b = &l->blocks;
    const ptrdiff_t tile = fc_weights_tile_channels(l, call->kernels), taps = fc_weights_taps(c);
    const int has_dw = call->gradient->has_dw;
    if (has_dw)
        l->copy_elements = l->panel ? quotient_up(l->planes, l->panel) * l->panel_stride
                                    : (b->inner > 1 ? 1 : l->planes) * b->plane_stride;
    if (!l->dy_in_place) l->dy_elements = pixels_of(b) * quotient_up(l->channels, tile) * tile;
    if (has_dw && l->partials == 1) l->sum_elements = quotient_up(c->planes, l->ranges) * taps * l->pitch;
    fc_weights_scratch nowhere;
    l->tasks.tasks = min(l->partials * l->ranges, call->run->threads);
    l->tasks.task_bytes = fc_carve_weights(l, call->size, NULL, &nowhere);
    l->tasks.shared_bytes = fc_aligned(l->partials * c->out_channels * (ptrdiff_t)sizeof(double));
    if (has_dw && l->partials > 1)
        l->tasks.shared_bytes += fc_aligned(l->partials * c->planes * taps * l->pitch * call->size);
}

fc_weights_layout fc_lay_out_weights(const fc_weights_call *call, int by_tap) {
    const fc_correlation *c = &call->gradient->c;
    fc_weights_layout l = {.by_tap = by_tap};
    fc_blocks *b = &l.blocks;
    FC_ASSERT(!by_tap || !fc_weights_by_tap_refusal(call));
    choose_tile(call, &l);
    cut_blocks(call, &l, FC_GEMM_DW_BLOCK_PIXELS);
    if (blocks_are_large(call, &l)) cut_blocks(call, &l, FC_GEMM_DW_BLOCK_PIXELS / 2);
    l.held_channels = c->out_channels;
    l.pitch = quotient_up(c->out_channels, call->kernels->lanes) * call->kernels->lanes;
    l.dy_in_place = !by_tap && reads_dy_in_place(call);
    if (by_tap) {
        b->in_place = 1;
        b->inner = 1;
        l.planes = c->planes;
        fc_lay_out(b);
    }
    const ptrdiff_t tile = fc_weights_tile_channels(&l, call->kernels);
    l.channels = min(l.pitch, max(tile, FC_GEMM_DW_DY_BYTES / call->size / pixels_of(b) / tile * tile));
    share_out(call, &l);
    count_memory(call, &l);
    b->axis = NULL; /* those of the call */
    return l;
}

const char *fc_weights_by_tap_refusal(const fc_weights_call *call) {
    const fc_correlation *c = &call->gradient->c;
    if (!call->gradient->has_dw) return "dw is not wanted";
    if (call->accumulate) return "sums that are added to others cannot be done again";
    if (!fc_has_all_planes(c)) return "a plane lies in the padding";
    return may_be_in_place(c) ? "no tap lies in the padding" : NULL;
}

const char *fc_weights_by_tap_doubt(const fc_weights_call *call) {
    const fc_correlation *c = &call->gradient->c;
    if (reads_dy_in_place(call)) return "dy is quicker read in place";
    const double inside = fc_share_inside(&c->axis[0], NULL) * fc_share_inside(&c->axis[1], NULL);
    if (fc_are_adjacent(c) && inside > FC_GEMM_DW_MAX_INSIDE) return "too few taps lie in the padding";
    fc_weights_layout l = {0};
    choose_tile(call, &l);
    const ptrdiff_t tiles = c->planes / l.tile_rows *
                            quotient_up(c->out_channels, fc_weights_tile_channels(&l, call->kernels));
    return (double)tiles * fc_tile_cycles(l.tile_rows, l.tile_vectors, 1) >= FC_GEMM_DW_CYCLES_WORTH_A_TABLE
               ? NULL : "too few multiplications for a table of pixels a tap";
}

double fc_weights_copy_cycles(const fc_weights_call *call) {
    const fc_correlation *c = &call->gradient->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const double copied = (double)(c->planes * min(h->stride, h->taps) * min(w->stride, w->taps));
    return copied * (FC_FEW_SUMS_CYCLES.copied_byte * (double)call->size +
                     FC_FEW_SUMS_CYCLES.copied_line / (double)w->outputs);
}

double fc_weights_cycles(const fc_weights_call *call) {
    const fc_correlation *c = &call->gradient->c;
    const int is_copied = !fc_is_inside(&c->axis[0]) || !fc_is_inside(&c->axis[1]);
    const double channel_vectors = (double)quotient_up(c->out_channels, call->kernels->lanes);
    const double taps = (double)(c->planes * fc_weights_taps(c));
    return FC_FEW_SUMS_CYCLES.product * taps * channel_vectors + FC_FEW_SUMS_CYCLES.transposed * channel_vectors +
           (is_copied ? fc_weights_copy_cycles(call) : 0) + FC_FEW_SUMS_CYCLES.gemm_pixel;
}
