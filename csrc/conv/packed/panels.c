#include "panels.h"

#include <stdint.h>
#include <string.h>

#include "../../arithmetic.h"

fc_panel_source fc_panel_source_of(const fc_correlation *c, const fc_kernels *kernels, ptrdiff_t size) {
    fc_panel_source s = {c, kernels, size, c->x_plane[0]};
    for (ptrdiff_t i = 1; i < c->planes; i++) s.last_plane = max(s.last_plane, c->x_plane[i]);
    return s;
}

/* What the outputs read of a plane for a tap, without what lies in the padding; returns the number of runs. */
static ptrdiff_t find_runs(const fc_panel_source *s, fc_units outputs, ptrdiff_t tap_h, ptrdiff_t tap_w,
                           fc_panel_run *runs) {
    const fc_correlation *c = s->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const ptrdiff_t step = w->stride * w->source_stride;
    const ptrdiff_t above = h->tap + tap_h * h->tap_step, left = w->tap + tap_w * w->tap_step;
    fc_units columns, lines; /* whose position lies on the source */
    fc_find_inside(left, w->stride, w->size, w->outputs, &columns.begin, &columns.end);
    fc_find_inside(above, h->stride, h->size, h->outputs, &lines.begin, &lines.end);
    ptrdiff_t column = outputs.begin % w->outputs, line = outputs.begin / w->outputs % h->outputs;
    ptrdiff_t image = outputs.begin / w->outputs / h->outputs, count = 0;
    for (ptrdiff_t u = outputs.begin, n; u < outputs.end; u += n, column = 0) {
        n = min(w->outputs - column, outputs.end - u);
        const ptrdiff_t first = max(column, columns.begin), last = min(column + n, columns.end);
        if (line >= lines.begin && line < lines.end && first < last) {
            const fc_panel_run run = {
                .from = image * c->x_image + (line * h->stride + above) * h->source_stride +
                        (first * w->stride + left) * w->source_stride,
                .to = u - outputs.begin + first - column,
                .count = last - first,
            };
            fc_panel_run *before = count ? &runs[count - 1] : NULL;
            if (before && before->to + before->count == run.to && before->from + before->count * step == run.from)
                before->count += run.count;
            else runs[count++] = run;
        }
        if (++line == h->outputs) {
            line = 0;
            image++;
        }
    }
    return count;
}

/* What the outputs read of a plane, side by side: in `gathered`, with zeros where they read none, or where it lies. */
static const char *gather(const fc_panel_source *s, const char *plane, const fc_panel_run *runs, ptrdiff_t count,
                          ptrdiff_t outputs, char *gathered) {
    const ptrdiff_t size = s->size, step = s->c->axis[1].stride * s->c->axis[1].source_stride;
    if (!plane) memset(gathered, 0, (size_t)(outputs * size));
    else if (count == 1 && runs[0].count == outputs && step == 1) return plane + runs[0].from * size;
    else
        for (ptrdiff_t i = 0; i < count; i++) {
            const char *from = plane + runs[i].from * size;
            char *to = gathered + runs[i].to * size;
            if (step == 1) memcpy(to, from, (size_t)(runs[i].count * size));
            else s->kernels->copy(runs[i].count, from, step, to);
        }
    return gathered;
}

/* The last panel's line of a term: `rest` elements of so many bytes in all; what follows them is read if it may be. */
static void copy_rest(const char *source, int may_read_on, ptrdiff_t rest_bytes, ptrdiff_t bytes, char *target) {
    if (!may_read_on) {
        memcpy(target, source, (size_t)rest_bytes);
        memset(target + rest_bytes, 0, (size_t)(bytes - rest_bytes));
        return;
    }
    if (bytes == 32) memcpy(target, source, 32);
    else if (bytes == 64) memcpy(target, source, 64);
    else memcpy(target, source, (size_t)bytes);
}

/* The lines of one tap of all planes among the terms. */
static void pack_tap(const fc_panel_source *s, fc_units outputs, fc_units terms, ptrdiff_t tap, ptrdiff_t taps,
                     const fc_panel_run *runs, ptrdiff_t count_runs, char *gathered, char *target) {
    const ptrdiff_t width = fc_panel_width(s->kernels), lanes = s->kernels->lanes, size = s->size;
    const ptrdiff_t count = outputs.end - outputs.begin, depth = terms.end - terms.begin;
    const ptrdiff_t panels = count / width, rest = count % width, rest_bytes = quotient_up(rest, lanes) * lanes * size;
    char *last = target + panels * width * depth * size;
    memset(gathered, 0, (size_t)((count + width) * size));
    for (ptrdiff_t plane = quotient_up(max(0, terms.begin - tap), taps), d;
         (d = plane * taps + tap - terms.begin) < depth; plane++) {
        const char *from = gather(s, fc_plane(s->c, plane, size), runs, count_runs, count, gathered);
        /* All planes have the same runs: behind what is read of a plane that is not the highest lies what is read of a
         * higher one, and a vector more is inside the array. */
        const int may_read_on = from == gathered || s->c->x_plane[plane] + width <= s->last_plane;
        s->kernels->to_panels(panels, from, target + d * width * size, depth * width);
        if (rest) copy_rest(from + panels * width * size, may_read_on, rest * size, rest_bytes, last + d * rest_bytes);
    }
}

