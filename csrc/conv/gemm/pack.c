/* Weights in the order in which tiles read them: [panel][term][channel of the panel]. */
#include <string.h>

#include "../../arithmetic.h"
#include "../../platform/memory.h"
#include "stage.h"

ptrdiff_t fc_weight_elements(const fc_gemm_stage *p) {
    return quotient_up(p->c->rows, p->panel) * p->panel * p->c->planes * fc_taps(p);
}

/* Whether the taps of a plane follow each other in the weights. */
static int taps_are_in_order(const fc_gemm_stage *p) {
    const fc_axis *h = &p->c->axis[0], *w = &p->c->axis[1];
    return (w->taps == 1 || w->weight_step == 1) && (h->taps == 1 || h->weight_step == w->taps);
}

/* Whether all terms of a row do. */
static int weights_are_in_order(const fc_gemm_stage *p) {
    const fc_correlation *c = p->c;
    if (!taps_are_in_order(p)) return 0;
    for (ptrdiff_t plane = 1; plane < c->planes; plane++)
        if (c->w_plane[plane] - c->w_plane[plane - 1] != fc_taps(p)) return 0;
    return 1;
}

/* Copies planes of a panel to [term][channel of the panel], `rows` of them. */
static void pack_panel(const fc_gemm_stage *p, ptrdiff_t panel, ptrdiff_t rows, char *target) {
    const fc_correlation *c = p->c;
    const fc_kernels *k = p->kernels;
    const ptrdiff_t taps = fc_taps(p), taps_w = c->axis[1].taps;
    const int in_order = taps_are_in_order(p);
    const char *w = (const char *)c->w + panel * p->panel * c->w_row * p->size;
    if (weights_are_in_order(p)) {
        const char *source = w + (c->w_plane[0] + fc_tap_weight(c, 0, 0)) * p->size;
        /* As many rows at once as a cache line has elements, the last with some of those before: rn50_l4_1x1 forward
         * with all took 1.02 times as long. */
        const ptrdiff_t at_once = min(rows, FC_CACHE_LINE / p->size);
        for (ptrdiff_t i = 0; i < rows; i += at_once) {
            const ptrdiff_t row = min(i, rows - at_once);
            k->transpose(at_once, c->planes * taps, source + row * c->w_row * p->size, c->w_row,
                         target + row * p->size, p->panel);
        }
        return;
    }
    for (ptrdiff_t plane = 0; plane < c->planes; plane++, target += taps * p->panel * p->size) {
        const char *source = w + c->w_plane[plane] * p->size;
        if (in_order && taps > 1) {
            k->transpose(rows, taps, source + fc_tap_weight(c, 0, 0) * p->size, c->w_row, target, p->panel);
            continue;
        }
        for (ptrdiff_t tap = 0; tap < taps; tap++)
            k->copy(rows, source + fc_tap_weight(c, tap / taps_w, tap % taps_w) * p->size, c->w_row,
                    target + tap * p->panel * p->size);
    }
}

void fc_pack_own(const fc_gemm_stage *p, fc_workspace *ws, ptrdiff_t row) {
    const ptrdiff_t rows = min(p->panel, p->c->rows - row);
    if (rows < p->panel) memset(ws->panel, 0, (size_t)(p->c->planes * fc_taps(p) * p->panel * p->size));
    pack_panel(p, row / p->panel, rows, ws->panel);
    ws->weights = ws->panel;
    ws->first_row = row;
}

/* Where all of a plan's weights are packed. */
typedef struct {
    const fc_gemm_stage *plan;
    char *target;
} packing;

/* A share of the panels of rows, one after the other: their targets are often a power of two apart. */
static void pack_task(void *context, int part) {
    const packing *all = context;
    const fc_gemm_stage *p = all->plan;
    const ptrdiff_t panels = quotient_up(p->c->rows, p->panel), parts = p->run->threads;
    const ptrdiff_t terms = p->c->planes * fc_taps(p);
    for (ptrdiff_t panel = panels * part / parts; panel < panels * (part + 1) / parts; panel++) {
        const ptrdiff_t rows = min(p->panel, p->c->rows - panel * p->panel);
        char *target = all->target + panel * terms * p->panel * p->size;
        if (rows < p->panel) memset(target, 0, (size_t)(terms * p->panel * p->size));
        pack_panel(p, panel, rows, target);
        if (p->c->padding_counts && !p->kernels->finite(terms * p->panel, target))
            *p->not_finite = 1;
    }
}

int fc_needs_packed(const fc_gemm_stage *p) {
    return p->by_channel || (fc_weight_elements(p) * p->size <= FC_PACKED_BYTES && !weights_are_in_order(p));
}

char *fc_pack_all(fc_gemm_stage *p) {
    packing all = {p, fc_scratch_acquire(fc_aligned(fc_weight_elements(p) * p->size))};
    if (all.target) fc_parallel(p->run, p->run->threads, pack_task, &all);
    else fc_stop(p->run, FC_NO_MEMORY);
    return all.target;
}
