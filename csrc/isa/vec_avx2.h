/* AVX2 and FMA: 16 registers of 8 floats or 4 doubles. */
#include <immintrin.h>

#define FC_ISA avx2
#define FC_TARGET FC_TARGET_ATTRIBUTE("avx2,fma")
#define FC_REGISTERS 16
