/* Which problems Winograd's algorithms can do, and which of them they take unasked. */
#include <math.h>

#include "../../arithmetic.h"
#include "shared.h"

enum { MAX_LANES = 16 };

ptrdiff_t fc_winograd_planes(const fc_winograd_form *form, ptrdiff_t channels, ptrdiff_t lanes) {
    return form->stride == 1 ? channels : form->stride * form->stride * quotient_up(channels, lanes) * lanes;
}

double fc_winograd_tile_bytes(const fc_winograd_form *form, ptrdiff_t size, ptrdiff_t channels, int adjacent) {
    const ptrdiff_t lanes = MAX_LANES * 4 / size, panel = (form->spread ? 6 : 3) * lanes;
    const ptrdiff_t planes = fc_winograd_planes(form, channels, lanes), residues = form->stride * form->stride;
    const ptrdiff_t transformed = form->points * (quotient_up(planes, FC_WINOGRAD_CHAIN) * FC_WINOGRAD_CHAIN + panel);
    const ptrdiff_t of_copy = 2 * residues * ((adjacent ? channels : 0) + lanes);
    const ptrdiff_t copied = form->tile[0] * form->tile[1] * (panel + of_copy);
    return (double)size * ((double)transformed + (double)copied);
}

/* Of a kernel of so many rows and columns, of one stride; points are 0 if there is none. `accurate`: with the error of
 * direct sums, if there is one. */
static fc_winograd_form form_of(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t stride, int accurate) {
    static const struct {
        fc_winograd_shape shape;
        ptrdiff_t taps[2], tile[2];
        int accurate;
    } forms[] = {
        {FC_WINOGRAD_3X3_ACCURATE, {3, 3}, {2, 2}, 1}, {FC_WINOGRAD_3X3, {3, 3}, {4, 4}, 0},
        {FC_WINOGRAD_5X5, {5, 5}, {4, 2}, 0},          {FC_WINOGRAD_1X2, {1, 2}, {1, 5}, 0},
        {FC_WINOGRAD_1X3, {1, 3}, {1, 4}, 0},          {FC_WINOGRAD_1X5, {1, 5}, {1, 4}, 0},
        {FC_WINOGRAD_1X7, {1, 7}, {1, 2}, 0},          {FC_WINOGRAD_2X2, {2, 2}, {5, 5}, 0},
    };
    if (stride == 2 && rows == 3 && columns == 3)
        return (fc_winograd_form){.shape = FC_WINOGRAD_2X2, .stride = 2, .taps = {2, 2}, .tile = {5, 5}, .points = 36};
    for (size_t i = 0; stride == 1 && i < sizeof forms / sizeof *forms; i++) {
        const int upright = columns == 1, down = upright ? 1 : 0;
        const ptrdiff_t *taps = forms[i].taps, *tile = forms[i].tile;
        if (taps[down] != rows || taps[1 - down] != columns || forms[i].accurate > accurate) continue;
        return (fc_winograd_form){.shape = forms[i].shape, .upright = upright, .stride = 1, .taps = {rows, columns},
                                  .tile = {tile[down], tile[1 - down]},
                                  .points = (taps[0] + tile[0] - 1) * (taps[1] + tile[1] - 1)};
    }
    return (fc_winograd_form){.points = 0};
}

/* Kernels of 2x2 are not measured; the residues of a stride are. */
fc_winograd_form fc_winograd_form_for(fc_op op, const fc_conv_problem *p) {
    fc_winograd_form form = form_of(p->kernel[1], p->kernel[2],
                                    p->stride[1] == p->stride[2] ? p->stride[1] : 0, p->accurate);
    if (form.shape == FC_WINOGRAD_2X2 && form.stride == 1) return (fc_winograd_form){.points = 0};
    if (op == FC_BACKWARD_DATA && form.points && form.stride == 2) {
        form.stride = 1;
        form.spread = 1;
    }
    return form;
}

static ptrdiff_t dilation_of(const fc_conv_problem *p, int axis) { return p->kernel[axis] > 1 ? p->dilation[axis] : 1; }

