#include "../compiler.h"

#define FC_DTYPE double
#include "vec_portable.h"

#include "kernels.tmpl.h"
