/* Pixels in the vector: a tile is a panel of output channels, their weights broadcast, by vectors of consecutive
 * outputs.
 *
 * The columns of tiles are either lines of outputs, whose whole vectors go straight to y, or all positions of a block
 * from its first output to its last, those between two lines among them. */
#include "multiply.h"

/* Elements from an address to the next cache line, 0 at its beginning. */
static ptrdiff_t to_line(const fc_gemm_stage *p, const char *address) {
    return (ptrdiff_t)(-(uintptr_t)address % FC_CACHE_LINE) / p->size;
}

/* The end of a block at `column`, moved to the next cache line of its image. */
static ptrdiff_t moved(const fc_gemm_stage *p, ptrdiff_t image, ptrdiff_t column) {
    const ptrdiff_t outputs = p->c->axis[1].outputs;
    if (column == 0 || column >= outputs) return min(column, outputs);
    const fc_block at = {.start = {image, 0, column}};
    const char *first = fc_plane(p->c, 0, p->size) + fc_block_offset(&p->blocks, &at) * p->size;
    return min(outputs, column + to_line(p, first));
}

void fc_align_block(const fc_gemm_stage *p, fc_block *block) {
    if (!p->by_cache_line) return;
    const ptrdiff_t end = block->start[2] + block->count[2];
    block->start[2] = moved(p, block->start[0], block->start[2]);
    block->count[2] = moved(p, block->start[0], end) - block->start[2];
}

/* Elements of the array from the first plane of `terms` in image 0 to its end. */
static ptrdiff_t readable(const fc_gemm_stage *p, const fc_terms *terms) {
    const fc_correlation *c = p->c;
    ptrdiff_t end = p->last_plane - c->x_plane[terms->block_first / fc_taps(p)] + 1;
    for (int i = 0; i < 2; i++) end += (c->axis[i].size - 1) * c->axis[i].source_stride;
    return end + max(c->x_image, 0) * (c->images - 1);
}

/* A panel of output channels, and the terms that are summed of it. */
typedef struct {
    ptrdiff_t channel, channels; /* the first, and their number */
    ptrdiff_t tile_vectors;      /* of a tile of whole lines */
    ptrdiff_t highest;           /* offset of a tap */
    int accumulate, relu;
    int at_once; /* all terms are summed */
    const fc_terms *terms;
} panel;

/* Writes what a tile has of the outputs among columns [column, column + width) of the block's one line. */
static void store_positions(const fc_gemm_stage *p, const char *tile, ptrdiff_t tile_stride, const fc_block *block,
                            const panel *q, ptrdiff_t column, ptrdiff_t width) {
    const fc_correlation *c = p->c;
    const fc_blocks *b = &p->blocks;
    const ptrdiff_t run = block->count[2], height = block->count[1], pitch = max(b->pitch[1], run);
    const ptrdiff_t image = block->count[0] > 1 ? b->pitch[0] : height * pitch;
    ptrdiff_t n = column / image, h = column % image / pitch, w = column % image % pitch;
    for (ptrdiff_t done = 0; done < width;) {
        const ptrdiff_t length = h < height ? min(run - w, width - done) : 0;
        if (length > 0) {
            void *y_rows[FC_MAX_TILE_ROWS];
            char *y = c->y + (q->channel * c->y_channel + (block->start[0] + n) * c->y_image +
                              (block->start[1] + h) * c->axis[0].target_stride +
                              (block->start[2] + w) * c->axis[1].target_stride) * p->size;
            for (ptrdiff_t i = 0; i < q->channels; i++) y_rows[i] = y + i * c->y_channel * p->size;
            p->kernels->store(q->channels, length, tile + done * p->size, tile_stride, y_rows,
                              c->axis[1].target_stride, q->accumulate, q->relu);
        }
        done += pitch - w;
        w = 0;
        if (++h * pitch >= image) {
            h = 0;
            n++;
        }
    }
}

/* A copy, `width` elements of each term `pitch` apart, of what a tile reads whose last vector would end beyond the
 * array. */
static void copy_last_columns(const fc_gemm_stage *p, fc_gemm_scratch *scratch, ptrdiff_t depth, ptrdiff_t width,
                              ptrdiff_t pitch, fc_tile *tile) {
    for (ptrdiff_t d = 0; d < depth; d++)
        p->kernels->copy(width, (const char *)tile->b + scratch->x_offsets[d] * p->size, 1,
                         scratch->copy + d * pitch * p->size);
    for (ptrdiff_t d = 0; d < depth + FC_AHEAD; d++) scratch->pixels[d] = d * pitch;
    tile->b = scratch->copy;
    tile->b_offsets = scratch->pixels;
}

static ptrdiff_t even_tile_vectors(const fc_gemm_stage *p, ptrdiff_t channels, ptrdiff_t length) {
    return even_block(max(1, quotient_up(length, p->kernels->lanes)), fc_widest_tile(p->kernels, channels));
}

