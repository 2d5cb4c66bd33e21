#include "choice.h"

#include <math.h>

#include "../../arithmetic.h"

/* Kernels count columns of a line, padding and taps included, in 32 bits. */
static const ptrdiff_t MAX_COLUMNS = 1 << 28;

_Static_assert(FC_NARROW_TAPS >= 7, "the kernel of narrow planes has up to 7 taps across lines");

/* The bytes of copies of the smallest unit, and of dw's sums of a group, in double beside those of the lanes. */
const char *fc_direct_refuses_problem(fc_op op, const fc_conv_problem *p) {
    const ptrdiff_t C = p->in_channels / p->groups, K = p->out_channels / p->groups;
    const double planes = (double)(op == FC_BACKWARD_DATA ? K : C) * (double)p->kernel[0];
    double bytes = 8 * (planes > FC_DIRECT_SIDE_BY_SIDE ? planes : FC_DIRECT_SIDE_BY_SIDE);
    double sums = planes * (double)K * FC_DIRECT_SIDE_BY_SIDE * (4 + 8);
    for (int i = 1; i < 3; i++) {
        const fc_axis axis = op == FC_BACKWARD_DATA ? fc_conv_backward_bound(p, i) : fc_conv_forward_axis(p, i);
        const double outputs = (double)min(axis.outputs, i == 1 ? FC_DIRECT_BLOCK : 8 * FC_DIRECT_SIDE_BY_SIDE);
        sums *= (double)axis.taps;
        const double step = axis.tap_step < 0 ? -(double)axis.tap_step : (double)axis.tap_step;
        bytes *= (outputs - 1) * (double)axis.stride + (double)(axis.taps - 1) * step + 1;
    }
    if (op == FC_BACKWARD_WEIGHTS && sums > FC_DIRECT_MAX_BYTES) return "the sums of a group pass the workspace";
    return bytes > FC_DIRECT_MAX_BYTES ? "the taps of a block of outputs span more than the workspace" : NULL;
}

static int suits_forward(ptrdiff_t C, ptrdiff_t K, const fc_conv_problem *p, double fill) {
    const ptrdiff_t taps = p->kernel[1] * p->kernel[2];
    const double unfilled = log((double)(quotient_up(K, 8) * 8) / (double)K);
    const double strided = p->stride[2] > 1 ? FC_DIRECT_FORWARD.strided * log((double)taps) : 0;
    return FC_DIRECT_FORWARD.in_channels * log((double)C) + FC_DIRECT_FORWARD.out_channels * log((double)K) +
               FC_DIRECT_FORWARD.fill * log(fill) + FC_DIRECT_FORWARD.unfilled * unfilled + strided +
               (taps <= 4 ? FC_DIRECT_FORWARD.few_taps : 0) <
           FC_DIRECT_FORWARD.limit;
}

/* Whatever the regression says, direct sums took 1.5 to 4 times as long where residues are of unlike widths, where each
 * has one tap, and of several channels in a line. */
static int suits_dx(ptrdiff_t C, ptrdiff_t K, const fc_conv_problem *p, double fill, int one_vector) {
    if (p->in_size[2] % p->stride[2]) return 0;
    if (p->stride[1] >= p->kernel[1] && p->stride[2] >= p->kernel[2]) return 0;
    if (C > 1 && (p->kernel[1] == 1 || p->out_size[1] == 1)) return 0;
    if (!one_vector && C > FC_DIRECT_DX_IN_CHANNELS && K > FC_DIRECT_DX_OUT_CHANNELS &&
        p->kernel[1] * p->kernel[2] > FC_DIRECT_DX_TAPS)
        return 0;
    const double taps = log((double)(p->kernel[1] * p->kernel[2]));
    const double strided = p->stride[2] > 1 ? FC_DIRECT_DX.strided_taps * taps + FC_DIRECT_DX.strided : 0;
    return FC_DIRECT_DX.in_channels * log((double)C) + FC_DIRECT_DX.out_channels * log((double)K) +
               FC_DIRECT_DX.taps * taps + FC_DIRECT_DX.fill * log(fill) + strided <
           (one_vector ? FC_DIRECT_DX.one_vector : FC_DIRECT_DX.limit);
}

