/* Body of naive.c for one element type FC_DTYPE; included once per type.
 * In the loops t_ is a kernel tap, i_ a position in x, o_ a position in y. */

/* x at (n, c, i_d, i_h, i_w), zero outside. */
static double FC_JOIN(padded_, FC_DTYPE)(const fc_conv_problem *p, const FC_DTYPE *x, ptrdiff_t n,
                                         ptrdiff_t c, ptrdiff_t i_d, ptrdiff_t i_h, ptrdiff_t i_w) {
    if (i_d < 0 || i_d >= p->in_size[0]) return 0;
    if (i_h < 0 || i_h >= p->in_size[1]) return 0;
    if (i_w < 0 || i_w >= p->in_size[2]) return 0;
    const ptrdiff_t *s = p->x_strides;
    return x[n * s[0] + c * s[1] + i_d * s[2] + i_h * s[3] + i_w * s[4]];
}

static void FC_JOIN(forward_, FC_DTYPE)(const fc_conv_problem *p, const fc_arrays *a,
                                        fc_run *r) {
    const FC_DTYPE *x = a->x, *w = a->w, *b = a->b;
    FC_DTYPE *y = a->y;
    const ptrdiff_t C = p->in_channels / p->groups, K = p->out_channels / p->groups;
    const ptrdiff_t *ws = p->w_strides, *ys = p->y_strides;
    for (ptrdiff_t n = 0; n < p->batch; n++)
    for (ptrdiff_t k = 0; k < p->out_channels; k++)
    for (ptrdiff_t o_d = 0; o_d < p->out_size[0]; o_d++)
    for (ptrdiff_t o_h = 0; o_h < p->out_size[1] && !fc_stopped(r); o_h++)
    for (ptrdiff_t o_w = 0; o_w < p->out_size[2]; o_w++) {
        double sum = b ? b[k] : 0;
        for (ptrdiff_t c = 0; c < C; c++)
        for (ptrdiff_t t_d = 0; t_d < p->kernel[0]; t_d++)
        for (ptrdiff_t t_h = 0; t_h < p->kernel[1]; t_h++)
        for (ptrdiff_t t_w = 0; t_w < p->kernel[2]; t_w++)
            sum += FC_JOIN(padded_, FC_DTYPE)(p, x, n, k / K * C + c,
                                              o_d * p->stride[0] - p->pad[0] + t_d * p->dilation[0],
                                              o_h * p->stride[1] - p->pad[1] + t_h * p->dilation[1],
                                              o_w * p->stride[2] - p->pad[2] + t_w * p->dilation[2]) *
                   (double)w[k * ws[0] + c * ws[1] + t_d * ws[2] + t_h * ws[3] + t_w * ws[4]];
        if (p->relu && sum < 0) sum = 0;
        y[n * ys[0] + k * ys[1] + o_d * ys[2] + o_h * ys[3] + o_w * ys[4]] = (FC_DTYPE)sum;
    }
}

/* dx at one position; a sum that is NaN stays NaN, and may end there. */
static FC_DTYPE FC_JOIN(data_gradient_, FC_DTYPE)(const fc_conv_problem *p, const fc_arrays *a,
                                                  ptrdiff_t n, ptrdiff_t c, const ptrdiff_t i[3],
                                                  int end_at_nan) {
    const FC_DTYPE *dy = a->y, *w = a->w, *b = a->b;
    const ptrdiff_t C = p->in_channels / p->groups, K = p->out_channels / p->groups;
    const ptrdiff_t *ws = p->w_strides, *ys = p->y_strides;
    double sum = b ? b[c] : 0;
    for (ptrdiff_t k = c / C * K; k < (c / C + 1) * K; k++)
    for (ptrdiff_t t_d = 0; t_d < p->kernel[0]; t_d++)
    for (ptrdiff_t t_h = 0; t_h < p->kernel[1]; t_h++)
    for (ptrdiff_t t_w = 0; t_w < p->kernel[2]; t_w++) {
        const ptrdiff_t o_d = output_of(p, 0, i[0], t_d);
        const ptrdiff_t o_h = output_of(p, 1, i[1], t_h);
        const ptrdiff_t o_w = output_of(p, 2, i[2], t_w);
        if (o_d < 0 || o_h < 0 || o_w < 0) continue;
        sum += (double)dy[n * ys[0] + k * ys[1] + o_d * ys[2] + o_h * ys[3] + o_w * ys[4]] *
               (double)w[k * ws[0] + c % C * ws[1] + t_d * ws[2] + t_h * ws[3] + t_w * ws[4]];
        if (end_at_nan && sum != sum) return (FC_DTYPE)sum;
    }
    return (FC_DTYPE)sum;
}