void fc_pack_panels(const fc_panel_source *s, fc_units outputs, fc_units terms, fc_panel_run *runs, char *gathered,
                    char *target) {
    const ptrdiff_t taps_w = s->c->axis[1].taps, taps = s->c->axis[0].taps * taps_w;
    FC_ASSERT(outputs.end > outputs.begin && terms.end > terms.begin);
    for (ptrdiff_t tap = 0; tap < taps; tap++) {
        const ptrdiff_t count = find_runs(s, outputs, tap / taps_w, tap % taps_w, runs);
        pack_tap(s, outputs, terms, tap, taps, runs, count, gathered, target);
    }
}

fc_panel_fetch fc_start_fetch(const fc_panel_source *s, fc_units outputs, fc_panel_run *runs) {
    FC_ASSERT(s->c->axis[0].taps == 1 && s->c->axis[1].taps == 1);
    const ptrdiff_t count = find_runs(s, outputs, 0, 0, runs);
    return (fc_panel_fetch){.source = s, .runs = runs, .count = count};
}

void fc_fetch_lines(fc_panel_fetch *f, ptrdiff_t lines) {
    const fc_correlation *c = f->source->c;
    const ptrdiff_t size = f->source->size, step = c->axis[1].stride * c->axis[1].source_stride * size;
    for (; lines > 0 && f->plane < c->planes && f->count; lines--) {
        const fc_panel_run *run = &f->runs[f->run];
        const char *plane = fc_plane(c, f->plane, size);
        const char *first = plane ? plane + run->from * size : NULL;
        const ptrdiff_t before = (ptrdiff_t)((uintptr_t)first % FC_CACHE_LINE); /* bytes of its cache line */
        if (first) FC_PREFETCH_TO_L2(first - before + f->bytes);
        f->bytes += FC_CACHE_LINE;
        if (f->bytes < before + run->count * step) continue;
        f->bytes = 0;
        if (++f->run < f->count) continue;
        f->run = 0;
        f->plane++;
    }
}

/* One term: a plane and a tap. */
typedef struct {
    ptrdiff_t plane, tap_h, tap_w;
} term;

static term first_term(const fc_correlation *c, ptrdiff_t index) {
    const ptrdiff_t taps_w = c->axis[1].taps, taps = c->axis[0].taps * taps_w;
    return (term){index / taps, index % taps / taps_w, index % taps_w};
}

static void next_term(const fc_correlation *c, term *t) {
    if (++t->tap_w < c->axis[1].taps) return;
    t->tap_w = 0;
    if (++t->tap_h < c->axis[0].taps) return;
    t->tap_h = 0;
    t->plane++;
}

/* `count` elements, `step` apart in the source. Register tiles' usual counts are constants, which gcc inlines. */
static void copy_few(const char *source, ptrdiff_t step, ptrdiff_t count, ptrdiff_t size, char *target) {
    if (step == 1 && count * size == 20) memcpy(target, source, 20);
    else if (step == 1 && count * size == 16) memcpy(target, source, 16);
    else if (step == 1 && count * size == 32) memcpy(target, source, 32);
    else if (size == 4)
        for (ptrdiff_t i = 0; i < count; i++) ((float *)target)[i] = ((const float *)source)[i * step];
    else
        for (ptrdiff_t i = 0; i < count; i++) ((double *)target)[i] = ((const double *)source)[i * step];
}

void fc_pack_tile_weights(const fc_panel_source *s, fc_units channels, fc_units terms, char *target) {
    const fc_correlation *c = s->c;
    const ptrdiff_t count = channels.end - channels.begin;
    const char *w = c->w + channels.begin * c->w_out_channel * s->size;
    term t = first_term(c, terms.begin);
    for (ptrdiff_t d = terms.begin; d < terms.end; d++, next_term(c, &t), target += count * s->size) {
        const ptrdiff_t at = c->w_plane[t.plane] + fc_tap_weight(c, t.tap_h, t.tap_w);
        copy_few(w + at * s->size, c->w_out_channel, count, s->size, target);
    }
}
