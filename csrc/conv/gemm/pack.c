#include "pack.h"

#include <string.h>

#include "../../platform/memory.h"

/* All terms of `channels` channels from w on, to [term][channel of the panel]. */
static void pack_in_order(const fc_gemm_stage *p, const char *w, ptrdiff_t channels, char *target) {
    const fc_correlation *c = p->c;
    const char *source = w + (c->w_plane[0] + fc_tap_weight(c, 0, 0)) * p->size;
    const ptrdiff_t at_once = min(channels, FC_CACHE_LINE / p->size);
    for (ptrdiff_t i = 0; i < channels; i += at_once) {
        const ptrdiff_t channel = min(i, channels - at_once); /* the last ones with some of those before */
        p->kernels->transpose(at_once, c->planes * fc_taps(p), source + channel * c->w_out_channel * p->size,
                              c->w_out_channel, target + channel * p->size, p->panel);
    }
}

/* One panel, of which the weights hold `channels`. */
static void pack_panel(const fc_gemm_stage *p, ptrdiff_t panel, ptrdiff_t channels, char *target) {
    const fc_correlation *c = p->c;
    const fc_kernels *k = p->kernels;
    const ptrdiff_t taps = fc_taps(p), taps_w = c->axis[1].taps;
    const int in_order = fc_taps_are_in_order(c);
    const char *w = c->w + panel * p->panel * c->w_out_channel * p->size;
    if (channels < p->panel) memset(target, 0, (size_t)(c->planes * taps * p->panel * p->size));
    if (fc_weights_are_in_order(c)) {
        pack_in_order(p, w, channels, target);
        return;
    }
    for (ptrdiff_t plane = 0; plane < c->planes; plane++, target += taps * p->panel * p->size) {
        const char *source = w + c->w_plane[plane] * p->size;
        if (in_order && taps > 1) {
            k->transpose(channels, taps, source + fc_tap_weight(c, 0, 0) * p->size, c->w_out_channel, target, p->panel);
            continue;
        }
        for (ptrdiff_t tap = 0; tap < taps; tap++)
            k->copy(channels, source + fc_tap_weight(c, tap / taps_w, tap % taps_w) * p->size, c->w_out_channel,
                    target + tap * p->panel * p->size);
    }
}

void fc_pack_own(const fc_gemm_stage *p, fc_gemm_scratch *scratch, ptrdiff_t channel) {
    FC_ASSERT(p->by_panel && channel % p->panel == 0);
    pack_panel(p, channel / p->panel, min(p->panel, p->c->out_channels - channel), scratch->panel);
    scratch->weights = scratch->panel;
    scratch->first_channel = channel;
}

/* Where all of a stage's weights are packed. */
typedef struct {
    const fc_gemm_stage *stage;
    char *target;
} packing;

/* Some panels, one after the other: their targets are often a power of two apart. */
static void pack_task(void *context, int task) {
    const packing *all = context;
    const fc_gemm_stage *p = all->stage;
    const ptrdiff_t elements = p->c->planes * fc_taps(p) * p->panel;
    const fc_units panels = fc_units_of(fc_panels(p), p->run->threads, task);
    for (ptrdiff_t panel = panels.begin; panel < panels.end; panel++) {
        char *target = all->target + panel * elements * p->size;
        pack_panel(p, panel, min(p->panel, p->c->out_channels - panel * p->panel), target);
        if (p->c->padding_counts && !p->kernels->finite(elements, target)) *p->not_finite = 1;
    }
}

char *fc_pack_all(const fc_gemm_stage *p) {
    packing all = {p, fc_scratch_acquire(fc_aligned(fc_weight_elements(p) * p->size))};
    if (all.target) fc_parallel(p->run, p->run->threads, pack_task, &all);
    else fc_stop(p->run, FC_NO_MEMORY);
    return all.target;
}
