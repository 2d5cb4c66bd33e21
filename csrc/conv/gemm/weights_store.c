/* Sums on their way out: into dw and db. */
#include "weights_shared.h"

/* Elements of dw that follow each other from row `row` of a unit's sums on, at most up to row `end`: taps, and planes
 * that follow each other, if `in_order`. */
static ptrdiff_t run_of_rows(const fc_correlation *c, ptrdiff_t first_plane, ptrdiff_t row, ptrdiff_t end,
                             int in_order) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const ptrdiff_t taps = fc_weights_taps(c), *plane = c->w_plane + first_plane;
    const ptrdiff_t run = in_order && (h->taps == 1 || h->weight_step == w->taps) ? taps : w->taps;
    ptrdiff_t length = min(run - row % taps % run, end - row);
    if (in_order && run == taps)
        while (row + length < end && plane[(row + length) / taps] - plane[row / taps] ==
                                         ((row + length) / taps - row / taps) * taps)
            length = min(length + taps, end - row);
    return length;
}

void fc_store_weights(const fc_weights_job *j, const fc_weights_unit *u, ptrdiff_t first_row, ptrdiff_t end_row,
                      char *stored) {
    const fc_correlation *c = j->c;
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const ptrdiff_t taps = fc_weights_taps(c), size = j->size, pitch = j->layout.pitch;
    const int in_order = w->weight_step == 1 || w->taps == 1;
    for (ptrdiff_t row = first_row; row < end_row; row += FC_STORED_ROWS)
        for (ptrdiff_t channel = u->first_channel; channel < u->end_channel; channel += FC_MAX_TILE_COLS) {
            const ptrdiff_t end = min(end_row, row + FC_STORED_ROWS);
            const ptrdiff_t channels = min(FC_MAX_TILE_COLS, u->end_channel - channel);
            j->kernels->transpose(end - row, channels, u->sums + (row * pitch + channel - u->first_channel) * size,
                                  pitch, stored, FC_STORED_ROWS);
            for (ptrdiff_t i = row, length; i < end; i += length) {
                const ptrdiff_t tap = i % taps, plane = u->first_plane + i / taps;
                const ptrdiff_t offset = c->w_plane[plane] + h->weight + w->weight +
                                         tap / w->taps * h->weight_step + tap % w->taps * w->weight_step;
                void *targets[FC_MAX_TILE_COLS];
                length = run_of_rows(c, u->first_plane, i, end, in_order);
                for (ptrdiff_t k = 0; k < channels; k++)
                    targets[k] = j->gradient->dw + (offset + (channel + k) * c->w_out_channel) * size;
                j->kernels->store(channels, length, stored + (i - row) * size, FC_STORED_ROWS, targets,
                                  in_order ? 1 : w->weight_step, j->accumulate, 0);
            }
        }
}

void fc_store_bias(const fc_weights_job *j) {
    const fc_correlation *c = j->c;
    for (ptrdiff_t i = 0; j->gradient->has_db && i < c->out_channels; i++) {
        double sum = 0;
        for (ptrdiff_t partial = 0; partial < j->layout.partials; partial++)
            sum += j->bias_sums[partial * c->out_channels + i];
        fc_put_gradient(j->size, j->gradient->db, i, sum, j->accumulate);
    }
}
