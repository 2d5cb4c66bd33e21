#include "axis.h"

#include "../arithmetic.h"

/* Taps counted from the one that reads the lowest position. */
static ptrdiff_t ascending(const fc_phases *p, ptrdiff_t tap) {
    return p->reversed ? p->last_tap - tap : tap;
}

fc_phases fc_split_axis(const fc_axis *axis, ptrdiff_t count) {
    fc_phases p = {.advance = 1, .stride = axis->stride, .last_tap = axis->taps - 1};
    p.reversed = axis->tap_step < 0;
    p.step = p.reversed ? -axis->tap_step : axis->tap_step;
    p.first = axis->tap - (p.reversed ? p.last_tap * p.step : 0);
    p.period = axis->stride / greatest_common_divisor(axis->stride, p.step);
    p.phases = p.period < axis->taps ? p.period : axis->taps;
    p.reach = p.last_tap * p.step / axis->stride;
    if (p.reach / count > axis->taps / p.phases) {
        p.one_per_tap = 1;
        p.phases = axis->taps;
        p.reach = 0;
    }
    return p;
}

fc_phases fc_whole_axis(const fc_axis *axis, ptrdiff_t count) {
    fc_phases p = fc_split_axis(axis, count);
    if (p.one_per_tap || p.last_tap * p.step + 1 < p.stride) return p;
    p.phases = p.period = 1;
    p.advance = p.stride;
    p.stride = 1;
    p.reach = p.last_tap * p.step;
    return p;
}

ptrdiff_t fc_phase_length(const fc_phases *p, ptrdiff_t count) {
    return (count - 1) * p->advance + 1 + p->reach;
}

ptrdiff_t fc_phase_of_tap(const fc_phases *p, ptrdiff_t tap) {
    return p->one_per_tap ? tap : ascending(p, tap) % p->period;
}

ptrdiff_t fc_shift_of_tap(const fc_phases *p, ptrdiff_t tap) {
    return p->one_per_tap ? 0 : ascending(p, tap) * p->step / p->stride;
}

ptrdiff_t fc_phase_origin(const fc_phases *p, ptrdiff_t phase) {
    if (p->one_per_tap) return p->first + ascending(p, phase) * p->step;
    return p->first + phase * p->step % p->stride;
}

fc_taps_inside fc_inside(const fc_axis *a, ptrdiff_t output) {
    fc_taps_inside taps = {0, a->taps};
    const ptrdiff_t base = output * a->stride + a->tap;
    for (ptrdiff_t position = base; taps.first < taps.last && (position < 0 || position >= a->size);
         position += a->tap_step)
        taps.first++;
    for (ptrdiff_t position = base + (a->taps - 1) * a->tap_step;
         taps.last > taps.first && (position < 0 || position >= a->size); position -= a->tap_step)
        taps.last--;
    return taps;
}

ptrdiff_t fc_end_of_alike(const fc_axis *a, ptrdiff_t output, ptrdiff_t end) {
    const fc_taps_inside own = fc_inside(a, output);
    while (++output < end) {
        const fc_taps_inside taps = fc_inside(a, output);
        if (taps.first != own.first || taps.last != own.last) break;
    }
    return output;
}