const char *fc_direct_doubts_problem(fc_op op, const fc_conv_problem *p) {
    const ptrdiff_t C = p->in_channels / p->groups, K = p->out_channels / p->groups;
    const char *const slower = "gathered GEMMs are estimated to take less time";
    const char *const many = "a group has so many channels that gathered GEMMs use an input more often";
    if (C == 1 && K == 1) return NULL;
    if (p->kernel[1] * p->kernel[2] == 1) return "the kernel has one tap, of which gathered GEMMs are quicker";
    if (p->out_size[2] < FC_DIRECT_MIN_COLUMNS || p->out_size[1] * p->out_size[2] < FC_DIRECT_MIN_OUTPUTS)
        return "lines of outputs do not fill vectors";
    const ptrdiff_t lanes = fc_find_kernels(p->call.isa, p->call.dtype)->lanes;
    const ptrdiff_t vectors = quotient_up(p->out_size[2], lanes);
    const double fill = (double)p->out_size[2] / (double)(vectors * lanes);
    const int few = C * K <= FC_DIRECT_MAX_PRODUCTS && C <= FC_DIRECT_MAX_CHANNELS && K <= FC_DIRECT_MAX_CHANNELS;
    const int planes = p->kernel[0] == 1 && p->out_size[1] > 1 && p->y_strides[4] == 1;
    if (op == FC_FORWARD && planes && !(few && p->groups > 1)) { /* groups of few are summed directly */
        const ptrdiff_t terms = C * p->kernel[1] * p->kernel[2];
        if (!few && (C > FC_DIRECT_MAX_CHANNELS || terms > FC_DIRECT_FORWARD.terms)) return many;
        return suits_forward(C, K, p, fill) ? NULL : slower;
    }
    if (few) return NULL;
    if (C > FC_DIRECT_MAX_CHANNELS || p->kernel[0] > 1 || op != FC_BACKWARD_DATA) return many;
    return suits_dx(C, K, p, fill, vectors == 1) ? NULL : slower;
}

static const char *channels_refuse(const fc_direct_job *job) {
    const fc_groups *groups = &job->groups;
    if (groups->count == 1) return "there is one group, so that no channels share a vector";
    if (job->conv->C > 1 || job->conv->K > 1) return "a group has several channels";
    return groups->x == 1 && groups->y == 1 ? NULL : "channels do not lie side by side";
}

/* Whether the lines of a plane follow one another without gaps, and those of its outputs, but for several residues. */
static int is_dense(const fc_axis *h, const fc_axis *w, int residues) {
    const int source = (w->size == 1 || w->source_stride == 1) && (h->size == 1 || h->source_stride == w->size);
    if (residues > 1) return source;
    return source && (w->outputs == 1 || w->target_stride == 1) && (h->outputs == 1 || h->target_stride == w->outputs);
}

/* One residue of dx, or the one correlation. */
static const char *narrow_residue_refuses(const fc_direct_job *job, const fc_correlation *c) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const fc_kernels *k = job->conv->kernels;
    const ptrdiff_t max_lines = MAX_COLUMNS / k->lanes;
    if (c->out_channels > 1 || c->planes != 1) return "a group has several channels or planes";
    if (c->x_plane[0] == FC_ZEROS) return "a plane lies in the padding";
    if (h->stride > (k->flat_pitch ? 2 : 1) || h->stride != w->stride) return "there is no kernel of such strides";
    if (w->stride > 1 && w->taps > 1 && w->tap_step != 1) return "taps of a stride are not adjacent";
    if (h->tap_step != 1 && h->tap_step != -1) return "taps across lines are not adjacent";
    const int any_taps = k->flat_pitch && job->residues > 1 && h->taps <= FC_NARROW_TAPS;
    if (!any_taps && h->taps != 3 && h->taps != 5 && h->taps != 7) return "the kernel is not 3, 5 or 7 high";
    if (w->taps > FC_NARROW_TAPS) return "the kernel is wider than 7";
    if (max(quotient_up(w->size, w->stride), w->outputs) > k->narrow_columns) return "lines are not narrow";
    if (h->tap >= max_lines || h->tap <= -max_lines || h->size >= max_lines || h->outputs >= max_lines)
        return "lines pass 32 bits";
    const double step = w->tap_step < 0 ? -(double)w->tap_step : (double)w->tap_step;
    if (step * (double)w->taps >= (double)MAX_COLUMNS || w->tap >= MAX_COLUMNS || w->tap <= -MAX_COLUMNS)
        return "columns pass 32 bits";
    if (k->flat_pitch && fc_flat_pitch(w->size, w->outputs, w->tap, w->taps, w->tap_step, w->stride) > k->flat_pitch)
        return "taps reach far beyond the lines";
    if (job->residues > 1 && w->outputs > 1 && w->target_stride != job->residues) return "outputs do not take turns";
    return is_dense(h, w, job->residues) ? NULL : "planes have gaps between their lines";
}

