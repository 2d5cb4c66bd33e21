#include "axis.h"

#include "../arithmetic.h"
#include "../compiler.h"

/* Taps counted from the one that reads the lowest position. */
static ptrdiff_t ascending(const fc_residues *p, ptrdiff_t tap) {
    return p->reversed ? p->last_tap - tap : tap;
}

fc_residues fc_split_axis(const fc_axis *axis, ptrdiff_t count) {
    fc_residues p = {.advance = 1, .stride = axis->stride, .last_tap = axis->taps - 1};
    FC_ASSERT(count > 0 && axis->taps > 0 && axis->stride > 0);
    p.reversed = axis->tap_step < 0;
    p.step = p.reversed ? -axis->tap_step : axis->tap_step;
    p.first = axis->tap - (p.reversed ? p.last_tap * p.step : 0);
    p.period = axis->stride / greatest_common_divisor(axis->stride, p.step);
    p.residues = p.period < axis->taps ? p.period : axis->taps;
    p.reach = p.last_tap * p.step / axis->stride;
    if (p.reach / count > axis->taps / p.residues) {
        p.one_per_tap = 1;
        p.residues = axis->taps;
        p.reach = 0;
    }
    return p;
}

fc_residues fc_whole_axis(const fc_axis *axis, ptrdiff_t count) {
    fc_residues p = fc_split_axis(axis, count);
    if (p.one_per_tap || p.residues < p.stride) return p;
    p.residues = p.period = 1;
    p.advance = p.stride;
    p.stride = 1;
    p.reach = p.last_tap * p.step;
    return p;
}

fc_residues fc_taps_apart(const fc_axis *axis) {
    fc_residues p = fc_split_axis(axis, axis->outputs);
    p.one_per_tap = 1;
    p.residues = axis->taps;
    p.reach = 0;
    return p;
}

fc_residues fc_taps_within(const fc_residues *residue, const fc_axis *axis) {
    const fc_residues own = fc_split_axis(axis, axis->outputs);
    fc_residues p = *residue;
    FC_ASSERT(axis->stride == 1 && residue->stride == 1 && residue->residues == 1 && own.first >= residue->first);
    p.step = own.step;
    p.last_tap = own.last_tap;
    p.reversed = own.reversed;
    p.shift = own.first - residue->first;
    return p;
}

ptrdiff_t fc_residue_length(const fc_residues *p, ptrdiff_t count) {
    return (count - 1) * p->advance + 1 + p->reach;
}

ptrdiff_t fc_residue_of_tap(const fc_residues *p, ptrdiff_t tap) {
    return p->one_per_tap ? tap : ascending(p, tap) % p->period;
}

ptrdiff_t fc_shift_of_tap(const fc_residues *p, ptrdiff_t tap) {
    return p->one_per_tap ? 0 : p->shift + ascending(p, tap) * p->step / p->stride;
}

ptrdiff_t fc_residue_origin(const fc_residues *p, ptrdiff_t residue) {
    if (p->one_per_tap) return p->first + ascending(p, residue) * p->step;
    return p->first + residue * p->step % p->stride;
}

void fc_find_inside(ptrdiff_t origin, ptrdiff_t stride, ptrdiff_t size, ptrdiff_t count, ptrdiff_t *first,
                    ptrdiff_t *last) {
    const ptrdiff_t low = origin >= 0 ? 0 : (-origin - 1) / stride + 1;
    const ptrdiff_t high = origin >= size ? 0 : (size - origin - 1) / stride + 1;
    *first = low < count ? low : count;
    *last = high < count ? high : count;
    if (*last < *first) *last = *first;
}

fc_taps_inside fc_inside(const fc_axis *a, ptrdiff_t output) {
    /* Counted from the lowest, tap t reads low + t * step. */
    const ptrdiff_t reversed = a->tap_step < 0, step = reversed ? -a->tap_step : a->tap_step;
    const ptrdiff_t base = output * a->stride + a->tap;
    const ptrdiff_t low = reversed ? base - (a->taps - 1) * step : base;
    ptrdiff_t first = 0, last = a->taps;
    if (a->taps == 1 || step == 0) {
        if (low < 0 || low >= a->size) last = 0;
    } else {
        if (low < 0) first = min(a->taps, (-low - 1) / step + 1);
        last = low >= a->size ? 0 : min(a->taps, (a->size - low - 1) / step + 1);
    }
    if (last <= first) return (fc_taps_inside){0, 0};
    return reversed ? (fc_taps_inside){a->taps - last, a->taps - first} : (fc_taps_inside){first, last};
}

ptrdiff_t fc_end_of_alike(const fc_axis *a, ptrdiff_t output, ptrdiff_t end) {
    const fc_taps_inside own = fc_inside(a, output);
    while (++output < end) {
        const fc_taps_inside taps = fc_inside(a, output);
        if (taps.first != own.first || taps.last != own.last) break;
    }
    return output;
}

double fc_share_inside(const fc_axis *a, ptrdiff_t *runs) {
    double inside = 0;
    ptrdiff_t count = 0;
    for (ptrdiff_t o = 0, end; o < a->outputs; o = end, count++) {
        const fc_taps_inside taps = fc_inside(a, o);
        end = fc_end_of_alike(a, o, a->outputs);
        inside += (double)(taps.last - taps.first) * (double)(end - o);
    }
    if (runs) *runs = count;
    return inside / ((double)a->taps * (double)a->outputs);
}