/* Outputs along an axis; of the residues of a stride, which have tiles in common, of one. */
static ptrdiff_t outputs_along(fc_op op, const fc_conv_problem *p, int axis) {
    return op == FC_BACKWARD_DATA ? quotient_up(p->in_size[axis], p->stride[axis]) : p->out_size[axis];
}

/* Tiles of all residues of a dilation. */
static double tiles_along(fc_op op, const fc_conv_problem *p, int axis) {
    const ptrdiff_t of_residue = quotient_up(outputs_along(op, p, axis), dilation_of(p, axis));
    return (double)dilation_of(p, axis) * (double)quotient_up(of_residue, fc_winograd_form_for(op, p).tile[axis - 1]);
}

static int is_adjacent(const ptrdiff_t strides[5]) { return strides[1] == 1 || strides[4] == 1; }

const char *fc_winograd_refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    const fc_conv_problem *p = &problem->conv;
    (void)path;
    const fc_winograd_form form = fc_winograd_form_for(op, p);
    if (op == FC_BACKWARD_DATA && p->stride[0] > 1) return "the stride of the first axis is not 1";
    if (!form.points && (p->stride[1] > 1 || p->stride[2] > 1)) return "the stride is not 1, or 2 of 3x3 kernels";
    if (!form.points) return "the kernel is not 3x3, 5x5, or 2, 3, 5 or 7 along one axis";
    const int strided = form.stride > 1 || form.spread;
    if (strided && (p->dilation[1] > 1 || p->dilation[2] > 1)) return "dilated kernels have a stride";
    for (int i = 1; i < 3; i++)
        if (dilation_of(p, i) > min(p->in_size[i], p->out_size[i])) return "the dilation is larger than the image";
    if (form.spread && (p->in_size[1] < 2 || p->in_size[2] < 2)) return "dx has a residue of no positions";
    if (p->batch == 0) return NULL; /* whatever its strides are */
    if (!is_adjacent(p->x_strides) || !is_adjacent(p->y_strides)) return "neither channels nor columns are adjacent";
    const ptrdiff_t C = p->in_channels / p->groups, K = p->out_channels / p->groups;
    const ptrdiff_t size = p->call.dtype == FC_FLOAT64 ? 8 : 4;
    const ptrdiff_t channels = (op == FC_BACKWARD_DATA ? K : C) * p->kernel[0];
    const int adjacent = (op == FC_BACKWARD_DATA ? p->y_strides : p->x_strides)[1] == 1;
    const double of_a_tile = op == FC_BACKWARD_WEIGHTS ? fc_winograd_weights_tile(&form, size)
                                                       : fc_winograd_tile_bytes(&form, size, channels, adjacent);
    if (of_a_tile * (double)dilation_of(p, 2) > FC_WINOGRAD_LINE_BYTES) return "a row of tiles passes the workspace";
    return NULL;
}

/* Cycles of 32 multiply-adds, for a channel in and a channel out, at which it took the time of gathered GEMMs:
 * of a tile in the GEMMs and in the transforms of one channel, and of the weights, or their gradient, whose
 * transform is a matter of memory when they are many. 3x3 is fitted to 1700 problems of 16 to 512 channels, images of
 * 1x1 to 28x28 and batches of 1 to 32, in float32 and float64, with AVX-512: the choice cost 0.2 % of the time and
 * 2 % of dw for images of 4x4 and more, of smaller ones 1 % and 5 %. The others to 3800 in float32, signals of 4
 * to 4096 and images of 3x3 to 55x55: it cost 1 to 2 %, at worst (few outputs, many weights) 1.5 to 2.9 times the
 * other way; 3x3 of stride 2 to 600 images of 11x11 to 120x120: it cost 2 to 3 %. bench/compare.py with --algorithm
 * measures the same. */
