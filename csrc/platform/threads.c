/* What every system has of threads: how many are wanted, and the loop of one over its tasks. */
#include "threads.h"

#include "../compiler.h"

static FC_ATOMIC int default_threads = 1;

FC_EXPORT int fastconv_get_num_threads(void) { return default_threads; }
FC_EXPORT void fastconv_set_num_threads(int count) { default_threads = count < 1 ? 1 : count; }

void fc_run_tasks(int flush, int first, int step, int tasks, void (*task)(void *context, int task), void *context) {
    const fc_float_mode before = fc_get_float_mode();
    if (flush) fc_set_float_mode(before | FC_FLUSH_DENORMALS);
    for (int i = first; i < tasks; i += step) task(context, i);
    if (flush) fc_set_float_mode(before);
}