static const char *narrow_refuses(const fc_direct_job *job) {
    const fc_kernels *k = job->conv->kernels;
    if (!k->direct_narrow) return "the instruction set has no kernel for narrow planes";
    if (fc_direct_count(job) > 1 && !(k->flat_pitch && job->residues == 2 && job->interleaved))
        return "dx has several residues of the stride";
    for (int i = 0; i < fc_direct_count(job); i++) {
        const char *refusal = narrow_residue_refuses(job, &job->residue[i]);
        if (refusal) return refusal;
    }
    return NULL;
}

/* Planes that become one line, where lanes are not picked. */
static const char *flat_doubts(fc_op op, const fc_direct_job *job) {
    const fc_axis *h = &job->residue[0].axis[0], *w = &job->residue[0].axis[1];
    const ptrdiff_t taps = max(h->taps, w->taps);
    if (!job->conv->kernels->flat_pitch) return NULL;
    if (op == FC_BACKWARD_WEIGHTS && taps > FC_DIRECT_FLAT_DW_TAPS)
        return "dw of large kernels is quicker over transposed planes";
    if (op == FC_BACKWARD_WEIGHTS) {
        const ptrdiff_t images = job->residue[0].images;
        const int few = images == 1 || images * h->size * w->size < FC_DIRECT_FLAT_DW_POSITIONS;
        return few ? "each channel has few terms, so that lanes cost more to add up than to transpose" : NULL;
    }
    if (taps > FC_DIRECT_FLAT_TAPS) return "large kernels are quicker over transposed planes";
    const double vectors = (double)w->outputs / (double)job->conv->kernels->lanes;
    if (w->stride == 2 && vectors <= 0.5) return "strided lines of half a vector are quicker over transposed planes";
    if (w->stride == 2 || job->residues == 2) return NULL;
    return vectors > FC_DIRECT_FLAT_VECTORS ? "lines of outputs fill vectors" : NULL;
}

static const char *narrow_doubts(fc_op op, const fc_direct_job *job) {
    const fc_axis *h = &job->residue[0].axis[0], *w = &job->residue[0].axis[1];
    if (!job->conv->kernels->flat_pitch && w->taps > h->taps) return "the kernel is wider than high";
    if (h->outputs == 1) return "planes of outputs have one line";
    if (h->size < FC_DIRECT_NARROW_MIN_LINES) return "planes have few lines, which leave vectors empty";
    if (h->size > h->stride * FC_DIRECT_NARROW_MAX_LINES || h->outputs > FC_DIRECT_NARROW_MAX_LINES)
        return "planes have many lines, with each block of which all of the next plane is fetched";
    return flat_doubts(op, job);
}

static const char *transposed_refuses(const fc_direct_job *job) {
    const fc_correlation *c = &job->residue[0];
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    if (fc_direct_count(job) > 1) return "dx has several residues of the stride";
    if (c->out_channels > 1) return "a group has several channels of results";
    if (!fc_has_all_planes(c)) return "a plane lies in the padding";
    if (h->size * w->size > FC_DIRECT_TRANSPOSED_POSITIONS || h->outputs * w->outputs > FC_DIRECT_TRANSPOSED_POSITIONS)
        return "planes are larger than what is transposed whole";
    return is_dense(h, w, 1) ? NULL : "planes have gaps between their lines";
}