/* Columns [0, length) of a line whose first output is `first` of the block. Vectors that would leave the line, or end
 * before a cache line, compute some columns twice, to the same bits, where the sums are complete. */
static void multiply_line(const fc_gemm_stage *p, fc_gemm_scratch *scratch, const fc_block *block,
                          const panel *q, fc_tile *tile, const ptrdiff_t first[3], ptrdiff_t length) {
    const fc_correlation *c = p->c;
    const fc_kernels *k = p->kernels;
    const fc_blocks *b = &p->blocks;
    const ptrdiff_t offset = first[0] * b->pitch[0] + first[1] * b->pitch[1];
    const char *x = fc_input(p, scratch, block, q->terms) + offset * p->size;
    const ptrdiff_t lead = p->by_cache_line ? min(length, to_line(p, x)) : 0;
    const ptrdiff_t tile_vectors = lead ? even_tile_vectors(p, q->channels, length - lead) : q->tile_vectors;
    const ptrdiff_t widest_tile = tile_vectors * k->lanes;
    const int direct = p->by_line && c->axis[1].target_stride == 1;
    char *y = c->y + (q->channel * c->y_channel + (block->start[0] + first[0]) * c->y_image +
                      (block->start[1] + first[1]) * c->axis[0].target_stride +
                      block->start[2] * c->axis[1].target_stride) * p->size;
    for (ptrdiff_t done = 0, width; done < length; done += width) {
        width = min(widest_tile, (done < lead ? lead : length) - done);
        /* A division takes longer than a few terms. */
        const ptrdiff_t wide = width == widest_tile ? tile_vectors : quotient_up(width, k->lanes);
        const ptrdiff_t full = wide * k->lanes;
        const int twice = direct && q->at_once && width < full && full <= length;
        const ptrdiff_t column = twice ? min(done, length - full) : done;
        tile->b = x + column * p->size;
        tile->b_offsets = scratch->x_offsets;
        if (b->in_place && width < full && !twice &&
            fc_block_offset(b, block) + offset + q->highest + column + full > readable(p, q->terms))
            copy_last_columns(p, scratch, q->terms->last - q->terms->first, width, full, tile);
        const int whole = direct && (twice || width == full);
        tile->c = whole ? y + column * p->size : scratch->stage[0];
        tile->c_row = whole ? c->y_channel : full;
        tile->relu = whole && q->relu;
        tile->accumulate = whole && q->accumulate;
        fc_fetch_ahead(&scratch->fetch, tile);
        k->gemm[q->channels - 1][wide - 1](tile);
        if (whole) continue;
        const ptrdiff_t at = p->by_line ? first[0] * (block->count[0] > 1 ? b->pitch[0] : 0) +
                                              first[1] * max(b->pitch[1], block->count[2]) : 0;
        store_positions(p, scratch->stage[0], full, block, q, at + column, width);
    }
}

void fc_multiply_pixels(const fc_gemm_stage *p, fc_gemm_scratch *scratch, const fc_block *block,
                        fc_units channels, const fc_terms *terms) {
    const fc_correlation *c = p->c;
    const ptrdiff_t total = c->planes * fc_taps(p), depth = terms->last - terms->first;
    panel q = {.highest = scratch->x_offsets[0], .accumulate = terms->first > 0,
               .relu = c->relu && terms->last == total, .at_once = depth == total, .terms = terms};
    FC_ASSERT(depth > 0 && channels.begin % p->panel == 0);
    for (ptrdiff_t d = 1; d < depth; d++) q.highest = max(q.highest, scratch->x_offsets[d]);
    for (q.channel = channels.begin; q.channel < channels.end; q.channel += p->panel) {
        if (fc_stopped(p->run)) return;
        const void *w_rows[FC_MAX_TILE_ROWS];
        q.channels = min(p->panel, channels.end - q.channel);
        for (ptrdiff_t i = 0; i < q.channels; i++)
            w_rows[i] = p->weights ? p->weights + (q.channel * total + terms->first * p->panel + i) * p->size
                                   : c->w + (q.channel + i) * c->w_out_channel * p->size;
        fc_tile tile = {.depth = depth, .a_rows = w_rows, .a_offsets = scratch->w_offsets,
                        .bias_is_column = 1, .rows_of_b = p->rows_of_b};
        if (c->bias && terms->first == 0) tile.bias = c->bias + q.channel * p->size;
        ptrdiff_t first[3] = {0, 0, 0};
        const ptrdiff_t length = p->by_line ? fc_line_length(p, block) : fc_positions(&p->blocks, block->count);
        q.tile_vectors = even_tile_vectors(p, q.channels, length);
        if (!p->by_line) {
            multiply_line(p, scratch, block, &q, &tile, first, length);
            continue;
        }
        for (first[0] = 0; first[0] < block->count[0]; first[0]++)
            for (first[1] = 0; first[1] < fc_lines(p, block); first[1]++)
                multiply_line(p, scratch, block, &q, &tile, first, length);
    }
}
