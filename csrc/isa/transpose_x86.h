/* Transposes of strips, for AVX2 and what includes it: target[c * target_stride + r] = source[r * source_stride + c].
 * Rows are read 16 bytes at a time, so that their shuffles stay within such parts. */
#ifndef FC_TRANSPOSE_X86_H
#define FC_TRANSPOSE_X86_H

#include <immintrin.h>
#include <stddef.h>

#include "../compiler.h"

/* 4 rows, 4 columns. */
FC_INLINE FC_TARGET_ATTRIBUTE("avx2,fma") void transpose_4x4_float(const float *source, ptrdiff_t source_stride,
                                                                   float *target, ptrdiff_t target_stride) {
    __m128 q[4], t[4];
    FC_UNROLL for (int i = 0; i < 4; i++, source += source_stride) {
        q[i] = _mm_loadu_ps(source);
        FC_KEEP_POINTER(source);
    }
    FC_UNROLL for (int i = 0; i < 4; i += 2) {
        t[i] = _mm_unpacklo_ps(q[i], q[i + 1]);
        t[i + 1] = _mm_unpackhi_ps(q[i], q[i + 1]);
    }
    _mm_storeu_ps(target, _mm_shuffle_ps(t[0], t[2], 0x44));
    _mm_storeu_ps(target + target_stride, _mm_shuffle_ps(t[0], t[2], 0xee));
    _mm_storeu_ps(target + 2 * target_stride, _mm_shuffle_ps(t[1], t[3], 0x44));
    _mm_storeu_ps(target + 3 * target_stride, _mm_shuffle_ps(t[1], t[3], 0xee));
}

/* 8 rows, 4 columns. */
FC_INLINE FC_TARGET_ATTRIBUTE("avx2,fma") void transpose_8x4_float(const float *source, ptrdiff_t source_stride,
                                                                   float *target, ptrdiff_t target_stride) {
    const ptrdiff_t four = 4 * source_stride;
    __m256 q[4], t[4];
    FC_UNROLL for (int i = 0; i < 4; i++, source += source_stride) {
        q[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(source)), _mm_loadu_ps(source + four), 1);
        FC_KEEP_POINTER(source);
    }
    FC_UNROLL for (int i = 0; i < 4; i += 2) {
        t[i] = _mm256_unpacklo_ps(q[i], q[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(q[i], q[i + 1]);
    }
    _mm256_storeu_ps(target, _mm256_shuffle_ps(t[0], t[2], 0x44));
    _mm256_storeu_ps(target + target_stride, _mm256_shuffle_ps(t[0], t[2], 0xee));
    _mm256_storeu_ps(target + 2 * target_stride, _mm256_shuffle_ps(t[1], t[3], 0x44));
    _mm256_storeu_ps(target + 3 * target_stride, _mm256_shuffle_ps(t[1], t[3], 0xee));
}

/* 16 rows, 4 columns. */
FC_INLINE FC_TARGET_ATTRIBUTE("avx512f,avx512dq") void transpose_16x4_float(const float *source,
                                                                            ptrdiff_t source_stride, float *target,
                                                                            ptrdiff_t target_stride) {
    const ptrdiff_t four = 4 * source_stride, twelve = 12 * source_stride;
    __m512 q[4], t[4];
    FC_UNROLL for (int i = 0; i < 4; i++, source += source_stride) {
        q[i] = _mm512_castps128_ps512(_mm_loadu_ps(source));
        q[i] = _mm512_insertf32x4(q[i], _mm_loadu_ps(source + four), 1);
        q[i] = _mm512_insertf32x4(q[i], _mm_loadu_ps(source + 2 * four), 2);
        q[i] = _mm512_insertf32x4(q[i], _mm_loadu_ps(source + twelve), 3);
        FC_KEEP_POINTER(source);
    }
    FC_UNROLL for (int i = 0; i < 4; i += 2) {
        t[i] = _mm512_unpacklo_ps(q[i], q[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(q[i], q[i + 1]);
    }
    _mm512_storeu_ps(target, _mm512_shuffle_ps(t[0], t[2], 0x44));
    _mm512_storeu_ps(target + target_stride, _mm512_shuffle_ps(t[0], t[2], 0xee));
    _mm512_storeu_ps(target + 2 * target_stride, _mm512_shuffle_ps(t[1], t[3], 0x44));
    _mm512_storeu_ps(target + 3 * target_stride, _mm512_shuffle_ps(t[1], t[3], 0xee));
}

/* 2 rows, 2 columns. */
FC_INLINE FC_TARGET_ATTRIBUTE("avx2,fma") void transpose_2x2_double(const double *source, ptrdiff_t source_stride,
                                                                    double *target, ptrdiff_t target_stride) {
    const __m128d a = _mm_loadu_pd(source), b = _mm_loadu_pd(source + source_stride);
    _mm_storeu_pd(target, _mm_unpacklo_pd(a, b));
    _mm_storeu_pd(target + target_stride, _mm_unpackhi_pd(a, b));
}

/* 4 rows, 2 columns. */
FC_INLINE FC_TARGET_ATTRIBUTE("avx2,fma") void transpose_4x2_double(const double *source, ptrdiff_t source_stride,
                                                                    double *target, ptrdiff_t target_stride) {
    const ptrdiff_t two = 2 * source_stride;
    __m256d q[2];
    FC_UNROLL for (int i = 0; i < 2; i++, source += source_stride) {
        q[i] = _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(source)), _mm_loadu_pd(source + two), 1);
        FC_KEEP_POINTER(source);
    }
    _mm256_storeu_pd(target, _mm256_unpacklo_pd(q[0], q[1]));
    _mm256_storeu_pd(target + target_stride, _mm256_unpackhi_pd(q[0], q[1]));
}

/* 8 rows, 2 columns. */
FC_INLINE FC_TARGET_ATTRIBUTE("avx512f,avx512dq") void transpose_8x2_double(const double *source,
                                                                            ptrdiff_t source_stride, double *target,
                                                                            ptrdiff_t target_stride) {
    const ptrdiff_t two = 2 * source_stride, six = 6 * source_stride;
    __m512d q[2];
    FC_UNROLL for (int i = 0; i < 2; i++, source += source_stride) {
        q[i] = _mm512_castpd128_pd512(_mm_loadu_pd(source));
        q[i] = _mm512_insertf64x2(q[i], _mm_loadu_pd(source + two), 1);
        q[i] = _mm512_insertf64x2(q[i], _mm_loadu_pd(source + 2 * two), 2);
        q[i] = _mm512_insertf64x2(q[i], _mm_loadu_pd(source + six), 3);
        FC_KEEP_POINTER(source);
    }
    _mm512_storeu_pd(target, _mm512_unpacklo_pd(q[0], q[1]));
    _mm512_storeu_pd(target + target_stride, _mm512_unpackhi_pd(q[0], q[1]));
}

#endif
