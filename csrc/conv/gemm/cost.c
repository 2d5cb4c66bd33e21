#include "cost.h"

double fc_fill_cycles(const fc_gemm_stage *p) {
    const fc_blocks *b = &p->blocks;
    if (b->in_place) return 0;
    const double elements = (double)fc_count_blocks(b) * (double)p->c->planes * (double)(b->plane_stride / b->inner);
    return elements * (b->inner > 1 || b->axis[1].source_stride == 1 ? FC_GEMM_COPY_FOLLOWING
                       : b->adjacent                                 ? FC_GEMM_COPY_TRANSPOSED
                                                                     : FC_GEMM_COPY_ALONE);
}

double fc_copied_line_cycles(const fc_gemm_stage *p) {
    const fc_blocks *b = &p->blocks;
    return FC_GEMM_COPY_LINE * (double)fc_count_blocks(b) * (double)p->c->planes *
           (double)(b->plane_stride / b->line_stride);
}

/* Adds the cycles of a panel of so many output channels on a line of `length` outputs to those of the panels before it;
 * whole: its whole vectors go straight to y. */
static double add_panel(const fc_gemm_stage *p, ptrdiff_t channels, ptrdiff_t length, int whole, double cycles) {
    const fc_kernels *k = p->kernels;
    const double terms = (double)(p->c->planes * fc_taps(p));
    const double chunks = (double)quotient_up(p->c->planes, p->planes);
    const double strided = (k->stores_apart && p->c->axis[1].target_stride == 2 ? FC_GEMM_STORE_SECOND
                                                                                : FC_GEMM_STORE_ALONE) * k->lanes;
    const ptrdiff_t vectors = quotient_up(length, k->lanes);
    const ptrdiff_t tile_vectors = even_block(vectors, fc_widest_tile(k, channels));
    const ptrdiff_t full = vectors / tile_vectors, rest = vectors % tile_vectors;
    const int direct = whole && (length % k->lanes == 0 || (vectors > tile_vectors && chunks == 1));
    const double store = p->c->axis[1].target_stride != 1 ? strided : direct ? FC_GEMM_STORE : FC_GEMM_STORE_STAGED;
    cycles += (double)full * (terms * fc_tile_cycles(channels, tile_vectors, 2) +
                              chunks * (FC_GEMM_TILE + store * (double)(channels * tile_vectors)));
    if (rest)
        cycles += terms * fc_tile_cycles(channels, rest, 2) +
                  chunks * (FC_GEMM_TILE + store * (double)(channels * rest));
    return cycles;
}

/* Cycles of all panels on `count` such lines. */
static double line_cycles(const fc_gemm_stage *p, double count, ptrdiff_t length, int whole) {
    const ptrdiff_t tile_rows = p->kernels->tile_rows, channels = p->c->out_channels;
    const ptrdiff_t panels = channels / tile_rows, rest = channels % tile_rows;
    double cycles = 0;
    if (panels) cycles = add_panel(p, tile_rows, length, whole, 0) * (double)panels;
    if (rest) cycles = add_panel(p, rest, length, whole, cycles);
    return cycles * count;
}

double fc_pixel_cycles(const fc_gemm_stage *p) {
    const fc_blocks *b = &p->blocks;
    const double images = (double)p->c->images;
    if (p->is_dense) return line_cycles(p, images * (double)b->count[1], b->size[1] * b->size[2], 1);
    if (p->by_line)
        return line_cycles(p, images * (double)(p->c->axis[0].outputs * b->count[2]), b->size[2],
                           p->c->axis[1].target_stride == 1);
    return line_cycles(p, images / (double)b->size[0] * (double)(b->count[1] * b->count[2]),
                       fc_positions(b, b->size), 0);
}

double fc_channel_tile_cycles(const fc_gemm_stage *p, double share) {
    const fc_correlation *c = p->c;
    const ptrdiff_t lanes = p->kernels->lanes;
    const double terms = (double)(c->planes * fc_taps(p)) * share;
    const double chunks = (double)quotient_up(c->planes, p->planes);
    const double outputs = (double)(c->images * c->axis[0].outputs * c->axis[1].outputs);
    const double channels = (double)(quotient_up(c->out_channels, lanes) * lanes);
    const double store = c->y_channel == 1                    ? FC_GEMM_OUTPUT
                         : c->axis[1].target_stride == 1 ? FC_GEMM_OUTPUT_TRANSPOSED
                                                         : FC_GEMM_OUTPUT_ALONE;
    return outputs * (terms * fc_channel_cycles(p->kernels, c->out_channels, p->tile_vectors) +
                      chunks * ((double)fc_panels(p) * FC_GEMM_TILE / (double)p->tile_rows + store * channels));
}

double fc_share_of_lines(const fc_gemm_stage *p, ptrdiff_t *pieces) {
    const fc_axis *h = &p->c->axis[0];
    const ptrdiff_t width = p->c->axis[1].outputs;
    double terms = 0;
    *pieces = 0;
    for (ptrdiff_t o = 0, end; o < h->outputs; o = end, ++*pieces) {
        const fc_taps_inside inside = fc_inside(h, o);
        end = fc_end_of_alike(h, o, h->outputs);
        const ptrdiff_t tiles = quotient_up((end - o) * width, p->tile_rows);
        terms += (double)(inside.last - inside.first) * (double)tiles * (double)p->tile_rows;
    }
    return terms / ((double)h->taps * (double)h->outputs * (double)width);
}