typedef struct {
    double tile, transforms, weights, many_weights;
} costs;
static const costs OF_SUMS[FC_WINOGRAD_SHAPES] = {
    [FC_WINOGRAD_3X3] = {1.75, 0, 0, 0}, [FC_WINOGRAD_3X3_ACCURATE] = {0.72, 2, 0, 0},
    [FC_WINOGRAD_5X5] = {0.96, 2, 6, 0}, [FC_WINOGRAD_2X2] = {6.2, 40, 32, 0},
    [FC_WINOGRAD_1X2] = {0.28, 2, 1, 0}, [FC_WINOGRAD_1X3] = {0.28, 0, 1, 0},
    [FC_WINOGRAD_1X5] = {0.39, 0, 1, 0}, [FC_WINOGRAD_1X7] = {0.43, 0, 0, 0},
};
static const costs OF_GRADIENT[FC_WINOGRAD_SHAPES] = {
    [FC_WINOGRAD_3X3] = {2.25, 0, 4, 0.02}, [FC_WINOGRAD_3X3_ACCURATE] = {0.8, 2, 6, 0},
    [FC_WINOGRAD_5X5] = {2.56, 0, 8, 0},    [FC_WINOGRAD_2X2] = {7.2, 6, 32, 0},
    [FC_WINOGRAD_1X2] = {0.3, 0, 5, 0},     [FC_WINOGRAD_1X3] = {0.29, 0, 4, 0},
    [FC_WINOGRAD_1X5] = {0.43, 0, 4, 0},    [FC_WINOGRAD_1X7] = {0.43, 0, 2, 0},
};
/* Of dx with stride 2; to 2500 problems of 16 to 512 channels, images of 7x7 to 112x112, half of them in float64: the
 * choice cost 1.3 %, never to take them 11 %. */
static const costs OF_SPREAD = {6, 0, 8, 0.05};
static const double OF_A_TAP = 0.375 / 9, MARGIN = 1.05;
enum { MIN_CHANNELS = 16, MAX_CHANNELS = 2048 /* of more, too few tiles fit a block */ };

/* Of the taps of all outputs along an axis, those that lie inside. */
static double share_inside(const fc_conv_problem *p, int axis) {
    double inside = 0;
    for (ptrdiff_t t = 0; t < p->kernel[axis]; t++) {
        const ptrdiff_t reach = t * p->dilation[axis];
        const ptrdiff_t end = min(p->out_size[axis], p->in_size[axis] + p->pad[axis] - reach);
        inside += (double)max(0, end - max(0, p->pad[axis] - reach));
    }
    return inside / ((double)p->out_size[axis] * (double)p->kernel[axis]);
}

static int suits(fc_op op, const fc_conv_problem *p) {
    const fc_winograd_form form = fc_winograd_form_for(op, p);
    if (!form.points || (p->accurate && form.shape != FC_WINOGRAD_3X3_ACCURATE)) return 0;
    double C = (double)(p->in_channels / p->groups), K = (double)(p->out_channels / p->groups);
    *(op == FC_BACKWARD_DATA ? &K : &C) *= (double)p->kernel[0];
    if (C < MIN_CHANNELS || K < MIN_CHANNELS || (op == FC_BACKWARD_DATA ? K : C) > MAX_CHANNELS) return 0;
    const costs *of = form.spread ? &OF_SPREAD : &(op == FC_BACKWARD_WEIGHTS ? OF_GRADIENT : OF_SUMS)[form.shape];
    const double images = (double)p->batch * (double)outputs_along(op, p, 0);
    const double tiles = images * tiles_along(op, p, 1) * tiles_along(op, p, 2);
    const double cycles = tiles * (of->tile + of->transforms * (1 / C + 1 / K)) + of->weights +
                          of->many_weights * sqrt(C * K);
    /* Gathered GEMMs leave out what is in the padding: about all if it is wide, as with dilation, in dw some. */
    const double inside = share_inside(p, 1) * share_inside(p, 2);
    double taps = (double)p->kernel[1] * (double)p->kernel[2];
    if (dilation_of(p, 1) > 1 || dilation_of(p, 2) > 1) taps *= inside;
    else if (op == FC_BACKWARD_WEIGHTS) taps *= sqrt(inside);
    const double outputs = images * (double)outputs_along(op, p, 1) * (double)outputs_along(op, p, 2);
    return MARGIN * cycles < OF_A_TAP * taps * outputs;
}

const char *fc_winograd_doubt(fc_op op, const fc_problem *problem) {
    return suits(op, &problem->conv) ? NULL : "gathered GEMMs are estimated to take less time";
}
