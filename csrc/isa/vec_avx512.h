/* AVX-512 F, DQ, BW, VL: 32 registers of 16 floats or 8 doubles. */
#include <immintrin.h>

#define FC_ISA avx512
#define FC_TARGET FC_TARGET_ATTRIBUTE("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#define FC_REGISTERS 32

/* A vector's first n elements, 0 <= n < lanes; the rest is not touched. */
#define FC_FIRST(n) ((1u << (n)) - 1)
