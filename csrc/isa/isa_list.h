/* The instruction sets compiled in, best first: this one list feeds declarations and dispatch, and
 * through fc_isa_name the tests and benches. FC_FOR_EACH_ISA(X) expands X(name) for each. */
#ifndef FC_ISA_LIST_H
#define FC_ISA_LIST_H

#include "../compiler.h"
#include "../kernels/kernels.h"

#if FC_HAS_X86
#define FC_FOR_EACH_ISA(X) X(avx512) X(avx2) X(portable)
#elif FC_HAS_NEON
#define FC_FOR_EACH_ISA(X) X(neon) X(portable)
#else
#define FC_FOR_EACH_ISA(X) X(portable)
#endif

#define FC_DECLARE_KERNELS(isa)                     \
    extern const fc_kernels fc_kernels_float_##isa; \
    extern const fc_kernels fc_kernels_double_##isa;
FC_FOR_EACH_ISA(FC_DECLARE_KERNELS)
#undef FC_DECLARE_KERNELS

#endif