/* Whether lines are summed in place with 16 vector registers, of which many taps, or several channels, spill. */
static int sums_lines_in_few_registers(const fc_direct_job *job) {
    const fc_kernels *k = job->conv->kernels;
    return k->direct_lines[0] && k->few_registers;
}

/* Outputs of a line up to which channels fill vectors better. */
static ptrdiff_t transposed_outputs(fc_op op, const fc_direct_job *job) {
    const fc_axis *h = &job->residue[0].axis[0], *w = &job->residue[0].axis[1];
    const ptrdiff_t lanes = job->conv->kernels->lanes;
    if (!sums_lines_in_few_registers(job)) return lanes / 2;
    if (op == FC_BACKWARD_WEIGHTS) {
        const int many = max(h->taps, w->taps) > 3;
        return (many ? FC_DIRECT_TRANSPOSED_DW_VECTORS : FC_DIRECT_TRANSPOSED_DW3_VECTORS) * lanes / w->stride;
    }
    if (w->stride > 1) return lanes;
    return max(h->taps, w->taps) > FC_DIRECT_FLAT_TAPS ? 2 * lanes : lanes / 2;
}

static const char *transposed_doubts(fc_op op, const fc_direct_job *job) {
    const fc_axis *w = &job->residue[0].axis[1];
    if (job->groups.count < job->conv->kernels->lanes / 2) return "there are fewer groups than half of a vector";
    if (w->outputs > transposed_outputs(op, job)) return "lines of outputs fill vectors";
    if (!narrow_refuses(job) && !narrow_doubts(op, job)) return "narrow planes have a kernel of their own";
    return NULL;
}

/* In numbers that bound all columns which its taps reach. */
static int fits_32_bits(const fc_axis *w) {
    const ptrdiff_t step = w->tap_step < 0 ? -w->tap_step : w->tap_step, origin = w->tap < 0 ? -w->tap : w->tap;
    return w->size < MAX_COLUMNS && w->outputs < MAX_COLUMNS && origin < MAX_COLUMNS && step < MAX_COLUMNS &&
           (double)step * (double)w->taps < (double)MAX_COLUMNS;
}

static const char *in_place_refuses(const fc_direct_job *job) {
    if (!job->conv->kernels->direct_lines[0]) return "the instruction set does not mask loads";
    if (job->residues > 2) return "a line has more than two residues of the stride";
    if (job->residues == 2 && !job->interleaved) return "outputs of the residues of a line do not take turns";
    for (int i = 0; i < fc_direct_count(job); i++) {
        const fc_axis *h = &job->residue[i].axis[0], *w = &job->residue[i].axis[1];
        if (w->size > 1 && w->source_stride != 1) return "columns are not adjacent";
        if (w->outputs > 1 && w->target_stride != job->residues) return "outputs of a line are not adjacent";
        if (h->stride > 2 || w->stride > 2) return "stride is beyond 2";
        if (job->residues > 1 && w->stride > 1) return "a line has residues and a stride";
        if (!fits_32_bits(w)) return "columns pass 32 bits";
    }
    return NULL;
}

static const char *line_doubts(const fc_correlation *c) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const ptrdiff_t taps = max(h->taps, w->taps);
    if (h->outputs == 1) return "planes of outputs have one line, which copies are quicker for";
    if (w->size > FC_DIRECT_IN_PLACE_COLUMNS || w->outputs > FC_DIRECT_IN_PLACE_COLUMNS)
        return "lines are so long that threads should share them";
    if (h->stride != w->stride) return "strides differ, for which copies are quicker";
    if (w->stride == 2 && taps > FC_DIRECT_STRIDED_TAPS) return "large kernels with a stride are quicker over copies";
    if (c->out_channels == 1 && c->planes == 1) return NULL;
    if (taps > FC_DIRECT_CHANNELS_TAPS) return "large kernels are quicker over copies where a group has channels";
    return w->stride == 1 ? NULL : "strides are quicker over copies where a group has channels";
}

/* Tiles of 4 lines by 2 vectors and the weights of more than 3 taps, or of 8 by 1 and more than 5, want more registers
 * than 16: depthwise 7x7 of 28x28 took 1.5 times as long as over copies, 5x5 1.13 times. */
