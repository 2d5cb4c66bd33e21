#include "block.h"

#include <string.h>

#include "../arithmetic.h"
#include "../compiler.h"
#include "../tuning.h"

int fc_is_inside(const fc_axis *a) {
    const ptrdiff_t across = (a->taps - 1) * a->tap_step;
    const ptrdiff_t low = a->tap + min(across, 0), high = a->tap + max(across, 0);
    return low >= 0 && high + (a->outputs - 1) * a->stride < a->size;
}

void fc_lay_out(fc_blocks *b) {
    const fc_axis *h = &b->axis[0], *w = &b->axis[1];
    FC_ASSERT(b->size[0] > 0 && b->size[1] > 0 && b->size[2] > 0 && (b->in_place || b->inner > 0));
    b->count[0] = quotient_up(b->images, b->size[0]);
    b->count[1] = quotient_up(h->outputs, b->size[1]);
    b->count[2] = quotient_up(w->outputs, b->size[2]);
    if (b->in_place) {
        b->pitch[0] = b->x_image;
        b->pitch[1] = h->outputs > 1 ? h->stride * h->source_stride : 0;
        b->pitch[2] = w->outputs > 1 ? w->stride * w->source_stride : 0;
        b->line_stride = b->residue_stride = b->plane_stride = 0;
        return;
    }
    b->line_stride = fc_residue_length(&b->residues[1], b->size[2]) * b->inner;
    b->pitch[2] = b->residues[1].advance * b->inner;
    b->pitch[1] = b->residues[0].advance * b->line_stride;
    b->pitch[0] = fc_residue_length(&b->residues[0], b->size[1]) * b->line_stride;
    b->residue_stride = b->size[0] * b->pitch[0];
    b->plane_stride = b->residues[0].residues * b->residues[1].residues * b->residue_stride;
    if (b->inner == 1) b->plane_stride = quotient_up(b->plane_stride, FC_BLOCK_PLANE_STEP) * FC_BLOCK_PLANE_STEP;
}

fc_block fc_find_block(const fc_blocks *b, ptrdiff_t index) {
    const ptrdiff_t total[3] = {b->images, b->axis[0].outputs, b->axis[1].outputs};
    fc_block block;
    FC_ASSERT(index >= 0 && index < fc_count_blocks(b));
    for (int i = 2; i >= 0; i--) {
        block.start[i] = index % b->count[i] * b->size[i];
        block.count[i] = min(b->size[i], total[i] - block.start[i]);
        index /= b->count[i];
    }
    return block;
}

ptrdiff_t fc_tap_offset(const fc_blocks *b, ptrdiff_t s, ptrdiff_t t) {
    const fc_residues *h = &b->residues[0], *w = &b->residues[1];
    if (b->in_place)
        return (b->axis[0].tap + s * b->axis[0].tap_step) * b->axis[0].source_stride +
               (b->axis[1].tap + t * b->axis[1].tap_step) * b->axis[1].source_stride;
    const ptrdiff_t residue = fc_residue_of_tap(h, s) * w->residues + fc_residue_of_tap(w, t);
    return residue * b->residue_stride + fc_shift_of_tap(h, s) * b->line_stride +
           fc_shift_of_tap(w, t) * b->inner;
}

ptrdiff_t fc_block_offset(const fc_blocks *b, const fc_block *block) {
    ptrdiff_t offset = 0;
    for (int i = 0; i < 3; i++) offset += block->start[i] * b->pitch[i];
    return offset;
}

/* Lines of planes that lie side by side, each to a line of the plane's own copy. */
static void spread_lines(const fc_kernels *kernels, ptrdiff_t size, const fc_blocks *b,
                        const fc_padded_lines *s, ptrdiff_t planes, const char *source, char *target) {
    for (ptrdiff_t i = 0; i < s->lines; i++) {
        kernels->transpose(s->count, planes, source, s->step, target + s->before * size, b->plane_stride);
        for (ptrdiff_t plane = 0; plane < planes; plane++) {
            char *line = target + plane * b->plane_stride * size;
            memset(line, 0, (size_t)(s->before * size));
            memset(line + (s->before + s->count) * size, 0, (size_t)(s->after * size));
        }
        source += s->source_pitch * size;
        target += s->target_pitch * size;
    }
}

/* One image of so many planes, which lie side by side in the source if there are several:
 * target[residue of h][residue of w][line][column]. */
