/* direct.c's correlations without copies, where the instruction set masks loads: planes whose rows are contiguous
 * are read where they lie (kernels/direct_lines.tmpl.h). Threads share images, groups and bands of rows. */
#include <string.h>

#include "../../arithmetic.h"
#include "../../platform/memory.h"
#include "shared.h"

/* Outputs of a band, about. */
static const ptrdiff_t BAND_OUTPUTS = 4096;
/* Narrow planes that share a call, whose tables take as long as a few of them; images whose planes share weights. */
static const ptrdiff_t NARROW_PLANES = 128, NARROW_IMAGES = 8;
/* Kernels count columns, padding and taps included, in 32 bits. */
static const ptrdiff_t MAX_COLUMNS = 1 << 28;
/* Of a row: longer ones are copied band by band, which threads share, and which wait for less before a signal. */
static const ptrdiff_t MAX_WIDTH = 4096;
/* Rows of a narrow plane: one block is fetched with all of the next plane, and fewer rows leave its vectors empty. */
enum { MIN_NARROW = 4, MAX_NARROW = 16 };

typedef struct {
    fc_run *run;
    const fc_kernels *kernels;
    ptrdiff_t size;
    const fc_groups *groups;
    const fc_correlation *residue; /* [line][residue] */
    int lines, residues;
    fc_direct_lines of_line[FC_MAX_RESIDUES];
    ptrdiff_t band_rows, bands, units, parts;
    int narrow; /* units are images and runs of groups */
    size_t zeros_room, table_room, planes_room;
} rows_job;

/* An axis whose taps are counted from the one that reads the lowest position. */
static fc_axis ascending(fc_axis axis) {
    if (axis.tap_step < 0) {
        axis.tap += (axis.taps - 1) * axis.tap_step;
        axis.weight += (axis.taps - 1) * axis.weight_step;
        axis.tap_step = -axis.tap_step;
        axis.weight_step = -axis.weight_step;
    }
    return axis;
}

fc_direct_lines fc_direct_lines_of(const fc_correlation *residue, int residues) {
    const fc_axis h = ascending(residue->axis[0]), w = ascending(residue->axis[1]);
    fc_direct_lines d = {
        .lines = h.size, .columns = w.size, .pitch = h.source_stride,
        .stride = h.stride, .origin = h.tap, .taps = h.taps, .line_step = h.taps > 1 ? h.tap_step : 1,
        .column_stride = w.stride, .tap_step = 1,
        .residues = residues,
        .planes = residue->planes, .w_plane = residue->w_plane,
        .w_channel = residue->w_row, .w_row = h.weight_step,
        .outputs = h.outputs, .y_step = h.target_stride, .y_channel = residue->y_row,
        .relu = residue->relu,
    };
    for (int f = 0; f < residues; f++) {
        const fc_axis own = ascending(residue[f].axis[1]);
        d.residue[f].origin = own.tap;
        d.residue[f].taps = own.taps;
        d.residue[f].w = h.weight + own.weight;
        if (own.taps > 1) { /* alike in all residues that have several */
            d.tap_step = own.tap_step;
            d.w_column = own.weight_step;
        }
        d.width += own.outputs;
    }
    return d;
}

/* In numbers that bound all columns which its taps reach. */
static int fits_32_bits(const fc_axis *w) {
    const ptrdiff_t step = w->tap_step < 0 ? -w->tap_step : w->tap_step, origin = w->tap < 0 ? -w->tap : w->tap;
    return w->size < MAX_COLUMNS && w->outputs < MAX_COLUMNS && origin < MAX_COLUMNS && step < MAX_COLUMNS &&
           (double)step * (double)w->taps < (double)MAX_COLUMNS;
}

/* What is left to copies took up to 3 times as long in place: single rows (31 taps), several channels of more than 3x3
 * taps (4x4 of 7x7: 1.5 times) or with a stride (3 to 25: 1.6), strides with 7 taps (1.3), or of one axis (1.4). */
