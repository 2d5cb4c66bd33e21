/* ReLU, sigmoid and softmax: activation.tmpl.h says what each kernel does. */
#ifndef FC_KERNELS_ACTIVATION_H
#define FC_KERNELS_ACTIVATION_H

#include <stddef.h>

typedef struct {
    void (*relu)(ptrdiff_t count, const void *x, const void *dy, void *y);
    void (*sigmoid)(ptrdiff_t count, const void *x, void *y);
    void (*sigmoid_gradient)(ptrdiff_t count, const void *y, const void *dy, void *dx);
    double (*softmax)(ptrdiff_t classes, const void *scores, ptrdiff_t label, double scale, void *gradient);
} fc_activation_kernels;

#endif
