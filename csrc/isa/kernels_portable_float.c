#include "../compiler.h"

#define FC_DTYPE float
#include "vec_portable.h"

#include "kernels.tmpl.h"
