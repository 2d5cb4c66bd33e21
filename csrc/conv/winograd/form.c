/* The forms of Winograd's algorithms, and what follows from one: planes, points, workspace, register tiles. */
#include "../../arithmetic.h"
#include "shared.h"

/* Taps and outputs of a tile of each shape; of those along one axis, along a line. */
static const struct {
    ptrdiff_t taps[2], tile[2];
} shapes[FC_WINOGRAD_SHAPES] = {
    [FC_WINOGRAD_3X3_ACCURATE] = {{3, 3}, {2, 2}}, [FC_WINOGRAD_3X3] = {{3, 3}, {4, 4}},
    [FC_WINOGRAD_5X5] = {{5, 5}, {4, 2}},          [FC_WINOGRAD_2X2] = {{2, 2}, {5, 5}},
    [FC_WINOGRAD_1X2] = {{1, 2}, {1, 5}},          [FC_WINOGRAD_1X3] = {{1, 3}, {1, 4}},
    [FC_WINOGRAD_1X5] = {{1, 5}, {1, 4}},          [FC_WINOGRAD_1X7] = {{1, 7}, {1, 2}},
};

/* Kernels of 2x2 with stride 1 are not measured, and have no form; the residues of a stride have. */
fc_winograd_form fc_winograd_form_of(fc_winograd_shape shape, fc_op op, const fc_conv_problem *p) {
    const ptrdiff_t *taps = shapes[shape].taps, *tile = shapes[shape].tile, *kernel = &p->kernel[1];
    const fc_winograd_form none = {.points = 0};
    const ptrdiff_t stride = shape == FC_WINOGRAD_2X2 ? 2 : 1;
    if (p->stride[1] != stride || p->stride[2] != stride) return none;
    const int upright = taps[0] == 1 && kernel[1] == 1;
    fc_winograd_form form = {.shape = shape, .upright = upright, .stride = 1};
    for (int i = 0; i < 2; i++) {
        form.taps[i] = taps[upright ? 1 - i : i];
        form.tile[i] = tile[upright ? 1 - i : i];
        if (kernel[i] != (stride == 2 ? 3 : form.taps[i])) return none;
    }
    form.points = (taps[0] + tile[0] - 1) * (taps[1] + tile[1] - 1);
    if (stride == 2 && op == FC_BACKWARD_DATA) form.spread = 1;
    else form.stride = stride;
    return form;
}

ptrdiff_t fc_winograd_planes(const fc_winograd_form *form, ptrdiff_t channels, ptrdiff_t lanes) {
    return form->stride == 1 ? channels : form->stride * form->stride * quotient_up(channels, lanes) * lanes;
}

int fc_winograd_lacks(const fc_winograd_form *form, ptrdiff_t point, ptrdiff_t pitch, ptrdiff_t begin, ptrdiff_t end) {
    FC_ASSERT(0 <= begin && begin < end);
    if (form->stride == 1) return 0;
    const ptrdiff_t lines = form->taps[0] + form->tile[0] - 1, columns = form->taps[1] + form->tile[1] - 1;
    const int down = point / columns == lines - 1, along = point % columns == columns - 1;
    for (ptrdiff_t residue = begin / pitch; residue <= (end - 1) / pitch; residue++)
        if (!(down && residue / 2 == 1) && !(along && residue % 2 == 1)) return 0;
    return 1;
}

double fc_winograd_tile_bytes(const fc_winograd_form *form, ptrdiff_t size, ptrdiff_t channels, int adjacent) {
    const ptrdiff_t lanes = FC_WINOGRAD_VECTOR_BYTES / size;
    const ptrdiff_t panel = (form->spread ? 2 : 1) * FC_WINOGRAD_PRODUCT_VECTORS * lanes;
    const ptrdiff_t planes = fc_winograd_planes(form, channels, lanes), residues = form->stride * form->stride;
    const ptrdiff_t transformed = form->points * (quotient_up(planes, FC_WINOGRAD_CHAIN) * FC_WINOGRAD_CHAIN + panel);
    const ptrdiff_t of_copy = 2 * residues * ((adjacent ? channels : 0) + lanes);
    const ptrdiff_t copied = form->tile[0] * form->tile[1] * (panel + of_copy);
    return (double)size * ((double)transformed + (double)copied);
}

double fc_winograd_weights_tile_bytes(const fc_winograd_form *form, ptrdiff_t size) {
    const ptrdiff_t lanes = FC_WINOGRAD_VECTOR_BYTES / size;
    const ptrdiff_t side = (form->tile[0] + form->taps[0] - 1) + (form->tile[1] + form->taps[1] - 1);
    return (1 + (double)(form->stride * form->stride)) * (double)((form->points + 2 * side) * lanes * size);
}

/* The lanes without channels are counted too. */
ptrdiff_t fc_winograd_tile_vectors(const fc_kernels *kernels, ptrdiff_t vectors, int widest) {
    double best = 0;
    ptrdiff_t tile_vectors = 1;
    FC_ASSERT(vectors > 0 && widest <= FC_MAX_TILE_VECTORS);
    for (int v = 1; v <= widest; v++) {
        const int rows = kernels->winograd_tile_rows[v - 1];
        const double cost = (double)(quotient_up(vectors, v) * v) * (1 + (double)(rows + v) / (rows * v));
        if (best != 0 && cost >= best) continue;
        best = cost;
        tile_vectors = v;
    }
    return tile_vectors;
}
