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
