cdef extern from "fastconv.h" nogil:
    ctypedef enum fc_status:
        FC_OK
        FC_NO_MEMORY
        FC_INTERRUPTED
        FC_FORKED
        FC_REFUSED

    ctypedef enum fc_dtype:
        FC_FLOAT32
        FC_FLOAT64

    ctypedef enum fc_conv_op:
        FC_FORWARD
        FC_BACKWARD_DATA
        FC_BACKWARD_WEIGHTS

    ctypedef struct fc_conv_problem:
        fc_dtype dtype
        int isa
        int threads
        int (*interrupted)() noexcept nogil
        int accurate
        int relu
        ptrdiff_t batch
        ptrdiff_t groups
        ptrdiff_t in_channels
        ptrdiff_t out_channels
        ptrdiff_t in_size[3]
        ptrdiff_t kernel[3]
        ptrdiff_t out_size[3]
        ptrdiff_t stride[3]
        ptrdiff_t dilation[3]
        ptrdiff_t pad[3]
        ptrdiff_t x_strides[5]
        ptrdiff_t w_strides[5]
        ptrdiff_t y_strides[5]

    ctypedef struct fc_conv_weights:
        pass

    ctypedef struct fc_conv_arrays:
        void *x
        void *w
        void *b
        void *y
        const fc_conv_weights *prepared

    ctypedef struct fc_conv_description:
        const char *algorithm
        const char *how
        size_t workspace
        size_t packed

    int fastconv_get_num_threads()
    void fastconv_set_num_threads(int count)
    const char *fc_isa_name(int index)
    int fc_isa_available(int index)
    const char *fc_conv_algorithm_name(int index)
    const char *fc_conv_refusal(fc_conv_op op, const char *algorithm,
                                const fc_conv_problem *problem)
    fc_status fc_conv_run(fc_conv_op op, const char *algorithm, const fc_conv_problem *problem,
                          const fc_conv_arrays *arrays)
    fc_status fc_conv_prepare(const char *algorithm, const fc_conv_problem *problem,
                              const fc_conv_arrays *arrays, fc_conv_weights **weights)
    void fc_conv_free_weights(fc_conv_weights *weights)
    void fc_conv_describe(const char *algorithm, const fc_conv_problem *problem,
                          fc_conv_description *description)

    ctypedef enum fc_element:
        FC_UINT8
        FC_INT8
        FC_UINT16
        FC_INT16
        FC_ELEMENT_FLOAT32
        FC_UINT32
        FC_INT32
        FC_ELEMENT_FLOAT64

    ctypedef enum fc_pool_op:
        FC_MAX_POOL
        FC_AVG_POOL

    ctypedef struct fc_pool_problem:
        fc_element element
        int isa
        int threads
        int (*interrupted)() noexcept nogil
        int channels_last
        int adaptive
        ptrdiff_t batch
        ptrdiff_t channels
        ptrdiff_t in_size[3]
        ptrdiff_t kernel[3]
        ptrdiff_t out_size[3]
        ptrdiff_t stride[3]
        ptrdiff_t dilation[3]
        ptrdiff_t pad[3]
        ptrdiff_t pad_after[3]
        double divisor
        int count_include_pad

    fc_status fc_pool_forward(fc_pool_op op, const fc_pool_problem *problem, const void *x, void *y,
                              long long *indices)
    fc_status fc_avg_pool_backward(const fc_pool_problem *problem, const void *dy, void *dx)

    ctypedef struct fc_scatter_problem:
        fc_dtype dtype
        int isa
        int threads
        int (*interrupted)() noexcept nogil
        int channels_last
        int add
        ptrdiff_t batch
        ptrdiff_t channels
        ptrdiff_t count
        ptrdiff_t plane

    fc_status fc_scatter(const fc_scatter_problem *problem, const void *dy,
                         const long long *indices, void *dx)

    ctypedef struct fc_columns_problem:
        fc_dtype dtype
        int isa
        int threads
        int (*interrupted)() noexcept nogil
        ptrdiff_t batch
        ptrdiff_t channels
        ptrdiff_t in_size[3]
        ptrdiff_t kernel[3]
        ptrdiff_t out_size[3]
        ptrdiff_t stride[3]
        ptrdiff_t dilation[3]
        ptrdiff_t pad[3]

    fc_status fc_im2col(const fc_columns_problem *problem, const void *x, void *cols)
    fc_status fc_col2im(const fc_columns_problem *problem, const void *cols, void *x)

    ctypedef struct fc_norm_problem:
        fc_dtype dtype
        int isa
        int threads
        int (*interrupted)() noexcept nogil
        ptrdiff_t outer
        ptrdiff_t channels
        ptrdiff_t inner

    fc_status fc_moments(const fc_norm_problem *problem, const void *x, double *mean,
                         double *squares)
    fc_status fc_norm_backward(const fc_norm_problem *problem, const void *dy, const void *x,
                               const double *mean, const double *inv_std, const double *gamma,
                               double *dgamma, double *dbeta, void *dx)
    fc_status fc_norm_apply(const fc_norm_problem *problem, const void *x, const double *mean,
                            const double *a, const double *b, const void *dy, const double *d, void *y)

    ctypedef enum fc_activation:
        FC_RELU
        FC_SIGMOID

    ctypedef struct fc_activation_problem:
        fc_activation activation
        fc_dtype dtype
        int isa
        int threads
        int (*interrupted)() noexcept nogil
        ptrdiff_t count

    fc_status fc_activate(const fc_activation_problem *problem, const void *x, const void *dy, void *y)

    ctypedef struct fc_affine_problem:
        fc_dtype dtype
        int isa
        int threads
        int (*interrupted)() noexcept nogil
        ptrdiff_t rows
        ptrdiff_t cols

    fc_status fc_add_bias(const fc_affine_problem *problem, const void *bias, void *y)
    fc_status fc_sum_rows(const fc_affine_problem *problem, const void *dy, double *sums)

    ctypedef struct fc_softmax_problem:
        fc_dtype dtype
        int isa
        int threads
        int (*interrupted)() noexcept nogil
        ptrdiff_t batch
        ptrdiff_t classes

    fc_status fc_softmax_cross_entropy(const fc_softmax_problem *problem, const void *scores,
                                       const long long *labels, double *loss, void *gradient)
