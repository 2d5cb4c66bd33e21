/* NEON, double: vectors of 2. */
#include "../compiler.h"

#if FC_HAS_NEON

#include "vec_neon.h"

#define FC_DTYPE double
#define VEC float64x2_t
#define LANES 2
#define VLOAD vld1q_f64
#define VSTORE vst1q_f64
#define VSET1 vdupq_n_f64
#define VADD vaddq_f64
#define VFMA(a, b, c) vfmaq_f64(c, a, b)
#define VMAX vmaxq_f64
#define VMASK uint64x2_t
#define VTAKES(v, best) vbicq_u64(vceqq_f64(best, best), vcleq_f64(v, best))
#define VSELECT vbslq_f64
#define VCOLUMN int64x2_t
#define VCOLUMN_LOAD vld1q_s64
#define VCOLUMN_STORE vst1q_s64
#define VCOLUMN_SET1 vdupq_n_s64
#define VCOLUMN_ADD vaddq_s64
#define VCOLUMN_SELECT vbslq_s64
#define VEVEN DEVEN
#define VODD DODD
#define VZIP_LOW vzip1q_f64
#define VZIP_HIGH vzip2q_f64

#include "kernels.tmpl.h"

#else

typedef int fc_this_file_is_empty_here;

#endif