int fc_direct_lines_fit(const fc_kernels *kernels, const fc_correlation *c) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    const ptrdiff_t taps = max(h->taps, w->taps);
    if (!kernels->direct_lines[0] || (w->size > 1 && w->source_stride != 1) || !fits_32_bits(w)) return 0;
    if (h->outputs == 1 || w->size > MAX_WIDTH || w->outputs > MAX_WIDTH) return 0;
    if (h->stride != w->stride || w->stride > 2 || (w->stride == 2 && taps > 5)) return 0;
    return (c->rows == 1 && c->planes == 1) || (taps <= 3 && w->stride == 1);
}

int fc_direct_is_narrow(const fc_kernels *kernels, const fc_correlation *c) {
    const fc_axis *h = &c->axis[0], *w = &c->axis[1];
    if (!kernels->direct_narrow || !fc_direct_lines_fit(kernels, c)) return 0;
    if (c->rows > 1 || c->planes != 1 || c->x_plane[0] == FC_ZEROS) return 0;
    if (h->stride > 1 || w->stride > 1 || (h->tap_step != 1 && h->tap_step != -1)) return 0;
    if ((h->taps != 3 && h->taps != 5 && h->taps != 7) || w->taps > min(h->taps, FC_NARROW_TAPS)) return 0;
    if (h->size < MIN_NARROW || h->size > MAX_NARROW || h->outputs > MAX_NARROW) return 0;
    if (w->size > kernels->lanes / 2 || w->outputs > kernels->lanes / 2) return 0;
    if (h->tap >= MAX_COLUMNS / kernels->lanes || h->tap <= -MAX_COLUMNS / kernels->lanes) return 0;
    return (h->size == 1 || h->source_stride == w->size) && (h->outputs == 1 || h->target_stride == w->outputs) &&
           (w->outputs == 1 || w->target_stride == 1);
}

static int fits(const rows_job *r) {
    for (int i = 0; i < r->lines * r->residues; i++) {
        const fc_axis *w = &r->residue[i].axis[1];
        if (!fc_direct_lines_fit(r->kernels, &r->residue[i])) return 0;
        if (w->outputs > 1 && w->target_stride != r->residues) return 0;
        if (r->residues > 1 && w->stride > 1) return 0;
    }
    return r->residues <= 2;
}

static void unit_sums(const rows_job *r, ptrdiff_t unit, const void **planes, const void *zeros, const void **table) {
    const ptrdiff_t band = unit % r->bands, group = unit / r->bands % r->groups->count;
    const ptrdiff_t image = unit / r->bands / r->groups->count, size = r->size;
    for (int line = 0; line < r->lines; line++) {
        const fc_correlation *c = &r->residue[line * r->residues];
        fc_direct_lines d = r->of_line[line];
        const ptrdiff_t first = band * r->band_rows;
        if (first >= d.outputs) continue;
        d.origin += first * d.stride;
        d.outputs = min(r->band_rows, d.outputs - first);
        d.zeros = zeros;
        d.table = table;
        for (ptrdiff_t i = 0; i < c->planes; i++) {
            const char *plane = fc_plane(c, i, size);
            planes[i] = plane ? plane + (image * c->x_image + group * r->groups->x) * size : NULL;
        }
        const char *w = (const char *)c->w + group * r->groups->w * size;
        const char *bias = c->bias ? (const char *)c->bias + group * c->rows * size : NULL;
        char *y = (char *)c->y + (image * c->y_image + group * r->groups->y + first * d.y_step) * size;
        const int pairs = r->residues == 1 && d.column_stride == 1;
        for (ptrdiff_t k = 0; k < c->rows;) {
            const ptrdiff_t channels = pairs && k + 1 < c->rows ? 2 : 1;
            /* The next group's, while the last channels are summed. */
            d.to_next = k + channels == c->rows && r->bands == 1 && r->groups->count > 1 ? r->groups->x : 0;
            r->kernels->direct_lines[channels - 1](&d, planes, w + k * c->w_row * size, bias ? bias + k * size : NULL,
                                                  y + k * c->y_row * size);
            k += channels;
        }
    }
}

/* Images and groups of a narrow unit. */
static ptrdiff_t narrow_images(const rows_job *r) { return min(NARROW_IMAGES, r->residue->images); }
static ptrdiff_t narrow_groups(const rows_job *r) { return NARROW_PLANES / narrow_images(r); }

