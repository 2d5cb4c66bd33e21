/* Products with packed panels: panels.tmpl.h. */
#ifndef FC_KERNELS_PANELS_H
#define FC_KERNELS_PANELS_H

#include <stddef.h>

enum { FC_PANEL_VECTORS = 2 }; /* vectors across the widest panel */

/* c[i][j] = from + sum over d < depth of a_rows[i][d * a_step] * b[d][j], where b is a panel: `depth` lines of as many
 * whole vectors as the register tile has, one after the other. `from` is what c holds if accumulate, then without
 * a bias, else bias[i], or 0 without one. */
typedef struct {
    ptrdiff_t depth;
    const void *const *a_rows;
    ptrdiff_t a_step; /* elements between terms */
    const void *b;
    void *c;
    ptrdiff_t c_row; /* elements between its rows */
    const void *bias;
    int accumulate;
    int relu; /* c = max(c, 0), NaN kept */
} fc_panel_tile;

typedef void (*fc_panel_kernel)(const fc_panel_tile *tile);

/* target[i * target_step + j] = source[i * width + j], i < panels, j < width, a panel's width. */
typedef void (*fc_to_panels_kernel)(ptrdiff_t panels, const void *source, void *target, ptrdiff_t target_step);

#endif
