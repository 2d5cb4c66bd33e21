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
