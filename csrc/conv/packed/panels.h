/* What outputs of a correlation read, packed into panels, and the weights of a register tile. */
#ifndef FC_PACKED_PANELS_H
#define FC_PACKED_PANELS_H

#include "../../kernels/kernels.h"
#include "../../platform/threads.h"
#include "../correlation.h"

/* Where what is packed comes from. Outputs are counted over images, lines and columns, in this order. */
typedef struct {
    const fc_correlation *c;
    const fc_kernels *kernels;
    ptrdiff_t size;       /* bytes of an element */
    ptrdiff_t last_plane; /* the highest of c->x_plane */
} fc_panel_source;

/* Elements across all panels but the last, which has whole vectors for what is left. */
static inline ptrdiff_t fc_panel_width(const fc_kernels *k) { return (ptrdiff_t)FC_PANEL_VECTORS * k->lanes; }

fc_panel_source fc_panel_source_of(const fc_correlation *c, const fc_kernels *kernels, ptrdiff_t size);

/* Outputs that read positions evenly apart: `count` from offset `from` of a plane, for the outputs from `to` on. */
typedef struct {
    ptrdiff_t from, to, count;
} fc_panel_run;

/* Panels of these outputs and terms: [panel][term][output of the panel]. There is room for as many runs as outputs, and
 * in `gathered` for one term of them and a panel more. Lanes beyond the outputs hold anything. */
void fc_pack_panels(const fc_panel_source *s, fc_units outputs, fc_units terms, fc_panel_run *runs, char *gathered,
                    char *target);

/* What the next block will read, on its way to L2 while this one is multiplied: cache lines of its runs, plane by
 * plane. */
typedef struct {
    const fc_panel_source *source;
    const fc_panel_run *runs;
    ptrdiff_t count, plane, run, bytes; /* runs of a plane; what is fetched next, and how far in that run */
} fc_panel_fetch;

/* What the first tap reads of these outputs. There is room for as many runs as outputs. */
fc_panel_fetch fc_start_fetch(const fc_panel_source *s, fc_units outputs, fc_panel_run *runs);
void fc_fetch_lines(fc_panel_fetch *fetch, ptrdiff_t lines);

/* [term][channel] of these channels' weights, of these terms. */
void fc_pack_tile_weights(const fc_panel_source *s, fc_units channels, fc_units terms, char *target);

#endif
