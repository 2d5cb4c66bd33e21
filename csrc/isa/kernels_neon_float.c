/* NEON, float: vectors of 4. */
#include "../compiler.h"

#if FC_HAS_NEON

#include "vec_neon.h"

#define FC_DTYPE float
#define VEC float32x4_t
#define LANES 4
#define VLOAD vld1q_f32
#define VSTORE vst1q_f32
#define VSET1 vdupq_n_f32
#define VADD vaddq_f32
#define VFMA(a, b, c) vfmaq_f32(c, a, b)
#define VMAX vmaxq_f32
#define VMASK uint32x4_t
#define VTAKES(v, best) vbicq_u32(vceqq_f32(best, best), vcleq_f32(v, best))
#define VSELECT vbslq_f32
#define VCOLUMN int32x4_t
#define VCOLUMN_LOAD vld1q_s32
#define VCOLUMN_STORE vst1q_s32
#define VCOLUMN_SET1 vdupq_n_s32
#define VCOLUMN_ADD vaddq_s32
#define VCOLUMN_SELECT vbslq_s32
#define VCOLUMN_STORE_WIDE(p, v) \
    (vst1q_s64(p, vmovl_s32(vget_low_s32(v))), vst1q_s64((p) + 2, vmovl_high_s32(v)))
#define DWIDEN(p) vcvt_f64_f32(vld1_f32(p))
#define DNARROW(p, v) vst1_f32(p, vcvt_f32_f64(v))
#define VEVEN vuzp1q_f32
#define VODD vuzp2q_f32
#define VZIP_LOW vzip1q_f32
#define VZIP_HIGH vzip2q_f32

#include "kernels.tmpl.h"

#else

typedef int fc_this_file_is_empty_here;

#endif
