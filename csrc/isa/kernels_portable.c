/* The baseline of any architecture: the compiler's own 16-byte vectors, or plain scalars. */
#include <string.h>

#include "../compiler.h"
#include "../kernels/kernels.h"
#include "isa_list.h"

#define FC_ISA portable
#define FC_TARGET
#define TRANSPOSE_SIZE 4
#define FC_REGISTERS 16
#define VLOAD FC_JOIN(load_, FC_DTYPE)
#define VSTORE(target, value) FC_JOIN(store_, FC_DTYPE)(target, value)
#define VSET1 FC_JOIN(set1_, FC_DTYPE)
#define VZERO() VSET1(0)
#define VFMA(a, b, c) ((a) * (b) + (c))
#define VADD(a, b) ((a) + (b))
#define VMAX FC_JOIN(max_, FC_DTYPE)

#if FC_HAS_VECTOR_EXTENSION
typedef float vec_float FC_VECTOR_OF_16_BYTES;
typedef double vec_double FC_VECTOR_OF_16_BYTES;
#else
typedef float vec_float;
typedef double vec_double;
#endif

#define FC_DTYPE float
#include "vec_portable.tmpl.h"
#undef FC_DTYPE
#define FC_DTYPE double
#include "vec_portable.tmpl.h"
#undef FC_DTYPE

#define VEC FC_JOIN(vec_, FC_DTYPE)
#define LANES ((int)(sizeof(VEC) / sizeof(FC_DTYPE)))

#define FC_DTYPE float
#include "kernels.tmpl.h"
#undef FC_DTYPE
#define FC_DTYPE double
#include "kernels.tmpl.h"
#undef FC_DTYPE
