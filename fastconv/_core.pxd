cdef extern from "fastconv.h" nogil:
    ctypedef enum fc_status:
        FC_OK
        FC_NO_MEMORY
        FC_INTERRUPTED
        FC_FORKED
        FC_REFUSED
        FC_OUT_OF_RANGE

    ctypedef enum fc_dtype:
        FC_FLOAT32
        FC_FLOAT64

    ctypedef int (*fc_question)() noexcept nogil

    ctypedef struct fc_call:
        fc_dtype dtype
        int isa
        int threads
        fc_question interrupted

    ctypedef struct fc_conv_problem:
        fc_call call
        int accurate
        int relu
        int has_w
        int has_b
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

    ctypedef enum fc_element:
        FC_UINT8
        FC_INT8
        FC_UINT16
        FC_INT16
        FC_ELEMENT_FLOAT32
        FC_UINT32
        FC_INT32
        FC_ELEMENT_FLOAT64

    ctypedef struct fc_pool_problem:
        fc_call call
        fc_element element
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

    ctypedef struct fc_scatter_problem:
        fc_call call
        int channels_last
        int add
        ptrdiff_t batch
        ptrdiff_t channels
        ptrdiff_t count
        ptrdiff_t plane

    ctypedef struct fc_columns_problem:
        fc_call call
        ptrdiff_t batch
        ptrdiff_t channels
        ptrdiff_t in_size[3]
        ptrdiff_t kernel[3]
        ptrdiff_t out_size[3]
        ptrdiff_t stride[3]
        ptrdiff_t dilation[3]
        ptrdiff_t pad[3]

    ctypedef enum fc_op:
        FC_FORWARD
        FC_BACKWARD_DATA
        FC_BACKWARD_WEIGHTS
        FC_MAX_POOL
        FC_AVG_POOL
        FC_AVG_POOL_BACKWARD
        FC_SCATTER
        FC_IM2COL
        FC_COL2IM

    ctypedef union fc_problem:
        fc_call call
        fc_conv_problem conv
        fc_pool_problem pool
        fc_scatter_problem scatter
        fc_columns_problem columns

    ctypedef struct fc_weights:
        pass

    ctypedef struct fc_arrays:
        void *x
        void *w
        void *b
        void *y
        long long *indices
        const fc_weights *weights

    ctypedef struct fc_plan:
        pass

    ctypedef struct fc_candidate:
        const char *name
        int exact
        const char *refusal
        const char *doubt
        double cycles

    ctypedef struct fc_description:
        const char *path
        const char *fallback
        const char *how
        ptrdiff_t tile[2]
        ptrdiff_t block[3]
        ptrdiff_t tasks
        size_t workspace
        size_t packed

    const char *fc_path_name(fc_op op, int index)
    const char *fc_path_refusal(fc_op op, const char *path, const fc_problem *problem)
    int fc_find_candidate(fc_op op, const fc_problem *problem, int index, fc_candidate *candidate)
    fc_status fc_plan_create(fc_op op, const char *path, const fc_problem *problem, fc_plan **plan)
    void fc_plan_free(fc_plan *plan)
    fc_status fc_plan_run(const fc_plan *plan, const fc_arrays *arrays, fc_question interrupted)
    fc_status fc_plan_prepare(const fc_plan *plan, const void *w, fc_question interrupted,
                              fc_weights **weights)
    void fc_weights_free(fc_weights *weights)
    void fc_plan_describe(const fc_plan *plan, fc_description *description)

    int fastconv_get_num_threads()
    void fastconv_set_num_threads(int count)
    const char *fc_isa_name(int index)
    int fc_isa_available(int index)

    ctypedef struct fc_norm_problem:
        fc_call call
        ptrdiff_t outer
        ptrdiff_t channels
        ptrdiff_t inner
        int relu

    ctypedef struct fc_norm_gradient:
        const void *dy
        const void *x
        const void *y
        const double *mean
        const double *inv_std
        const double *gamma
        double *dgamma
        double *dbeta
        void *dx
        void *dz
        int has_negative

    fc_status fc_moments(const fc_norm_problem *problem, const void *x, double *mean,
                         double *squares)
    fc_status fc_norm_backward(const fc_norm_problem *problem, fc_norm_gradient *gradient)
    fc_status fc_norm_apply(const fc_norm_problem *problem, const void *x, const double *mean,
                            const double *a, const double *b, const void *residual, void *y)

    ctypedef enum fc_activation:
        FC_RELU
        FC_SIGMOID

    ctypedef struct fc_activation_problem:
        fc_call call
        fc_activation activation
        ptrdiff_t count

    fc_status fc_activate(const fc_activation_problem *problem, const void *x, const void *dy, void *y)

    ctypedef struct fc_affine_problem:
        fc_call call
        ptrdiff_t rows
        ptrdiff_t cols

    fc_status fc_add_bias(const fc_affine_problem *problem, const void *bias, void *y)
    fc_status fc_sum_rows(const fc_affine_problem *problem, const void *dy, double *sums)

    ctypedef struct fc_softmax_problem:
        fc_call call
        ptrdiff_t batch
        ptrdiff_t classes

    fc_status fc_softmax_cross_entropy(const fc_softmax_problem *problem, const void *scores,
                                       const long long *labels, double *loss, void *gradient)