/* All of dx, or only what is NaN and has a tap beside dy. */
static void FC_JOIN(backward_data_, FC_DTYPE)(const fc_conv_problem *p, const fc_arrays *a,
                                              fc_run *r, int only_nan_at_edges) {
    FC_DTYPE *dx = a->x;
    const ptrdiff_t *xs = p->x_strides;
    ptrdiff_t i[3];
    for (ptrdiff_t n = 0; n < p->batch; n++)
    for (ptrdiff_t c = 0; c < p->in_channels; c++)
    for (i[0] = 0; i[0] < p->in_size[0]; i[0]++)
    for (i[1] = 0; i[1] < p->in_size[1] && !fc_stopped(r); i[1]++)
    for (i[2] = 0; i[2] < p->in_size[2]; i[2]++) {
        FC_DTYPE *element = dx + n * xs[0] + c * xs[1] + i[0] * xs[2] + i[1] * xs[3] + i[2] * xs[4];
        if (only_nan_at_edges && (*element == *element || !is_edge(p, i))) continue;
        *element = FC_JOIN(data_gradient_, FC_DTYPE)(p, a, n, c, i, only_nan_at_edges);
    }
}

static void FC_JOIN(backward_weights_, FC_DTYPE)(const fc_conv_problem *p, const fc_arrays *a,
                                                 fc_run *r) {
    const FC_DTYPE *dy = a->y, *x = a->x;
    FC_DTYPE *dw = a->w;
    const ptrdiff_t C = p->in_channels / p->groups, K = p->out_channels / p->groups;
    const ptrdiff_t *ws = p->w_strides, *ys = p->y_strides;
    for (ptrdiff_t k = 0; k < p->out_channels; k++)
    for (ptrdiff_t c = 0; c < C; c++)
    for (ptrdiff_t t_d = 0; t_d < p->kernel[0]; t_d++)
    for (ptrdiff_t t_h = 0; t_h < p->kernel[1]; t_h++)
    for (ptrdiff_t t_w = 0; t_w < p->kernel[2] && !fc_stopped(r); t_w++) {
        double sum = 0;
        for (ptrdiff_t n = 0; n < p->batch; n++)
        for (ptrdiff_t o_d = 0; o_d < p->out_size[0]; o_d++)
        for (ptrdiff_t o_h = 0; o_h < p->out_size[1]; o_h++)
        for (ptrdiff_t o_w = 0; o_w < p->out_size[2]; o_w++)
            sum += (double)dy[n * ys[0] + k * ys[1] + o_d * ys[2] + o_h * ys[3] + o_w * ys[4]] *
                   FC_JOIN(padded_, FC_DTYPE)(p, x, n, k / K * C + c,
                                              o_d * p->stride[0] - p->pad[0] + t_d * p->dilation[0],
                                              o_h * p->stride[1] - p->pad[1] + t_h * p->dilation[1],
                                              o_w * p->stride[2] - p->pad[2] + t_w * p->dilation[2]);
        dw[k * ws[0] + c * ws[1] + t_d * ws[2] + t_h * ws[3] + t_w * ws[4]] = (FC_DTYPE)sum;
    }
}

static void FC_JOIN(backward_bias_, FC_DTYPE)(const fc_conv_problem *p, const fc_arrays *a) {
    const FC_DTYPE *dy = a->y;
    FC_DTYPE *db = a->b;
    const ptrdiff_t *ys = p->y_strides;
    for (ptrdiff_t k = 0; k < p->out_channels; k++) {
        double sum = 0;
        for (ptrdiff_t n = 0; n < p->batch; n++)
        for (ptrdiff_t o_d = 0; o_d < p->out_size[0]; o_d++)
        for (ptrdiff_t o_h = 0; o_h < p->out_size[1]; o_h++)
        for (ptrdiff_t o_w = 0; o_w < p->out_size[2]; o_w++)
            sum += dy[n * ys[0] + k * ys[1] + o_d * ys[2] + o_h * ys[3] + o_w * ys[4]];
        db[k] = (FC_DTYPE)sum;
    }
}