static const char *spill_doubts(const fc_direct_job *job) {
    const fc_axis *h = &job->residue[0].axis[0], *w = &job->residue[0].axis[1];
    const ptrdiff_t lanes = job->conv->kernels->lanes, max_taps = w->outputs < 2 * lanes ? 5 : 3;
    const int spills = h->taps > max_taps && h->stride == 1 && w->outputs > lanes;
    return spills && sums_lines_in_few_registers(job) ? "weights and sums do not fit the registers" : NULL;
}

static const char *in_place_doubts(fc_op op, const fc_direct_job *job) {
    const fc_correlation *c = &job->residue[0];
    const int side_by_side = job->groups.x == c->planes && (c->planes == 1 || fc_are_adjacent(c));
    const ptrdiff_t together = min(job->groups.count, FC_DIRECT_SIDE_BY_SIDE / max(c->planes, c->out_channels));
    if (job->residues > 1 && side_by_side && together > 1) return "channels that lie side by side are copied together";
    /* resnext_g32 took 1.09 times as long as over copies with AVX2, dw 1.3 times. */
    if (sums_lines_in_few_registers(job) && (job->conv->C > 1 || job->conv->K > 1))
        return "weights and sums of several channels do not fit the registers";
    const char *spills = op == FC_BACKWARD_WEIGHTS ? NULL : spill_doubts(job);
    if (spills) return spills;
    for (int i = 0; i < fc_direct_count(job); i++) {
        const char *doubt = line_doubts(&job->residue[i]);
        if (doubt) return doubt;
    }
    return NULL;
}

const char *fc_direct_refuses(fc_direct_arrangement arrangement, fc_op op, const fc_direct_job *job) {
    const int without_dw = op == FC_BACKWARD_WEIGHTS && !job->conv->p->has_w;
    FC_ASSERT(fc_direct_count(job) >= 1 && fc_direct_count(job) <= FC_MAX_RESIDUES);
    switch (arrangement) {
    case FC_DIRECT_CHANNELS:
        return channels_refuse(job);
    case FC_DIRECT_NARROW:
        return without_dw ? "dw is not wanted" : narrow_refuses(job);
    case FC_DIRECT_TRANSPOSED:
        return transposed_refuses(job);
    case FC_DIRECT_IN_PLACE:
        return without_dw ? "dw is not wanted" : in_place_refuses(job);
    default:
        return NULL;
    }
}

/* Why the arrangement itself is not to be taken, others apart. */
static const char *own_doubts(fc_direct_arrangement arrangement, fc_op op, const fc_direct_job *job) {
    switch (arrangement) {
    case FC_DIRECT_NARROW:
        return narrow_doubts(op, job);
    case FC_DIRECT_TRANSPOSED:
        return transposed_doubts(op, job);
    case FC_DIRECT_IN_PLACE:
        return in_place_doubts(op, job);
    default:
        return NULL;
    }
}

fc_direct_arrangement fc_direct_choose(fc_op op, const fc_direct_job *job) {
    fc_direct_arrangement arrangement = FC_DIRECT_CHANNELS;
    while (arrangement != FC_DIRECT_COPIES &&
           (fc_direct_refuses(arrangement, op, job) || own_doubts(arrangement, op, job)))
        arrangement++;
    return arrangement;
}

const char *fc_direct_doubts(fc_direct_arrangement arrangement, fc_op op, const fc_direct_job *job) {
    static const char *const quicker[] = {
        [FC_DIRECT_CHANNELS] = "channels lie side by side and fill vectors",
        [FC_DIRECT_NARROW] = "narrow planes have a kernel of their own",
        [FC_DIRECT_TRANSPOSED] = "channels fill vectors that lines of outputs do not",
        [FC_DIRECT_IN_PLACE] = "planes can be read where they lie",
        [FC_DIRECT_COPIES] = "copies are quicker",
    };
    const fc_direct_arrangement chosen = fc_direct_choose(op, job);
    if (arrangement == chosen) return NULL;
    const char *doubt = own_doubts(arrangement, op, job);
    return doubt ? doubt : quicker[chosen];
}
