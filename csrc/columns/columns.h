/* The path of im2col and col2im. */
#ifndef FC_COLUMNS_H
#define FC_COLUMNS_H

#include "../path.h"

extern const fc_path fc_path_columns;

#endif
