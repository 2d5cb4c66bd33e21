/* What this processor can do. */
#include <stddef.h>

#include "../fastconv.h"
#include "../isa/isa_list.h"

static int has_portable(void) { return 1; }

#if FC_HAS_NEON
static int has_neon(void) { return 1; } /* part of every aarch64 */
#endif

#if FC_HAS_X86
/* The compiler's builtins ask cpuid for the instructions and xgetbv for the operating system. */
static int has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static int has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
#endif

typedef struct {
    const char *name;
    int (*available)(void);
    const fc_kernels *kernels[2]; /* fc_dtype */
} isa;

static const isa isas[] = {
#define FC_ISA_ROW(isa) {#isa, has_##isa, {&fc_kernels_float_##isa, &fc_kernels_double_##isa}},
    FC_FOR_EACH_ISA(FC_ISA_ROW)
#undef FC_ISA_ROW
};
enum { ISAS = sizeof isas / sizeof *isas };

const char *fc_isa_name(int index) { return index < ISAS ? isas[index].name : NULL; }

int fc_isa_available(int index) { return isas[index].available(); }

const fc_kernels *fc_find_kernels(int index, fc_dtype dtype) { return isas[index].kernels[dtype]; }
