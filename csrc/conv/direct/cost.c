#include "cost.h"

#include "../../arithmetic.h"

/* Positions of the source from the first that an axis reads to the last. */
static double span(const fc_axis *axis) {
    const double step = axis->tap_step < 0 ? -(double)axis->tap_step : (double)axis->tap_step;
    return (double)(axis->outputs - 1) * (double)axis->stride + (double)(axis->taps - 1) * step + 1;
}

/* Vectors of a plane of results, or of all of dy that meet a plane; lines of narrow planes are taken two a vector. */
static double output_vectors(fc_direct_arrangement arrangement, const fc_axis *h, const fc_axis *w, ptrdiff_t lanes) {
    switch (arrangement) {
    case FC_DIRECT_CHANNELS:
    case FC_DIRECT_TRANSPOSED:
        return (double)h->outputs * (double)w->outputs;
    case FC_DIRECT_NARROW:
        return (double)(quotient_up(h->outputs, FC_DIRECT_BLOCK) * FC_DIRECT_BLOCK) / 2;
    default:
        return (double)h->outputs * (double)quotient_up(w->outputs, lanes);
    }
}

/* Vectors of a copy of a plane with its padding. */
static double copied_vectors(fc_direct_arrangement arrangement, const fc_axis *h, const fc_axis *w, ptrdiff_t lanes) {
    switch (arrangement) {
    case FC_DIRECT_CHANNELS:
    case FC_DIRECT_TRANSPOSED:
        return span(h) * span(w);
    case FC_DIRECT_COPIES:
        return span(h) * (double)quotient_up((ptrdiff_t)span(w), lanes);
    default:
        return 0;
    }
}

double fc_direct_cycles(fc_direct_arrangement arrangement, fc_op op, const fc_direct_job *job) {
    const fc_kernels *k = job->conv->kernels;
    /* in_place and narrow have one row of constants, fitted with AVX-512. */
    const int is_unlike = arrangement != FC_DIRECT_IN_PLACE && arrangement != FC_DIRECT_NARROW;
    const int is_elsewhere = !k->direct_lines[0] || (k->few_registers && is_unlike);
    const fc_direct_unit_cycles *unit =
        &FC_DIRECT_CYCLES[is_elsewhere][op == FC_BACKWARD_WEIGHTS][arrangement];
    const ptrdiff_t lanes = k->lanes;
    const int channels_fill = arrangement == FC_DIRECT_CHANNELS || arrangement == FC_DIRECT_TRANSPOSED;
    const double groups = (double)(channels_fill ? quotient_up(job->groups.count, lanes) : job->groups.count);
    double cycles = 0;
    for (int i = 0; i < fc_direct_count(job); i++) {
        const fc_correlation *c = &job->residue[i];
        const fc_axis *h = &c->axis[0], *w = &c->axis[1];
        const double pairs = (double)c->out_channels * (double)c->planes, taps = (double)h->taps * (double)w->taps;
        const double outputs = output_vectors(arrangement, h, w, lanes);
        const double results = (double)c->out_channels * outputs;
        const double copied = (double)c->planes * copied_vectors(arrangement, h, w, lanes);
        const double term = unit->term * (double)(arrangement == FC_DIRECT_IN_PLACE ? w->stride : 1);
        const double image = pairs * (outputs * taps * term + unit->plane) + results * unit->output +
                             copied * (w->source_stride == 1 ? unit->copied : unit->gathered) +
                             (w->target_stride == 1 ? 0 : results * unit->scattered);
        cycles += groups * ((double)c->images * image + pairs * taps * unit->sum);
    }
    return cycles;
}
