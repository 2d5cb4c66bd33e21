/* The taps that Winograd's transforms of the weights read, in the order of a tile's inputs. */
#include <string.h>

#include "../../arithmetic.h"
#include "shared.h"

_Static_assert(FC_WINOGRAD_MAX_TAPS >= 5 * 5 && FC_WINOGRAD_MAX_TAPS >= 2 * 2 + 3 * 3,
               "the taps of the largest kernel fit, and those of a residue with all of the kernel behind them");

/* Gathers all taps of a channel of x. Returns what fc_winograd_gather does. */
static int gather_taps(const fc_winograd_filters *f, ptrdiff_t first, ptrdiff_t count, ptrdiff_t channel, char *taps) {
    const fc_correlation *c = f->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const ptrdiff_t size = f->size, across = w->taps, all = h->taps * across;
    const ptrdiff_t at_first = first * c->w_out_channel + c->w_plane[channel] + h->weight + w->weight;
    const char *source = c->w + at_first * size;
    /* In the order of the array, if there is one; reversed, they are read from the last to the first. */
    const int alike = h->taps == 1 || w->taps == 1 || fc_is_reversed(h) == fc_is_reversed(w);
    if ((h->taps == 1 || h->weight_step == across) && (w->taps == 1 || w->weight_step == 1) && alike) {
        f->kernels->transpose(count, all, source, c->w_out_channel, taps, f->lanes);
        return fc_is_reversed(h) || fc_is_reversed(w);
    }
    for (ptrdiff_t t = 0; t < all; t++) {
        const ptrdiff_t r = t / across, s = t % across;
        const ptrdiff_t at = (fc_is_reversed(h) ? h->taps - 1 - r : r) * h->weight_step +
                             (fc_is_reversed(w) ? across - 1 - s : s) * w->weight_step;
        f->kernels->copy(count, source + at * size, c->w_out_channel, taps + t * f->lanes * size);
    }
    return 0;
}

/* Gathers the taps of a residue of a stride, 2x2; behind them, all of the kernel. */
static void gather_strided(const fc_winograd_filters *f, ptrdiff_t first, ptrdiff_t count, ptrdiff_t plane,
                           char *taps) {
    const fc_winograd_form *form = &f->form;
    const ptrdiff_t residue = plane / f->pitch, channel = plane % f->pitch, vector = f->lanes * f->size;
    const ptrdiff_t down = f->c->axis[0].taps, along = f->c->axis[1].taps;
    char *all = taps + form->taps[0] * form->taps[1] * vector;
    if (channel < f->c->planes) gather_taps(f, first, count, channel, all);
    for (ptrdiff_t t = 0; t < form->taps[0] * form->taps[1]; t++, taps += vector) {
        const ptrdiff_t r = residue / form->stride + t / form->taps[1] * form->stride;
        const ptrdiff_t s = residue % form->stride + t % form->taps[1] * form->stride;
        const int is_there = channel < f->c->planes && r < down && s < along;
        if (is_there) memcpy(taps, all + (r * along + s) * vector, (size_t)(count * f->size));
        else memset(taps, 0, (size_t)vector);
    }
}

enum { NO_TAP = -1 };

/* The tap of an axis that reads input t of a tile's first output, of a residue of a spread; or NO_TAP. The only tap of
 * a residue stands where the two taps of the other residue have one. */
static ptrdiff_t tap_of_residue(const fc_winograd_filters *f, int axis, ptrdiff_t residue, ptrdiff_t t) {
    if (residue == f->two_taps[axis]) return 2 - 2 * t;
    return t == 1 - f->two_taps[axis] ? 1 : NO_TAP;
}

/* Gathers the taps of a residue of a spread, 2x2, out of 3x3; the axes of the correlation have every second one. */
static void gather_spread(const fc_winograd_filters *f, const ptrdiff_t residue[2], ptrdiff_t first, ptrdiff_t count,
                          ptrdiff_t plane, char *taps) {
    const fc_correlation *c = f->c;
    const ptrdiff_t vector = f->lanes * f->size, down = c->axis[0].weight_step / 2, along = c->axis[1].weight_step / 2;
    const char *source = (const char *)c->w + (first * c->w_out_channel + c->w_plane[plane]) * f->size;
    char *all = taps + 4 * vector;
    const int adjacent = along == 1 && down == 3;
    if (adjacent) f->kernels->transpose(count, 9, source, c->w_out_channel, all, f->lanes);
    for (int t = 0; t < 4; t++, taps += vector) {
        const ptrdiff_t r = tap_of_residue(f, 0, residue[0], t / 2), s = tap_of_residue(f, 1, residue[1], t % 2);
        if (r == NO_TAP || s == NO_TAP) memset(taps, 0, (size_t)vector);
        else if (adjacent) memcpy(taps, all + (3 * r + s) * vector, (size_t)(count * f->size));
        else f->kernels->copy(count, source + (r * down + s * along) * f->size, c->w_out_channel, taps);
    }
}

int fc_winograd_gather(const fc_winograd_filters *f, const ptrdiff_t residue[2], ptrdiff_t first, ptrdiff_t count,
                       ptrdiff_t plane, char *taps) {
    FC_ASSERT(0 < count && count <= f->lanes && first + count <= f->c->out_channels);
    if (f->form.spread) gather_spread(f, residue, first, count, plane, taps);
    else if (f->form.stride > 1) gather_strided(f, first, count, plane, taps);
    else return gather_taps(f, first, count, plane, taps);
    return 0;
}

int fc_winograd_residue_lacks(const fc_winograd_form *form, const ptrdiff_t two_taps[2], const ptrdiff_t residue[2],
                              ptrdiff_t point) {
    const ptrdiff_t points = form->taps[1] + form->tile[1] - 1, at[2] = {point / points, point % points};
    for (int i = 0; form->spread && i < 2; i++)
        if (residue[i] != two_taps[i] && at[i] == (two_taps[i] ? points - 1 : 0)) return 1;
    return 0;
}
