/* Batch norm: norm.tmpl.h says what each kernel does. */
#ifndef FC_KERNELS_NORM_H
#define FC_KERNELS_NORM_H

#include <stddef.h>

typedef struct {
    void (*moments_run)(ptrdiff_t count, const void *x, double *mean, double *squares);
    void (*moments_rows)(ptrdiff_t rows, ptrdiff_t channels, const void *x, ptrdiff_t stride, double *mean,
                         double *squares);
    void (*products_run)(ptrdiff_t count, const void *dy, const void *x, double mean, double *sum, double *product);
    void (*products_rows)(ptrdiff_t rows, ptrdiff_t channels, const void *dy, const void *x, ptrdiff_t stride,
                          const double *mean, double *sum, double *product);
    void (*apply_run)(ptrdiff_t count, const void *x, double mean, double a, double b, const void *dy, double d,
                      void *y);
    void (*apply_rows)(ptrdiff_t rows, ptrdiff_t channels, const void *x, ptrdiff_t stride, const double *mean,
                       const double *a, const double *b, const void *dy, const double *d, void *y);
    void (*finish)(ptrdiff_t count, const void *residual, int relu, void *y);
    int (*relu_gradient)(ptrdiff_t count, const void *y, const void *dy, void *dz);
} fc_norm_kernels;

#endif
