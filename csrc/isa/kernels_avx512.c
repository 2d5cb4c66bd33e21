#include "../compiler.h"

#if FC_HAS_X86

#include "../kernels/kernels.h"
#include "isa_list.h"
#include "transpose_x86.h"
#include "vec_avx512.h"

#define FC_DTYPE float
#define TRANSPOSE_SIZE 8
#define TRANSPOSE transpose_8x8_float
#define LANES 16
#define VEC __m512
#define VZERO _mm512_setzero_ps
#define VLOAD _mm512_loadu_ps
#define VSTORE _mm512_storeu_ps
#define VSET1 _mm512_set1_ps
#define VFMA _mm512_fmadd_ps
#define VADD _mm512_add_ps
#define VMAX _mm512_max_ps
#define VLOAD_FIRST(p, n) _mm512_maskz_loadu_ps((__mmask16)FC_FIRST(n), p)
#define VSTORE_FIRST(p, n, v) _mm512_mask_storeu_ps(p, (__mmask16)FC_FIRST(n), v)
#include "kernels.tmpl.h"
#include "end_type.h"

#define FC_DTYPE double
#define TRANSPOSE_SIZE 4
#define TRANSPOSE transpose_4x4_double
#define LANES 8
#define VEC __m512d
#define VZERO _mm512_setzero_pd
#define VLOAD _mm512_loadu_pd
#define VSTORE _mm512_storeu_pd
#define VSET1 _mm512_set1_pd
#define VFMA _mm512_fmadd_pd
#define VADD _mm512_add_pd
#define VMAX _mm512_max_pd
#define VLOAD_FIRST(p, n) _mm512_maskz_loadu_pd((__mmask8)FC_FIRST(n), p)
#define VSTORE_FIRST(p, n, v) _mm512_mask_storeu_pd(p, (__mmask8)FC_FIRST(n), v)
#include "kernels.tmpl.h"
#include "end_type.h"

#else

typedef int fc_this_file_is_empty_here;

#endif