static void fill_image(const fc_kernels *kernels, ptrdiff_t size, const fc_blocks *b,
                       const fc_block *block, ptrdiff_t planes, const char *source, char *target) {
    const fc_axis *h = &b->axis[0], *w = &b->axis[1];
    const ptrdiff_t lines = fc_residue_length(&b->residues[0], block->count[1]);
    const ptrdiff_t columns = fc_residue_length(&b->residues[1], block->count[2]);
    const ptrdiff_t step_h = b->residues[0].stride, step_w = b->residues[1].stride;
    const ptrdiff_t copies = b->inner > 1 ? 1 : planes; /* of lines, plane_stride apart */
    for (ptrdiff_t fh = 0; fh < b->residues[0].residues; fh++) {
        const ptrdiff_t top = block->start[1] * h->stride + fc_residue_origin(&b->residues[0], fh);
        for (ptrdiff_t fw = 0; fw < b->residues[1].residues; fw++, target += b->residue_stride * size) {
            ptrdiff_t first_line, last_line, first, last;
            const ptrdiff_t left = block->start[2] * w->stride + fc_residue_origin(&b->residues[1], fw);
            fc_find_inside(top, step_h, source ? h->size : 0, lines, &first_line, &last_line);
            fc_find_inside(left, step_w, w->size, columns, &first, &last);
            if (first == last) first_line = last_line = 0;
            for (ptrdiff_t copy = 0; copy < copies; copy++)
                for (ptrdiff_t z = 0; z < lines; z++)
                    if (z < first_line || z >= last_line)
                        memset(target + (copy * b->plane_stride + z * b->line_stride) * size, 0,
                               (size_t)(columns * b->inner * size));
            const fc_padded_lines shape = {
                .lines = last_line - first_line,
                .before = first,
                .count = last - first,
                .after = columns - last,
                .source_pitch = last_line - first_line > 1 ? step_h * h->source_stride : 0,
                .step = last - first > 1 ? step_w * w->source_stride : planes,
                .target_pitch = b->line_stride,
                .inner = b->inner,
                .adjacent = planes,
            };
            if (!shape.lines) continue;
            const char *from = source + ((top + first_line * step_h) * h->source_stride +
                                         (left + first * step_w) * w->source_stride) * size;
            char *to = target + first_line * b->line_stride * size;
            if (copies > 1) spread_lines(kernels, size, b, &shape, planes, from, to);
            else kernels->pad(&shape, from, to);
        }
    }
}

void fc_fill_block(const fc_kernels *kernels, ptrdiff_t size, const fc_blocks *b, const fc_block *block, const char *x,
                   const ptrdiff_t *planes, ptrdiff_t count, char *target) {
    const ptrdiff_t at_once = b->adjacent ? count : 1;
    FC_ASSERT(!b->in_place && block->count[0] <= b->size[0]);
    for (ptrdiff_t plane = 0; plane < count; plane += at_once, target += b->plane_stride * size)
        for (ptrdiff_t n = 0; n < block->count[0]; n++) {
            const ptrdiff_t image = planes[plane] + (block->start[0] + n) * b->x_image;
            const char *source = planes[plane] == FC_ZEROS ? NULL : x + image * size;
            fill_image(kernels, size, b, block, at_once, source, target + n * b->pitch[0] * size);
        }
}

/* Source positions [first, last] of an axis that outputs [start, start + count) read. */
static void find_positions(const fc_axis *a, ptrdiff_t start, ptrdiff_t count, ptrdiff_t *first, ptrdiff_t *last) {
    const ptrdiff_t across = (a->taps - 1) * a->tap_step;
    *first = max(0, start * a->stride + a->tap + min(across, 0));
    *last = min(a->size - 1, (start + count - 1) * a->stride + a->tap + max(across, 0));
}

fc_runs fc_find_runs(const fc_blocks *b, const fc_block *block, const ptrdiff_t *planes, ptrdiff_t first,
                     ptrdiff_t last, ptrdiff_t *offsets, ptrdiff_t max_runs) {
    const fc_axis *h = &b->axis[0], *w = &b->axis[1];
    fc_runs runs = {0};
    ptrdiff_t top, bottom, left, right;
    find_positions(h, block->start[1], block->count[1], &top, &bottom);
    find_positions(w, block->start[2], block->count[2], &left, &right);
    if (bottom < top || right < left || block->count[2] == 0 || planes[first] == FC_ZEROS) return runs;
    /* Lines are a run where they are about as long as they are apart. */
    const ptrdiff_t line = (right - left) * w->source_stride + 1;
    if (w->source_stride != 1 || (bottom > top && (h->source_stride < 0 || h->source_stride > 2 * line))) return runs;
    if ((last - first) * block->count[0] > max_runs) return runs;
    runs.length = (bottom - top) * h->source_stride + line;
    const ptrdiff_t from = top * h->source_stride + left * w->source_stride + block->start[0] * b->x_image;
    for (ptrdiff_t plane = first; plane < last; plane++)
        for (ptrdiff_t n = 0; planes[plane] != FC_ZEROS && n < block->count[0]; n++)
            offsets[runs.count++] = planes[plane] - planes[first] + from + n * b->x_image;
    return runs;
}