static void narrow_sums(const rows_job *r, ptrdiff_t unit) {
    const fc_correlation *c = r->residue;
    const fc_groups *groups = r->groups;
    const ptrdiff_t runs = quotient_up(groups->count, narrow_groups(r)), size = r->size;
    const ptrdiff_t image = unit / runs * narrow_images(r), group = unit % runs * narrow_groups(r);
    const fc_direct_narrow n = {
        .each = r->of_line[0],
        .planes = min(narrow_groups(r), groups->count - group),
        .x_plane = groups->x, .y_plane = groups->y, .w_plane = groups->w,
        .images = min(narrow_images(r), c->images - image),
        .x_image = c->x_image, .y_image = c->y_image,
    };
    r->kernels->direct_narrow(&n, fc_plane(c, 0, size) + (image * c->x_image + group * groups->x) * size,
                              (const char *)c->w + (group * groups->w + c->w_plane[0] + n.each.residue[0].w) * size,
                              c->bias ? (const char *)c->bias + group * size : NULL,
                              (char *)c->y + (image * c->y_image + group * groups->y) * size);
}

static void rows_task(void *context, int index) {
    rows_job *r = context;
    const fc_units share = fc_units_of(r->units, r->parts, index);
    char *scratch = fc_scratch_acquire(r->zeros_room + r->table_room + r->planes_room);
    if (!scratch) {
        fc_stop(r->run, FC_NO_MEMORY);
        return;
    }
    memset(scratch, 0, r->zeros_room);
    const void **table = (const void **)(scratch + r->zeros_room);
    const void **planes = (const void **)(scratch + r->zeros_room + r->table_room);
    const ptrdiff_t work = BAND_OUTPUTS * r->residue->planes * r->residue->rows * r->lines * r->residues;
    for (ptrdiff_t u = share.begin; u < share.end && !fc_stopped_at(r->run, u - share.begin, work); u++)
        if (r->narrow) narrow_sums(r, u);
        else unit_sums(r, u, planes, scratch, table);
    fc_scratch_release(scratch);
}

/* Whether it could be planned. */
static int plan_rows(rows_job *r, fc_conv_job *j, const fc_correlation *residue, int lines, int residues,
                     const fc_groups *groups) {
    *r = (rows_job){.run = &j->run, .kernels = j->kernels, .size = j->size, .groups = groups,
                    .residue = residue, .lines = lines, .residues = residues};
    if (!fits(r)) return 0;
    ptrdiff_t outputs = 0, width = 0, entries = 0;
    for (int line = 0; line < lines; line++) {
        const fc_direct_lines d = fc_direct_lines_of(&residue[line * residues], residues);
        r->of_line[line] = d;
        outputs = max(outputs, d.outputs);
        width = max(width, d.width);
        entries = max(entries, fc_direct_lines_entries(&d));
    }
    r->band_rows = quotient_up(max(1, BAND_OUTPUTS / width), FC_DIRECT_BLOCK) * FC_DIRECT_BLOCK;
    r->bands = quotient_up(outputs, r->band_rows);
    r->units = residue->images * groups->count * r->bands;
    r->narrow = lines * residues == 1 && fc_direct_is_narrow(j->kernels, residue);
    if (r->narrow)
        r->units = quotient_up(residue->images, narrow_images(r)) * quotient_up(groups->count, narrow_groups(r));
    r->parts = min(r->units, j->run.threads);
    r->zeros_room = fc_aligned(residue->axis[1].size * j->size);
    r->table_room = fc_aligned(entries * (ptrdiff_t)sizeof(void *));
    r->planes_room = fc_aligned(residue->planes * (ptrdiff_t)sizeof(void *));
    return 1;
}

int fc_direct_in_place(fc_conv_job *j, const fc_correlation *residue, int lines, int residues,
                       const fc_groups *groups) {
    rows_job r;
    if (!plan_rows(&r, j, residue, lines, residues, groups)) return 0;
    fc_parallel(&j->run, (int)r.parts, rows_task, &r);
    return 1;
}

size_t fc_direct_in_place_room(fc_conv_job *j, const fc_correlation *c, const fc_groups *groups) {
    rows_job r;
    if (!plan_rows(&r, j, c, 1, 1, groups)) return 0;
    return (r.zeros_room + r.table_room + r.planes_room) * (size_t)r.parts;
}
