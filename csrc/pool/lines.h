/* What the choice between pool/lines and pool/rows asks. */
#ifndef FC_POOL_LINES_H
#define FC_POOL_LINES_H

#include "windows.h"

/* Estimates in cycles of one thread, 0 where none was fitted. */
double fc_pool_lines_cycles(const fc_pool *pool);
double fc_pool_rows_cycles(const fc_pool *pool);

#endif
