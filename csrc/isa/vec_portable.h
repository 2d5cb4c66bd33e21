/* The baseline of any architecture: the compiler's own vectors of 16 bytes, or plain scalars. Needs FC_DTYPE. */
#include <stdint.h>
#include <string.h>

#define FC_ISA portable
#define FC_TARGET
#define FC_REGISTERS 16

#if FC_HAS_VECTOR_EXTENSION
typedef float vec_float FC_VECTOR_OF_16_BYTES;
typedef double vec_double FC_VECTOR_OF_16_BYTES;
typedef int32_t column_float FC_VECTOR_OF_16_BYTES;
typedef int64_t column_double FC_VECTOR_OF_16_BYTES;
#define ALL_BITS(type, condition) ((type)(condition))
#else
typedef float vec_float;
typedef double vec_double;
typedef int32_t column_float;
typedef int64_t column_double;
#define ALL_BITS(type, condition) (-(type)(condition))
#endif

#define ELEMENT double
#define ELEMENT_COLUMN int64_t
#include "vec_portable.tmpl.h"
#undef ELEMENT
#undef ELEMENT_COLUMN
#define ELEMENT float
#define ELEMENT_COLUMN int32_t
#include "vec_portable.tmpl.h"
#undef ELEMENT
#undef ELEMENT_COLUMN

/* a where v < 0, b where it is not. */
FC_INLINE vec_double if_negative(vec_double v, vec_double a, vec_double b) {
    return select_double(takes_double(set1_double(0), v), a, b);
}

#define VEC FC_JOIN(vec_, FC_DTYPE)
#define LANES ((int)(sizeof(VEC) / sizeof(FC_DTYPE)))
#define VLOAD FC_JOIN(load_, FC_DTYPE)
#define VSTORE(target, value) FC_JOIN(store_, FC_DTYPE)(target, value)
#define VSET1 FC_JOIN(set1_, FC_DTYPE)
#define VADD(a, b) ((a) + (b))
#define VFMA(a, b, c) ((a) * (b) + (c))
#define VMAX FC_JOIN(max_, FC_DTYPE)
#define VMASK FC_JOIN(column_, FC_DTYPE)
#define VTAKES FC_JOIN(takes_, FC_DTYPE)
#define VSELECT FC_JOIN(select_, FC_DTYPE)
#define VCOLUMN FC_JOIN(column_, FC_DTYPE)
#define VCOLUMN_LOAD FC_JOIN(load_column_, FC_DTYPE)
#define VCOLUMN_STORE FC_JOIN(store_column_, FC_DTYPE)
#define VCOLUMN_SET1 FC_JOIN(set1_column_, FC_DTYPE)
#define VCOLUMN_ADD(a, b) ((a) + (b))
#define VCOLUMN_SELECT(mask, a, b) (((a) & (mask)) | ((b) & ~(mask)))
#define DVEC vec_double
#define DLANES ((int)(sizeof(vec_double) / sizeof(double)))
#define DLOAD load_double
#define DSTORE store_double
#define DSET1 set1_double
#define DADD(a, b) ((a) + (b))
#define DSUB(a, b) ((a) - (b))
#define DMUL(a, b) ((a) * (b))
#define DDIV(a, b) ((a) / (b))
#define DFMA(a, b, c) ((a) * (b) + (c))
#define DMAX max_double
#define DIF_NEGATIVE if_negative
