#include "fill.h"

#include <string.h>

/* Elements z of [0, count) with 0 <= origin + z * stride < size: [*first, *last). */
static void inside(ptrdiff_t origin, ptrdiff_t stride, ptrdiff_t size, ptrdiff_t count,
                   ptrdiff_t *first, ptrdiff_t *last) {
    const ptrdiff_t low = origin >= 0 ? 0 : (-origin - 1) / stride + 1;
    const ptrdiff_t high = origin >= size ? 0 : (size - origin - 1) / stride + 1;
    *first = low < count ? low : count;
    *last = high < count ? high : count;
    if (*last < *first) *last = *first;
}

void fc_fill_plane(const fc_kernels *kernels, ptrdiff_t size, const fc_axis axis[2],
                   const fc_phases phases[2], const fc_rectangle *block, const char *plane,
                   char *target, ptrdiff_t pitch, ptrdiff_t phase_stride) {
    const fc_axis *h = &axis[0], *w = &axis[1];
    const ptrdiff_t rows = block->count[0] + phases[0].reach;
    const ptrdiff_t columns = block->count[1] + phases[1].reach;
    for (ptrdiff_t fh = 0; fh < phases[0].phases; fh++) {
        const ptrdiff_t top = block->start[0] * h->stride + fc_phase_origin(&phases[0], fh);
        for (ptrdiff_t fw = 0; fw < phases[1].phases; fw++, target += phase_stride * size) {
            ptrdiff_t first_row, last_row, first, last;
            const ptrdiff_t left = block->start[1] * w->stride + fc_phase_origin(&phases[1], fw);
            inside(top, h->stride, plane ? h->size : 0, rows, &first_row, &last_row);
            inside(left, w->stride, w->size, columns, &first, &last);
            if (first == last) first_row = last_row = 0;
            for (ptrdiff_t z = 0; z < first_row; z++)
                memset(target + z * pitch * size, 0, (size_t)(columns * size));
            for (ptrdiff_t z = last_row; z < rows; z++)
                memset(target + z * pitch * size, 0, (size_t)(columns * size));
            const fc_padded_rows shape = {
                .rows = last_row - first_row,
                .before = first,
                .count = last - first,
                .after = columns - last,
                .source_pitch = last_row - first_row > 1 ? h->stride * h->source_stride : 0,
                .step = last - first > 1 ? w->stride * w->source_stride : 1,
                .target_pitch = pitch,
            };
            if (!shape.rows) continue;
            const ptrdiff_t position = (top + first_row * h->stride) * h->source_stride +
                                       (left + first * w->stride) * w->source_stride;
            kernels->pad(&shape, plane + position * size, target + first_row * pitch * size);
        }
    }
}
